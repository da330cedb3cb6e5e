package session

import (
	"context"
	"time"

	"belfry/message"
	"belfry/poller"
)

// Await waits while the shards of a message to users or sessions are behind, for at
// most w.Time and until ctx is done. It returns whether it had to wait. Called
// before Deliver it slows down backends that push faster than sockets can be
// written; Deliver alone would refuse their pushes. If more than w.Others wait
// already, Await returns a *message.OverloadedError at once, so that pushes to a
// busy shard do not take all the requests that the API may serve.
//
// Await keeps the place that it waited for until Leave, which the caller calls
// after the message was delivered or given up. Of several shards it keeps the place
// of the last one: a shard must not stand still because a push to it waits for
// another shard. Any goroutine but a shard's.
func (d *Delivery) Await(ctx context.Context, w message.Wait) (waited bool, err error) {
	if w.Time <= 0 || d.queue != poller.QueueSingle {
		return false, nil
	}
	late := time.Now().Add(w.Time)
	for _, h := range d.shards {
		if w.Others > 0 && h.ps.WaitersAbove(w.Others) {
			return waited, &message.OverloadedError{What: "the queue of pushes that wait for a busy shard is full", Queue: true, RetryAfter: time.Second}
		}
		d.Leave()
		var here bool
		here, d.entry = h.ps.Admit(ctx, time.Until(late))
		waited = waited || here
	}
	return waited, nil
}

// Leave gives up the place that Await keeps, if any. A second call does nothing.
func (d *Delivery) Leave() {
	d.entry.Release()
	d.entry = poller.Permit{}
}

// Deliver hands the message to the shards of its sessions. After a
// *message.OverloadedError no session gets the message. After nil every open
// session of the target gets it, except what the policy for slow consumers drops.
// Deliver does not block. Messages that one goroutine delivers to one target
// arrive in their order. Any goroutine.
func (d *Delivery) Deliver() error {
	s := d.srv
	if waits := s.mailBytes.Add(d.size); waits > s.opt.MailboxBytes && waits > d.size {
		s.mailBytes.Add(-d.size)
		s.shards[0].counters.limit(limitMailbox)
		return &message.OverloadedError{What: "the room for messages that wait for shards (fanout.mailbox_bytes) is full"}
	}
	if !d.reserve() {
		s.mailBytes.Add(-d.size)
		return &message.OverloadedError{What: "a shard's mailbox is full"}
	}
	s.pushes[d.Message.Target.Scope].Add(1)
	if d.left.Store(int32(len(d.shards))); len(d.shards) == 0 {
		s.mailBytes.Add(-d.size)
	} else if d.tally != nil {
		d.tally.report.Begin()
	}
	if d.queue == poller.QueueBulk {
		s.cut.RLock()
		defer s.cut.RUnlock()
	}
	for _, h := range d.shards {
		h.ps.Put(d.queue, poller.Mail{Kind: mailDelivery, Ptr: d})
	}
	return nil
}

// reserve takes a place in the mailbox of each shard, or in none.
func (d *Delivery) reserve() bool {
	for i, h := range d.shards {
		if h.ps.Reserve(d.queue) {
			continue
		}
		for _, taken := range d.shards[:i] {
			taken.ps.Release(d.queue, 1)
		}
		return false
	}
	return true
}
