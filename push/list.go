package push

// link is an element's place in a list. An element is in one list at a time,
// by a link that it holds itself, so that moving it costs no allocation.
type link[T any] struct {
	prev, next *link[T] // nil while in no list
	of         T
}

// list is a doubly linked list; the zero value is empty.
type list[T any] struct{ first, last *link[T] }

func (l *list[T]) pushBack(e *link[T]) {
	e.prev, e.next = l.last, nil
	if l.last == nil {
		l.first = e
	} else {
		l.last.next = e
	}
	l.last = e
}

// remove takes e, which is in l, out of it.
func (l *list[T]) remove(e *link[T]) {
	if e.prev == nil {
		l.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
}
