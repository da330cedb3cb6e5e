package gateway

import (
	"strings"

	"belfry/session"
)

// A session that goes to another process waits until no event of it is left here, so that
// its events stay in order, and keeps its routes by their names.

// Busy implements session.Busy.
func (g *Gateway) Busy(sid string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.queues[sid] != nil
}

// RouteName implements session.RouteNames: the names of the set's routes, and at the end
// the path and the subprotocol that decide them, with commas. The names are for a process
// that knows nothing of paths; no name has a slash.
func (g *Gateway) RouteName(number session.Route) string {
	s := g.sets.get(number)
	if s.origin.names != "" {
		return s.origin.names
	}
	var names strings.Builder
	for _, r := range s.routes {
		names.WriteString(r.Name + ",")
	}
	return names.String() + s.origin.path + " " + s.origin.subprotocol
}

// RouteOf implements session.RouteNames. Routes that are not configured here are left
// out. ok is false if none is left.
func (g *Gateway) RouteOf(name string) (number session.Route, ok bool) {
	o := origin{names: name}
	if at := strings.IndexByte(name, '/'); at >= 0 {
		o = origin{}
		o.path, o.subprotocol = name[at:], ""
		if space := strings.LastIndexByte(o.path, ' '); space >= 0 {
			o.path, o.subprotocol = o.path[:space], o.path[space+1:]
		}
	}
	s := g.sets.of(o)
	if s == nil {
		return 0, false
	}
	return s.number, true
}
