package gateway

import (
	"slices"

	"belfry/session"
)

// other takes an event that is no message. Its route is found here, on the shard: no
// payload is looked into.
func (g *Gateway) other(e *event) {
	if e.route = g.match(e); e.route == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if e.route.retired { // meanwhile
		if e.route = g.match(e); e.route == nil {
			return
		}
	}
	q := g.queues[e.client.SID]
	switch {
	case g.stopping:
		g.drop(e, e.route, causeShutdown)
		return
	case e.route.others >= e.route.Queue:
		g.drop(e, e.route, causeQueue)
		return
	case g.bytes+e.size > g.opt.QueueBytes:
		g.count.nodeBytes.Add(1)
		g.drop(e, e.route, causeBytes)
		return
	case q != nil && e.kind >= Subscribe && q.others() >= g.opt.SessionQueue:
		// Else one client could fill the queue of the route with its commands.
		g.count.overQueue.Add(1)
		g.drop(e, e.route, causeSession)
		return
	}
	e.take(e.route)
	g.add(q, e)
}

// take gives e to r, which counts it. Gateway.mu is held.
func (e *event) take(r *route) {
	e.route = r
	r.pending++
	if e.kind != Message {
		r.others++
	}
}

// leave takes e from its route. Gateway.mu is held.
func (e *event) leave() {
	e.route.pending--
	if e.kind != Message {
		e.route.others--
	}
}

// others returns how many events of q are not messages.
func (q *queue) others() (n int) {
	for e := q.first; e != nil; e = e.next {
		if e.kind != Message {
			n++
		}
	}
	return n
}

// Received implements session.Events. A message that cannot be held is answered in
// its turn, without its payload.
func (g *Gateway) Received(c *session.Client, in *session.Inbound) (pause bool) {
	e := newEvent(Message, c)
	e.in = in
	e.size += int64(len(in.Payload))
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.stopping:
		e.refuse(causeShutdown)
	case g.bytes+e.size > g.opt.QueueBytes/4*3: // the rest is for other events
		g.count.nodeBytes.Add(1)
		e.refuse(causeBytes)
	}
	q := g.add(g.queues[c.SID], e)
	switch {
	case q.messages >= g.opt.SessionQueue:
		g.count.overQueue.Add(1)
		pause = true
	case q.bytes >= g.opt.SessionBytes:
		g.count.overBytes.Add(1)
		pause = true
	case e.refusal != causeNone || g.isCongested(c) || g.bytes > g.opt.QueueBytes/2:
		pause = true
	}
	if pause && !q.paused {
		g.count.paused.Add(1)
		q.paused = true
	}
	return pause
}

// isCongested says whether a route of a session is. Gateway.mu is held.
func (g *Gateway) isCongested(c *session.Client) bool {
	return g.congested > 0 && slices.ContainsFunc(g.sets.get(c.Route).byKind[Message], func(r *route) bool { return r.congested })
}

// refuse makes e an event that is only answered.
func (e *event) refuse(why cause) {
	in := *e.in
	in.Payload = nil
	e.in, e.refusal, e.size = &in, why, overhead
}

// add puts an event into its session's queue, which is nil if there is none yet.
func (g *Gateway) add(q *queue, e *event) *queue {
	e.seq = g.seq.Add(1)
	g.bytes += e.size
	if q == nil {
		q = &queue{sid: e.client.SID}
		g.queues[q.sid] = q
	}
	q.push(e)
	if q.first == e {
		g.ready(q)
	}
	return q
}

// ready has the first event of q wait for its route, or for a call of its route.
func (g *Gateway) ready(q *queue) {
	e := q.first
	if e.route == nil {
		g.unrouted.push(q)
		select {
		case g.wake <- struct{}{}:
		default:
		}
		return
	}
	r := e.route
	r.waiting.push(q)
	if e.kind == Message {
		if r.messages++; r.messages > r.Queue/2 && !r.congested {
			r.congested = true
			g.congested++
		}
	}
	g.dispatch(r)
}

// take returns the next session whose first event may be sent by a call of r, and
// counts the call; nil if there is none.
func (g *Gateway) take(r *route) *queue {
	q := r.waiting.first
	if q == nil || r.inFlight >= r.InFlight || r.inFlight > 0 && r.bytes+q.first.size > r.InFlightBytes {
		return nil
	}
	if g.inFlight >= g.opt.InFlight {
		g.limited = true
		return nil
	}
	r.waiting.pop()
	if q.first.kind == Message {
		if r.messages--; r.messages <= r.Queue/4 && r.congested {
			r.congested = false
			g.congested--
		}
	}
	r.inFlight++
	r.bytes += q.first.size
	g.inFlight++
	return q
}

// route is the router: it finds the route of messages. It runs until Shutdown.
func (g *Gateway) route() {
	for range g.wake {
		for g.routeOne() {
		}
	}
}

func (g *Gateway) routeOne() bool {
	g.mu.Lock()
	q := g.unrouted.pop()
	g.mu.Unlock()
	if q == nil {
		return false
	}
	e := q.first // nobody else uses it: it is neither in flight nor in a list
	found := g.routeOf(e)
	g.mu.Lock()
	for found != nil && found.retired { // meanwhile
		g.mu.Unlock()
		found = g.routeOf(e)
		g.mu.Lock()
	}
	if e.refusal == causeNone && found.messages >= found.Queue {
		e.refusal = causeQueue
		found.refused[causeQueue].Add(1)
	}
	if e.refusal == causeNone {
		e.take(found)
		g.ready(q)
		g.mu.Unlock()
		return true
	}
	g.mu.Unlock()
	g.guard(e, func() { g.answerRefusal(e, found, e.refusal, "") })
	g.finish(q)
	return true
}

// routeOf returns the route that takes a message. If there is none, it says why in
// e.refusal.
func (g *Gateway) routeOf(e *event) *route {
	if e.refusal != causeNone {
		return nil
	}
	var found *route
	if !g.guard(e, func() { found = g.match(e) }) {
		e.refusal = causeFault
	} else if found == nil {
		g.count.unmatched.Add(1)
		e.refusal = causeNoRoute
	}
	return found
}

// match returns the first route that takes an event, nil if none does.
func (g *Gateway) match(e *event) *route {
	for _, r := range g.sets.get(e.client.Route).byKind[e.kind] {
		if r.takes(e) {
			return r
		}
	}
	return nil
}

// finish removes the first event of q, which is done, and goes on with the next.
func (g *Gateway) finish(q *queue) {
	g.mu.Lock()
	e := q.pop()
	g.bytes -= e.size
	if e.route != nil {
		e.leave()
		g.release(e.route)
	}
	g.leftRoom()
	resume := q.paused && (q.first == nil || q.messages <= g.opt.SessionQueue/2 && q.bytes <= g.opt.SessionBytes/2 &&
		g.congested == 0 && g.bytes <= g.opt.QueueBytes/2)
	if resume {
		q.paused = false
	}
	if q.first != nil {
		g.ready(q)
	} else {
		delete(g.queues, q.sid)
		if g.empty != nil && len(g.queues) == 0 {
			close(g.empty)
			g.empty = nil
		}
	}
	g.mu.Unlock()
	if resume {
		_ = (*g.sessions.Load()).Resume(q.sid) // else the session is gone
	}
}
