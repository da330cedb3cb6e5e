package poller

import "math/bits"

// ranks are the queues of a shard in lists by size class, so that one of those
// in which most waits is found without a walk. The class of a queue is looked
// at when something is added: it may be too high, and is never too low.
type ranks struct {
	first [accountClasses]*queue
	last  [accountClasses]*queue
	used  uint64 // a bit for each class in which there is a queue
}

// grown brings the class of a queue up to date to which something was added.
func (x *ranks) grown(q *queue) {
	class := sizeClass(max(q.bytes, 1))
	if q.evicted || q.ranked && class <= q.class {
		return
	}
	x.leave(q)
	x.enter(q, class)
}

func (x *ranks) enter(q *queue, class int) {
	q.ranked, q.class = true, class
	q.prev, q.next = x.last[class], nil
	if q.prev == nil {
		x.first[class] = q
	} else {
		q.prev.next = q
	}
	x.last[class] = q
	x.used |= 1 << class
}

func (x *ranks) leave(q *queue) {
	if !q.ranked {
		return
	}
	if q.prev == nil {
		x.first[q.class] = q.next
	} else {
		q.prev.next = q.next
	}
	if q.next == nil {
		x.last[q.class] = q.prev
	} else {
		q.next.prev = q.prev
	}
	if x.first[q.class] == nil {
		x.used &^= 1 << q.class
	}
	q.ranked, q.prev, q.next = false, nil, nil
}

// heaviest returns a queue of the highest class there is that is not but, nil
// if none is of a higher class than size bytes are.
func (x *ranks) heaviest(but *queue, size int) *queue {
	for left := x.used; left != 0; {
		top := bits.Len64(left) - 1
		if top <= sizeClass(max(size, 1)) {
			return nil
		}
		q := x.first[top]
		if q == but {
			q = q.next
		}
		if q == nil {
			left &^= 1 << top
			continue
		}
		class := sizeClass(max(q.bytes, 1))
		if class == top {
			return q
		}
		x.leave(q) // it has become smaller
		x.enter(q, class)
		left = left&(1<<top-1) | x.used&(1<<(top+1)-1)
	}
	return nil
}
