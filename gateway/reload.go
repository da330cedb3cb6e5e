package gateway

import "reflect"

// Prepare checks options that a reload has brought, and returns what puts them in force,
// which cannot fail. It takes those that New takes, of which Routes, InFlight,
// QueueBytes, SessionQueue, SessionBytes and RetryMax may differ. A route that has not
// changed must have the Backend of before; Prepare keeps it with its events. Open
// sessions use the new routes from the next event on. Events that a removed or changed
// route has taken are done by it; then its Backend is closed. An event of at_least_once
// that fails there is tried again by the new route of that name, or dropped.
func (g *Gateway) Prepare(o Options) (apply func(), err error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	routes, err := compileAll(o.Routes)
	if err != nil {
		return nil, err
	}
	return func() { g.change(&o, routes) }, nil
}

// change puts options and routes in force.
func (g *Gateway) change(o *Options, routes []*route) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopping {
		return // the new Backends have no connections yet
	}
	g.opt.InFlight, g.opt.QueueBytes, g.opt.RetryMax = o.InFlight, o.QueueBytes, o.RetryMax
	g.opt.SessionQueue, g.opt.SessionBytes = o.SessionQueue, o.SessionBytes
	old, stays := g.routes(), map[*route]bool{}
	for i, r := range routes {
		was := named(old, r.Name)
		switch {
		case was == nil:
		case was.Backend == r.Backend && reflect.DeepEqual(*was.Route, *r.Route):
			routes[i], stays[was] = was, true
		default:
			r.counters = was.counters
		}
	}
	g.sets.change(routes)
	for _, r := range old {
		if !stays[r] {
			r.retired = true
			g.retired = append(g.retired, r)
			g.release(r)
		}
	}
	for _, r := range routes {
		g.dispatch(r) // InFlight may have grown
	}
	g.leftRoom()
}

// named returns the route with a name, nil if there is none.
func named(routes []*route, name string) *route {
	for _, r := range routes {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// release closes the backend of a route that is not in force and has no event any more.
// g.mu is held.
func (g *Gateway) release(r *route) {
	if !r.retired || r.pending > 0 {
		return
	}
	for i, other := range g.retired {
		if other == r {
			g.retired = append(g.retired[:i:i], g.retired[i+1:]...)
			break
		}
	}
	g.working.Go(r.Backend.Close) // closing TLS may wait
}

// tries says whether a call of r that failed is tried again: also if another route has
// replaced it. g.mu is held.
func (g *Gateway) tries(r *route) bool { return !r.retired || named(g.routes(), r.Name) != nil }

// replace gives an event that waits for its next try to the route that has replaced its
// own. g.mu is held.
func (g *Gateway) replace(e *event) {
	if was := e.route; was.retired {
		if next := named(g.routes(), was.Name); next != nil {
			e.leave()
			e.take(next)
			g.release(was)
		}
	}
}
