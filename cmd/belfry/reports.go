package main

import (
	"belfry/broadcast"
	"belfry/config"
	"belfry/metrics"
	"belfry/report"
)

// openReports makes what says what became of pushes. It is called before the bus starts.
func (n *belfry) openReports() {
	o := reportOptions(n.cfg)
	o.Self = broadcast.Peer{ID: n.bus.NodeID(), Name: n.bus.Name()}
	o.Bus, o.Control, o.Degraded = n.bus, n.bus.Control(), sessionControl{n}.reach
	n.reports = report.New(o)
}

func reportOptions(c *config.Config) report.Options { return report.Options{MaxWaits: c.API.MaxWaits} }

func (n *belfry) closeReports() {
	if n.reports != nil {
		n.reports.Close()
	}
}

func (n *belfry) reportValues(limits map[string]uint64) metrics.Reports {
	var st report.Stats
	if n.reports != nil { // nil in tests of the settings
		st = n.reports.Stats()
	}
	limits["api.max_waits"] += st.Refused
	return metrics.Reports{
		Waiting: uint64(max(st.Waiting, 0)),
		Ended:   map[string]uint64{"complete": st.Complete, "incomplete": st.Incomplete},
	}
}
