package poller

import "math/bits"

// backlogClasses are the backlogs of a shard in lists by size class, so that one
// of the largest is found without a walk. The class of a backlog is that of its
// bytes when a frame was last queued: it may be too high, but is never too low.
type backlogClasses struct {
	first [sizeClasses]*backlog
	last  [sizeClasses]*backlog
	used  uint64 // a bit for each class that has a backlog
}

func (q *backlog) sizeClass() int { return sizeClass(max(q.bytes, 1)) }

// update brings the class of a backlog up to date after a frame was queued.
func (x *backlogClasses) update(q *backlog) {
	class := q.sizeClass()
	if q.evicted || q.listed && class <= q.class {
		return
	}
	x.leave(q)
	x.enter(q, class)
}

func (x *backlogClasses) enter(q *backlog, class int) {
	q.listed, q.class = true, class
	q.prev, q.next = x.last[class], nil
	if q.prev == nil {
		x.first[class] = q
	} else {
		q.prev.next = q
	}
	x.last[class] = q
	x.used |= 1 << class
}

func (x *backlogClasses) leave(q *backlog) {
	if !q.listed {
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
	q.listed, q.prev, q.next = false, nil, nil
}

// largest returns a backlog of the highest class, other than but. It returns nil
// if no class is higher than that of a backlog of size bytes.
func (x *backlogClasses) largest(but *backlog, size int) *backlog {
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
		class := q.sizeClass()
		if class == top {
			return q
		}
		x.leave(q) // its class was too high
		x.enter(q, class)
		left = left&(1<<top-1) | x.used&(1<<(top+1)-1)
	}
	return nil
}
