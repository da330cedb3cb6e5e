package gateway

import (
	"fmt"

	"belfry/bench"
	"belfry/bench/report"
)

// Targets.
const (
	tripsAtLeast = 8000 // a second
	pushAtMost   = 2    // p99 of pushes against idle
)

// fill makes the rows of the report.
func (r *run) fill(rep *report.Report) {
	gather := func(of func(*round) float64) report.Series { return report.Gather(r.Rounds, of) }
	p99 := func(of func(*round) *pushed) report.Series {
		return gather(func(one *round) float64 { return float64(of(one).Server.P99) / 1e3 })
	}
	if r.o.measures("trips") {
		trips := gather(func(one *round) float64 { return perSecond(one.Trips) })
		rep.Rows = append(rep.Rows, bench.Row{What: "round trips client → backend → client", Value: trips.Median(), Format: "%.0f/s",
			Target: tripsAtLeast, Bound: bench.AtLeast, Notes: []string{fmt.Sprintf("rounds: %v/s", trips)}})
	}
	r.fillLost(rep)
	idle := p99(func(one *round) *pushed { return &one.Idle })
	for _, part := range []struct {
		name, what string
		of         func(*round) *loaded
	}{
		{"rate", fmt.Sprintf("at %d messages/s", r.o.Rate), func(one *round) *loaded { return &one.Rate }},
		{"half", "at half of the rate of round trips", func(one *round) *loaded { return &one.Half }},
		{"hangs", "while the backend hangs", func(one *round) *loaded { return &one.Hangs }},
	} {
		if !r.o.measures(part.name) {
			continue
		}
		in, beside := p99(func(one *round) *pushed { return &part.of(one).In }), p99(func(one *round) *pushed { return &part.of(one).Beside })
		row := bench.Row{What: "p99 of a push in the node " + part.what, Value: in.Median(), Format: "%.0f µs"}
		if r.o.measures("idle") {
			row = report.Ratio(bench.Row{What: row.What + " ÷ idle", Format: "%.2f ×", Target: pushAtMost, Bound: bench.AtMost}, in, idle)
		}
		row.Notes = append(row.Notes, fmt.Sprintf("idle %v µs, in the node with the load %v µs, in a node beside it %v µs", idle, in, beside), r.clientNote(part.of),
			fmt.Sprintf("processors used: node %v, backend and pushes %v", gather(func(one *round) float64 { return part.of(one).In.Node }),
				gather(func(one *round) float64 { return part.of(one).In.Backend })))
		rep.Rows = append(rep.Rows, row)
		if !r.o.Alone {
			rep.Rows = append(rep.Rows, report.Ratio(bench.Row{What: "the same ÷ beside the node with the load", Format: "%.2f ×"}, in, beside))
		}
	}
}

// fillLost adds the messages that did not come back although the backend answered.
func (r *run) fillLost(rep *report.Report) {
	lost := uint64(0)
	for _, one := range r.Rounds {
		for _, e := range []bench.Echoed{one.Trips, one.Rate.In.Echo, one.Rate.Beside.Echo, one.Half.In.Echo, one.Half.Beside.Echo} {
			lost += e.Sent - e.Back
		}
	}
	rep.Figure("lost", float64(lost), "")
	if lost > 0 {
		rep.Problem("%d messages did not come back", lost)
	}
}

func (r *run) clientNote(of func(*round) *loaded) string {
	ms := func(pick func(*round) *pushed) report.Series {
		return report.Gather(r.Rounds, func(one *round) float64 { return float64(pick(one).Client.P99) / 1e6 })
	}
	return fmt.Sprintf("to the receipt in a process that shares the processors: idle %v ms, in the node %v ms, beside it %v ms",
		ms(func(one *round) *pushed { return &one.Idle }), ms(func(one *round) *pushed { return &of(one).In }), ms(func(one *round) *pushed { return &of(one).Beside }))
}
