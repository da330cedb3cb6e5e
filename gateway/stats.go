package gateway

import "belfry/webhook"

// Stats is one reading of the gateway.
type Stats struct {
	Routes []RouteStats
	Bytes  int64 // of all events here
	Queues int   // sessions with events here

	Paused         uint64 // times that a session was not read because of its messages here
	Unmatched      uint64 // messages that no route took
	OverQueue      uint64 // times that Options.SessionQueue was reached
	OverBytes      uint64 // times that Options.SessionBytes was reached
	NodeBytes      uint64 // times that Options.QueueBytes was reached
	KeptCut        uint64 // requests of which not all headers and cookies were kept
	Commands       map[string]uint64
	CommandsFailed uint64
	Faults         uint64 // panics, each of which has cost one event
}

// RouteStats is about one route.
type RouteStats struct {
	Name     string
	Waiting  int // sessions whose next event waits for a call
	InFlight int
	Bytes    int64                // of the events in flight
	Results  map[string]uint64    // what became of calls
	Refused  map[string]uint64    // messages whose client got an error, by cause
	Dropped  map[[2]string]uint64 // events that nobody was told of, by kind and cause
	Backend  webhook.Stats
}

// Stats may be called by any goroutine.
func (g *Gateway) Stats() Stats {
	c := &g.count
	s := Stats{
		Paused: c.paused.Load(), Unmatched: c.unmatched.Load(), OverQueue: c.overQueue.Load(), OverBytes: c.overBytes.Load(),
		NodeBytes: c.nodeBytes.Load(), KeptCut: c.keptCut.Load(), Commands: map[string]uint64{}, CommandsFailed: c.cmdsFailed.Load(), Faults: c.faults.Load(),
	}
	for k := range c.commands {
		s.Commands[commandNames[k]] = c.commands[k].Load()
	}
	g.mu.Lock()
	s.Bytes, s.Queues = g.bytes, len(g.queues)
	routes := g.routes()
	for _, r := range routes {
		s.Routes = append(s.Routes, RouteStats{Name: r.Name, Waiting: r.waiting.n, InFlight: r.inFlight, Bytes: r.bytes})
	}
	g.mu.Unlock()
	for i, r := range routes {
		r.stats(&s.Routes[i])
	}
	return s
}

func (r *route) stats(s *RouteStats) {
	s.Backend = r.Backend.Stats()
	s.Results, s.Refused, s.Dropped = map[string]uint64{}, map[string]uint64{}, map[[2]string]uint64{}
	for i := range r.results {
		s.Results[resultNames[i]] = r.results[i].Load()
	}
	for why := causeNone + 1; why < causes; why++ {
		if n := r.refused[why].Load(); n > 0 {
			s.Refused[causeNames[why]] = n
		}
		for k := range kinds {
			if n := r.dropped[k][why].Load(); n > 0 {
				s.Dropped[[2]string{kindInfo[k].name, causeNames[why]}] = n
			}
		}
	}
}
