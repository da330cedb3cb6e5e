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

// RouteName implements session.RouteNames: the names of the set's routes, with commas.
func (g *Gateway) RouteName(number session.Route) string {
	mask := g.sets.get(number).mask
	var names []string
	for _, r := range g.routes {
		if r.bit&mask != 0 {
			names = append(names, r.Name)
		}
	}
	return strings.Join(names, ",")
}

// RouteOf implements session.RouteNames. Routes that are not configured here are left
// out.
func (g *Gateway) RouteOf(name string) (number session.Route, ok bool) {
	mask := uint64(0)
	for one := range strings.SplitSeq(name, ",") {
		for _, r := range g.routes {
			if r.Name == one {
				mask |= r.bit
			}
		}
	}
	if mask == 0 {
		return 0, false
	}
	return g.sets.of(mask, g.routes).number, true
}
