package push

// link connects an element to its neighbours in a list. The element contains the
// link, so that moving it needs no allocation. A link is in one list at a time.
type link[T any] struct {
	prev, next *link[T] // nil if the link is in no list
	value      T
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

// remove removes e from l. e must be in l.
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
