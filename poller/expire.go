package poller

import "time"

// expire drops the waiting frames whose time is over, but never one that is partly
// sent. It costs nothing if no waiting frame expires. The caller closes the backlog if it
// is empty afterwards.
func (x *sender) expire(q *backlog) {
	if q.expiring == 0 {
		return
	}
	now := time.Now()
	over := func(f *Frame) bool { return f.expires != nil && !now.Before(*f.expires) }
	for f := q.removeFirst(over); f != nil; f = q.removeFirst(over) {
		x.backlogs.release(f)
		x.counters.DroppedExpired.Add(1)
	}
}
