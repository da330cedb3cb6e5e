package session

import (
	"context"
	"time"

	"belfry/message"
	"belfry/poller"
)

// Await waits while the shards of a message to users or sessions are crowded,
// within w or until ctx is done, and returns whether it had to. Called before
// Deliver it slows down backends that push faster than sockets can be written
// to, where Deliver alone refuses. If too many wait for one of the shards or for
// all already, it returns a *message.OverloadedError at once, so that pushes to a busy
// shard do not take all the requests that the API may serve.
//
// Await keeps the place that was waited for until Leave, which is called when the
// message was delivered or given up. (Of several shards it keeps that of the last: a
// shard must not stand still because a push to it waits for another.)
func (d *Delivery) Await(ctx context.Context, w message.Wait) (waited bool, err error) {
	if w.Time <= 0 || d.lane != poller.QueueSingle {
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

// Leave gives up the place that Await has kept, if any.
func (d *Delivery) Leave() {
	d.entry.Release()
	d.entry = poller.Permit{}
}

// Deliver hands the message to all sessions of this node that it is meant for. It
// returns a *message.OverloadedError, and then no session gets the message; or nil, and
// then every session that is open gets it, short of what the policy for slow
// consumers drops. It does not block. Messages of one goroutine to one target
// arrive in their order.
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
	}
	for _, h := range d.shards {
		h.ps.Put(d.lane, poller.Mail{Kind: mailDelivery, Ptr: d})
	}
	return nil
}

// reserve takes a place in the lane of each shard, or none.
func (d *Delivery) reserve() bool {
	for i, h := range d.shards {
		if h.ps.Reserve(d.lane) {
			continue
		}
		for _, taken := range d.shards[:i] {
			taken.ps.Release(d.lane, 1)
		}
		return false
	}
	return true
}
