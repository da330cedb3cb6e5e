package session

import (
	"slices"
	"time"

	"belfry/message"
	"belfry/poller"
)

// dispatcher brings the messages that came by mail to the sessions of a shard:
// to few sessions at once, to many in a fan-out run. Owned by the shard.
type dispatcher struct {
	env
	users     *users
	topics    *topics
	fanout    *fanoutRuns
	spreads   *spreads
	arrivals  *arrivals
	latencies *latencies
	acks      *acks // counts for tallies
	giving    *giving
	staged    []stagedPush // pushes whose sends are staged
	counted   []*Delivery  // those that have a tally; they are done when their sends are
}

// dispatch sends a message that came by mail, or queues it for the fan-out run.
func (ds *dispatcher) dispatch(d *Delivery) {
	if ds.giving.recalling {
		ds.giving.hold(d)
		return
	}
	if d.Message.Spread > 0 {
		if ds.giving.out != nil {
			ds.giving.forward(d)
		}
		ds.ps.Release(d.queue, 1) // it would hold its place for long
		ds.spreads.begin(d, time.Now())
		return
	}
	sent, queued := 0, false
	defer func() { // also after a panic
		if queued {
			return
		}
		if d.queue == poller.QueueBulk {
			ds.ps.Release(poller.QueueBulk, 1)
		}
		if d.tally == nil {
			d.done()
		} else if ds.counted = append(ds.counted, d); ds.ps.Staged() == 0 {
			ds.endCounted()
		}
	}()
	if sent, queued = ds.sendOrQueue(d); !queued && ds.giving.out != nil {
		ds.giving.forward(d)
	}
	if ds.arrivals.expected != nil && d.queue == poller.QueueBulk {
		ds.arrivals.record(d, queued)
	}
	ds.counters.deliveries.Add(uint64(sent))
	if to, many := ds.latencies.of(d); !d.Message.Received.IsZero() && sent > 0 {
		if many {
			sent = 1
		}
		ds.staged = append(ds.staged, stagedPush{d.Message.Received, sent, to})
	}
	if ds.ps.Staged() == 0 {
		ds.submitted()
	}
}

// sendOrQueue stages a message for its sessions and returns for how many, or
// queues it for the fan-out run.
func (ds *dispatcher) sendOrQueue(d *Delivery) (sent int, isQueued bool) {
	if d.Message.Expired() {
		ds.counters.expired.Add(1)
		return 0, false
	}
	switch d.Message.Target.Scope {
	case message.ScopeAll:
		ds.fanout.add(fanoutItem{d: d, queue: poller.QueueBulk})
		return 0, true
	case message.ScopeTopics:
		return ds.sendToTopics(d)
	case message.ScopeUsers:
		return ds.sendToUsers(d)
	}
	return ds.sendToSessions(d), false
}

// sendToSessions sends a message to sessions by their ids, once to each.
func (ds *dispatcher) sendToSessions(d *Delivery) (sent int) {
	for i, at := range d.homes {
		if at.shard != ds.index || slices.Contains(d.homes[:i], at) {
			continue
		}
		if slot, ok := ds.ps.Lookup(at.id); ok {
			sent += ds.route(slot, d)
		}
	}
	return sent
}

// route stages a message for one session and returns 1, or returns 0 if the
// session does not receive it.
func (ds *dispatcher) route(slot uint32, d *Delivery) int {
	rec := ds.rec(slot)
	if rec.state != stateOpen || rec.flags&flagEcho != 0 || d.excludes(ds.topics, slot) {
		return 0
	}
	ds.ps.Send(slot, poller.Shared(d.batch(rec.variant)), poller.Data)
	if d.tally != nil {
		ds.acks.reached(slot, d)
	}
	return 1
}

// stagedPush is a push whose sends are staged, for the latency.
type stagedPush struct {
	received time.Time
	sends    int
	to       *latency // where its time is counted
}

// submitted is called when everything that was staged is with the kernel: only
// now have the pushes reached the sockets.
func (ds *dispatcher) submitted() {
	ds.endCounted()
	if len(ds.staged) == 0 {
		return
	}
	now := time.Now()
	for _, u := range ds.staged {
		for range u.sends {
			u.to.observe(now.Sub(u.received))
		}
	}
	ds.staged = ds.staged[:0]
}

// endCounted ends the deliveries that have a tally. Nothing is staged, so it is known
// what became of their sends.
func (ds *dispatcher) endCounted() {
	for _, d := range ds.counted {
		d.done()
	}
	clear(ds.counted)
	ds.counted = ds.counted[:0]
}
