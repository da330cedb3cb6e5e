package gateway

import (
	"time"

	"belfry/session"
)

// Ended is a session of another node that ended with its node. Of such a session no
// more is known than this.
type Ended struct {
	SID, UID string
	Node     string // name of its node
	Route    string // that is told: what DisconnectRoute returned on that node
	Since    time.Time
}

// DisconnectRoute returns the name of the route that takes the disconnect of a session,
// "" if none does. Any goroutine may call it.
func (g *Gateway) DisconnectRoute(number session.Route, uid string) string {
	if number == 0 {
		return ""
	}
	for _, r := range g.sets.get(number).byKind[Disconnect] {
		if r.uid.match(uid) {
			return r.Name
		}
	}
	return ""
}

// Takes reports whether NodeGone has a backend to tell of a session.
func (g *Gateway) Takes(e *Ended) bool { return g.disconnectsOf(e.Route) != nil }

// disconnectsOf returns the route with a name if it takes disconnects, else nil.
func (g *Gateway) disconnectsOf(name string) *route {
	for _, r := range g.routes() {
		if r.Name != name {
			continue
		}
		for _, k := range r.Events {
			if k == Disconnect {
				return r
			}
		}
	}
	return nil
}

// NodeGone tells the backend of a session that it has ended with its node. It is for
// one goroutine, after Start. It waits while events fill half of the queue of the route,
// or half of Options.QueueBytes, so that the sessions of a large node crowd out no event
// of this node's own sessions. After Shutdown the event is dropped and counted.
func (g *Gateway) NodeGone(s *Ended) {
	r := g.disconnectsOf(s.Route)
	if r == nil {
		return
	}
	for e := goneEvent(s, r); !g.takeGone(e, s.Route); {
		<-g.room // the events that fill the queue are done some time, at the latest in Shutdown
	}
}

// goneEvent makes the event. Its id is made of the session, and its source is the
// session's node: if two nodes tell of a session, a backend gets the same event twice.
func goneEvent(s *Ended, r *route) *event {
	e := newEvent(Disconnect, &session.Client{SID: s.SID, UID: s.UID})
	e.reason, e.route, e.node = session.ReasonNodeGone, r, s.Node
	e.lasted = max(e.at.Sub(s.Since), 0)
	return e
}

// takeGone queues the event, unless there is no room for it now.
func (g *Gateway) takeGone(e *event, name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e.route.retired { // meanwhile
		if e.route = g.disconnectsOf(name); e.route == nil {
			return true
		}
	}
	switch {
	case g.stopping:
		g.drop(e, e.route, causeShutdown)
		return true
	case e.route.others >= max(e.route.Queue/2, 1), g.bytes+e.size > max(g.opt.QueueBytes/2, e.size):
		g.roomAwaited = true
		return false
	}
	e.take(e.route)
	g.add(g.queues[e.client.SID], e)
	return true
}

// leftRoom wakes NodeGone after an event was done. g.mu is held.
func (g *Gateway) leftRoom() {
	if g.roomAwaited {
		g.roomAwaited = false
		select {
		case g.room <- struct{}{}:
		default:
		}
	}
}
