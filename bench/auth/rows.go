package auth

import (
	"fmt"
	"strings"

	"belfry/bench"
	"belfry/bench/report"
)

// Targets of the memory and of the storm.
const (
	fullSession = 400      // bytes of a session with everything
	lessSession = 16       // bytes of a session without meta, beyond one without a token
	stormGrowth = 64 << 20 // bytes
	stormDelay  = 2        // p99 of pushes during the storm against idle
)

// fill makes the rows of the report.
func (r *run) fill(rep *report.Report) {
	for _, s := range sides {
		r.connectRows(rep, s, r.Connects, "")
		r.connectRows(rep, s, r.Shared, fmt.Sprintf(", %d connections share a token", r.o.PerUser))
	}
	r.memoryRows(rep)
	r.stormRows(rep)
}

// connectRows adds the rows of one side. The targets are for a token of each connection's
// own and for shared ones alike.
func (r *run) connectRows(rep *report.Report, s side, all map[string][]connects, how string) {
	rounds, none := all[s.algorithm], all["none"]
	if len(rounds) == 0 {
		return
	}
	fresh, back := report.Gather(rounds, func(c connects) float64 { return c.New }), report.Gather(rounds, func(c connects) float64 { return c.Back })
	notes := []string{
		fmt.Sprintf("new tokens: %v connects/s, %v µs of the node's CPU each", fresh, report.Gather(rounds, func(c connects) float64 { return c.NewCPU })),
		fmt.Sprintf("tokens that come back: %v connects/s, %v µs, %v cache hits", back,
			report.Gather(rounds, func(c connects) float64 { return c.BackCPU }), report.Gather(rounds, func(c connects) float64 { return c.CacheHits })),
	}
	if s.algorithm == "none" {
		rep.Rows = append(rep.Rows, bench.Row{What: "connects a second without a token" + strings.ReplaceAll(how, "share a token", "of a user"), Value: fresh.Median(), Format: "%.0f/s", Notes: notes})
		return
	}
	row := report.Ratio(bench.Row{What: "connects with " + s.algorithm + " ÷ without a token" + how, Format: "%.2f ×", Target: s.least, Bound: bench.AtLeast},
		fresh, report.Gather(none, func(c connects) float64 { return c.New }))
	row.Notes = append(row.Notes, notes...)
	again := report.Ratio(bench.Row{What: "the same when all come back with the same tokens", Format: "%.2f ×"},
		back, report.Gather(none, func(c connects) float64 { return c.Back }))
	rep.Rows = append(rep.Rows, row, again)
}

func (r *run) memoryRows(rep *report.Report) {
	rss := func(m memory) float64 { return m.RSS }
	without := report.Gather(r.Memory[plain], rss)
	for _, g := range grants {
		all := report.Gather(r.Memory[g.name], rss)
		if len(all) == 0 {
			continue
		}
		row := bench.Row{What: "RSS of an idle session with 3 topics, " + g.what, Value: all.Median(), Format: "%.0f B",
			Notes: []string{fmt.Sprintf("rounds: %v B; anonymous %v B", all, report.Gather(r.Memory[g.name], func(m memory) float64 { return m.Anonymous }))}}
		if g.name == "full" {
			row.Target, row.Bound = fullSession, bench.AtMost
		}
		rep.Rows = append(rep.Rows, row)
		if g.name == "expiry" && len(without) > 0 {
			rep.Rows = append(rep.Rows, bench.Row{What: "beyond a session without a token", Value: all.Median() - without.Median(), Format: "%.0f B",
				Target: lessSession, Bound: bench.AtMost})
		}
	}
}

func (r *run) stormRows(rep *report.Report) {
	if len(r.Storms) == 0 {
		return
	}
	growth := report.Gather(r.Storms, func(s storm) float64 { return float64(s.Hangs.Peak-s.Hangs.Before) / (1 << 20) })
	rep.Rows = append(rep.Rows, bench.Row{What: fmt.Sprintf("RSS growth by %d handshakes at once, the webhook hangs", r.o.Storm), Value: growth.Median(),
		Format: "%.1f MiB", Target: stormGrowth >> 20, Bound: bench.AtMost,
		Notes: []string{fmt.Sprintf("rounds: %v MiB; without a webhook, which admits all, %v MiB", growth,
			report.Gather(r.Storms, func(s storm) float64 { return float64(s.Control.Peak-s.Control.Before) / (1 << 20) }))}})
	p99 := func(of func(storm) stormed) report.Series {
		return report.Gather(r.Storms, func(s storm) float64 { return float64(of(s).Server.P99) / 1e3 })
	}
	idle, control, hangs := p99(func(s storm) stormed { return s.Idle }), p99(func(s storm) stormed { return s.Control }), p99(func(s storm) stormed { return s.Hangs })
	row := report.Ratio(bench.Row{What: "p99 of a push in the node meanwhile ÷ idle", Format: "%.2f ×", Target: stormDelay, Bound: bench.AtMost}, hangs, idle)
	row.Notes = append(row.Notes, fmt.Sprintf("idle %v µs, the webhook hangs %v µs; the same storm without a webhook %v µs", idle, hangs, control))
	client := func(of func(storm) stormed) report.Series {
		return report.Gather(r.Storms, func(s storm) float64 { return float64(of(s).Client.P99) / 1e6 })
	}
	row.Notes = append(row.Notes, fmt.Sprintf("to the receipt in a process that shares the processors: idle %v ms, the webhook hangs %v ms, without a webhook %v ms",
		client(func(s storm) stormed { return s.Idle }), client(func(s storm) stormed { return s.Hangs }), client(func(s storm) stormed { return s.Control })))
	rep.Rows = append(rep.Rows, row)
}
