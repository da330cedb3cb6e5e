package main

import (
	"belfry/broadcast"
	"belfry/metrics"
	"belfry/report"
)

// openReports makes what says what became of pushes. It is called before the bus starts.
func (n *belfry) openReports() {
	n.reports = report.New(report.Options{
		Self: broadcast.Peer{ID: n.bus.NodeID(), Name: n.bus.Name()}, Bus: n.bus, Control: n.bus.Control(),
		Degraded: sessionControl{n}.reach, MaxWaits: n.cfg.API.MaxWaits,
	})
}

func (n *belfry) closeReports() {
	if n.reports != nil {
		n.reports.Close()
	}
}

func (n *belfry) reportValues(limits map[string]uint64) metrics.Reports {
	st := n.reports.Stats()
	limits["api.max_waits"] += st.Refused
	return metrics.Reports{
		Waiting: uint64(max(st.Waiting, 0)),
		Ended:   map[string]uint64{"complete": st.Complete, "incomplete": st.Incomplete},
	}
}
