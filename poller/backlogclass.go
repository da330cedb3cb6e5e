package poller

import "math/bits"

// backlogClasses are the queues of a shard in lists by rank, so that one of the largest
// is found without a walk over all of them. The rank of a queue is the class of
// its size in bytes (sizeClass) when a frame was queued last: it may be too
// high, and is never too low.
type backlogClasses struct {
	first [sizeClasses]*backlog
	last  [sizeClasses]*backlog
	used  uint64 // a bit for each rank that some queue has
}

func rankOf(bytes int) int { return sizeClass(max(bytes, 1)) }

// update brings the rank of a queue up to date after something was queued.
func (x *backlogClasses) update(q *backlog) {
	rank := rankOf(q.bytes)
	if q.evicted || q.ranked && rank <= q.rank {
		return
	}
	x.leave(q)
	x.enter(q, rank)
}

func (x *backlogClasses) enter(q *backlog, rank int) {
	q.ranked, q.rank = true, rank
	q.prev, q.next = x.last[rank], nil
	if q.prev == nil {
		x.first[rank] = q
	} else {
		q.prev.next = q
	}
	x.last[rank] = q
	x.used |= 1 << rank
}

func (x *backlogClasses) leave(q *backlog) {
	if !q.ranked {
		return
	}
	if q.prev == nil {
		x.first[q.rank] = q.next
	} else {
		q.prev.next = q.next
	}
	if q.next == nil {
		x.last[q.rank] = q.prev
	} else {
		q.next.prev = q.prev
	}
	if x.first[q.rank] == nil {
		x.used &^= 1 << q.rank
	}
	q.ranked, q.prev, q.next = false, nil, nil
}

// largest returns a queue of the highest rank other than but, nil if none has a
// higher rank than a queue of size bytes.
func (x *backlogClasses) largest(but *backlog, size int) *backlog {
	for left := x.used; left != 0; {
		top := bits.Len64(left) - 1
		if top <= rankOf(size) {
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
		rank := rankOf(q.bytes)
		if rank == top {
			return q
		}
		x.leave(q) // it has become smaller
		x.enter(q, rank)
		left = left&(1<<top-1) | x.used&(1<<(top+1)-1)
	}
	return nil
}
