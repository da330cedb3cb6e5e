package broadcast

import "sync/atomic"

// RouteStats are counters of pushes to users between nodes, since the start.
type RouteStats struct {
	Relayed     uint64            // sent to the home of their bucket
	Confirmed   uint64            // of these, confirmed by it
	Copies      uint64            // copies that this node sent to other nodes as the home
	ToAll       uint64            // sent to all nodes by this node as the home, because it did not know who has the users
	Direct      uint64            // sent to all nodes by the publishing node, because the home was not known or did not confirm
	Republished uint64            // sent again to all nodes, because the home did not confirm them
	Fallbacks   map[string]uint64 // times that a home was not used any more: timeout, refused, full
	Held        uint64            // buckets whose pushes waited while their path changed
	Fences      uint64            // fences sent
	Overdue     uint64            // fences that not all nodes answered in time: order may have been broken
	Dropped     uint64            // received copies dropped, because the push was there or its stream was given up
	Late        uint64            // received pushes lost, because a later one of their node to a user of their bucket was delivered before
	Refused     uint64            // streams of relays that this node refused as the home
	Overheard   uint64            // pushes taken from relays to other nodes
}

// routeCounters are the totals behind RouteStats. Any goroutine may change them.
type routeCounters struct {
	relayed, confirmed, copies, toAll, direct, again atomic.Uint64
	timeout, refusals, full                          atomic.Uint64
	held, fences, overdue                            atomic.Uint64
	dropped, late, refused, overheard                atomic.Uint64
}

// fell counts a fallback.
func (c *routeCounters) fell(why string) {
	switch why {
	case "timeout":
		c.timeout.Add(1)
	case "refused":
		c.refusals.Add(1)
	default:
		c.full.Add(1)
	}
}

func (c *routeCounters) stats() RouteStats {
	return RouteStats{
		Relayed: c.relayed.Load(), Confirmed: c.confirmed.Load(), Copies: c.copies.Load(), ToAll: c.toAll.Load(),
		Direct: c.direct.Load(), Republished: c.again.Load(),
		Fallbacks: map[string]uint64{"timeout": c.timeout.Load(), "refused": c.refusals.Load(), "full": c.full.Load()},
		Held:      c.held.Load(), Fences: c.fences.Load(), Overdue: c.overdue.Load(),
		Dropped: c.dropped.Load(), Late: c.late.Load(), Refused: c.refused.Load(), Overheard: c.overheard.Load(),
	}
}
