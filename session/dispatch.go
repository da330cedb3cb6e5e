package session

import (
	"slices"
	"time"

	"belfry/message"
	"belfry/poller"
)

// dispatch sends a message that came by mail, or queues it for the fan-out run.
func (h *shard) dispatch(d *Delivery) {
	sent, queued := 0, false
	defer func() { // also when something in it panics
		if queued {
			return
		}
		if d.lane == poller.QueueBulk {
			h.ps.Release(poller.QueueBulk, 1)
		}
		d.done()
	}()
	sent, queued = h.sendOrQueue(d)
	h.counters.deliveries.Add(uint64(sent))
	if to, many := h.latencyOf(d); !d.Message.Received.IsZero() && sent > 0 {
		if many {
			sent = 1
		}
		h.stagedPushes = append(h.stagedPushes, stagedPush{d.Message.Received, sent, to})
	}
	if h.ps.Staged() == 0 {
		h.OnSubmitted()
	}
}

// sendOrQueue stages a message for the sessions that it is for and returns for
// how many, or queues it for the fan-out run.
func (h *shard) sendOrQueue(d *Delivery) (sent int, isQueued bool) {
	switch d.Message.Target.Scope {
	case message.ScopeAll:
		h.fanout.add(fanoutItem{d: d, queue: poller.QueueBulk})
		return 0, true
	case message.ScopeTopics:
		return h.sendToTopics(d)
	case message.ScopeUsers:
		return h.sendToUsers(d)
	}
	return h.sendToSessions(d), false
}

func (h *shard) sendToSessions(d *Delivery) (sent int) {
	for i, at := range d.homes {
		if at.shard != h.index || slices.Contains(d.homes[:i], at) {
			continue
		}
		if slot, ok := h.ps.Lookup(at.id); ok {
			sent += h.route(slot, d)
		}
	}
	return sent
}

// route stages a message for one session, if that is to get it, and returns 1
// then.
func (h *shard) route(slot uint32, d *Delivery) int {
	rec := h.rec(slot)
	if rec.state != stateOpen || rec.flags&flagEcho != 0 || d.excludes(h, slot) {
		return 0
	}
	h.ps.Send(slot, poller.Shared(d.batch(rec.variant)), poller.Data)
	return 1
}

// stagedPush is a push whose sends are staged.
type stagedPush struct {
	received time.Time
	sends    int
	to       *latency
}

// latencyOf returns where the time that a message takes is counted: of one to
// users and sessions for each send, of one to many once.
func (h *shard) latencyOf(d *Delivery) (to *latency, many bool) {
	if d.Message.Target.Scope >= message.ScopeUsers {
		return &h.latency, false
	}
	return &h.fanoutLatency, true
}

// OnSubmitted implements poller.Handler. Only now have the pushes reached the
// sockets.
func (h *shard) OnSubmitted() {
	if len(h.stagedPushes) == 0 {
		return
	}
	now := time.Now()
	for _, u := range h.stagedPushes {
		for range u.sends {
			u.to.observe(now.Sub(u.received))
		}
	}
	h.stagedPushes = h.stagedPushes[:0]
}
