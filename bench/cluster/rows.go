package cluster

import (
	"fmt"

	"belfry/bench"
	"belfry/bench/report"
)

// Targets.
const (
	presenceAtMost = 5   // ms, p99
	bytesAtMost    = 100 // of a session that a node knows
	movedAtMost    = 2   // seconds
	joinAtMost     = 2   // p99 of pushes against quiet
	idleAtMost     = 1.05
)

// fill makes the rows of the report.
func (r *run) fill(rep *report.Report) {
	if r.o.measures("presence") {
		p99 := report.Gather(r.Rounds, func(one *round) float64 { return float64(one.Presence.P99) / 1e6 })
		rep.Rows = append(rep.Rows, bench.Row{What: "presence of a user, asked of a random node, p99", Value: p99.Median(), Format: "%.2f ms",
			Target: presenceAtMost, Bound: bench.AtMost, Notes: []string{fmt.Sprintf("rounds: %v ms; median %v ms", p99,
				report.Gather(r.Rounds, func(one *round) float64 { return float64(one.Presence.P50) / 1e6 }))}})
	}
	if r.o.measures("push") {
		r.fillMessages(rep)
	}
	if r.o.measures("join") {
		r.fillJoin(rep)
	}
	if len(r.Rounds) > 0 {
		bytes := report.Gather(r.Rounds, func(one *round) float64 { return one.PerSession })
		rep.Rows = append(rep.Rows, bench.Row{What: "memory of a session that a node knows for the cluster", Value: bytes.Median(), Format: "%.1f B",
			Target: bytesAtMost, Bound: bench.AtMost, Notes: []string{"each session is known to its holder and one other node"}})
	}
	if r.o.measures("single") {
		rep.Rows = append(rep.Rows, bench.Row{What: "the same on a node alone", Value: r.Single, Format: "%.0f B", Bound: bench.AtMost})
	}
	if r.o.measures("idle") {
		r.fillIdle(rep)
	}
}

// fillMessages adds the messages that nodes got for pushes.
func (r *run) fillMessages(rep *report.Report) {
	at := func(home, node int) report.Series {
		return report.Gather(r.Rounds, func(one *round) float64 {
			for _, c := range one.Counts {
				if c.Home == home {
					return c.Nodes[node]
				}
			}
			return -1
		})
	}
	for _, row := range []struct {
		what       string
		home, node int
		most       float64
	}{
		{"messages for a push at a node that neither holds the user nor is the home; the publisher is the home", publisher, other, 0},
		{"the same; the holder is the home", holder, other, 0},
		{"messages for a push at the home, which does not hold the user", other, other, 1},
		{"messages for a push at the holder, which is the home", holder, holder, 1},
		{"messages for a push at the holder; another node is the home", other, holder, 1},
	} {
		got := at(row.home, row.node)
		rep.Rows = append(rep.Rows, bench.Row{What: row.what, Value: got.Median(), Format: "%.3f", Target: row.most, Bound: bench.AtMost})
	}
}

// fillJoin adds what a node that joins costs the others.
func (r *run) fillJoin(rep *report.Report) {
	p99 := func(of func(*round) *pushed) report.Series {
		return report.Gather(r.Rounds, func(one *round) float64 { return float64(of(one).Receipt.P99) / 1e6 })
	}
	moved := report.Gather(r.Rounds, func(one *round) float64 { return one.Moved })
	rep.Rows = append(rep.Rows, bench.Row{What: "a fourth node joins: until it keeps its sessions", Value: moved.Median(), Format: "%.2f s", Target: movedAtMost, Bound: bench.AtMost,
		Notes: []string{fmt.Sprintf("rounds: %v s, for %v sessions", moved, report.Gather(r.Rounds, func(one *round) float64 { return float64(one.MovedSessions) }))}})
	quiet, beside, joins := p99(func(one *round) *pushed { return &one.Quiet }), p99(func(one *round) *pushed { return &one.Beside }), p99(func(one *round) *pushed { return &one.Joins })
	row := report.Ratio(bench.Row{What: "p99 of pushes to users while it joins ÷ while nothing happens", Format: "%.2f ×", Target: joinAtMost, Bound: bench.AtMost}, joins, quiet)
	row.Notes = append(row.Notes, fmt.Sprintf("request to receipt: quiet %v ms, a node starts that does not join %v ms, a node joins %v ms; every client got every message once and in order", quiet, beside, joins))
	rep.Rows = append(rep.Rows, row, report.Ratio(bench.Row{What: "the same ÷ while a node starts that does not join", Format: "%.2f ×"}, joins, beside))
}

// fillIdle adds the cost of idle nodes.
func (r *run) fillIdle(rep *report.Report) {
	now, before := report.Gather(r.Idles, func(i idle) float64 { return i.Now }), report.Gather(r.Idles, func(i idle) float64 { return i.Before })
	rep.Rows = append(rep.Rows, bench.Row{What: fmt.Sprintf("processor time of one of %d idle nodes", r.o.Idle), Value: now.Median(), Format: "%.2f thousandths"})
	if r.o.Before == "" {
		return
	}
	row := report.Ratio(bench.Row{What: "the same ÷ " + r.o.Before, Format: "%.2f ×", Target: idleAtMost, Bound: bench.AtMost}, now, before)
	row.Notes = append(row.Notes, fmt.Sprintf("both at the same time: %v and %v thousandths of a processor", now, before))
	rep.Rows = append(rep.Rows, row)
}
