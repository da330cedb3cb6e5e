package figures

import (
	"fmt"
	"slices"
	"strings"

	"belfry/bench"
	"belfry/bench/measure"
	"belfry/bench/report"
)

// fill makes the rows, in the order of the issue that set the targets.
func (r *run) fill() {
	if r.o.measures("memory") {
		r.rep.Rows = append(r.rep.Rows, r.memoryRows()...)
	}
	if r.o.measures("fanout") {
		r.rep.Rows = append(r.rep.Rows, r.fanoutRows()...)
	}
	if r.o.measures("push") {
		r.rep.Rows = append(r.rep.Rows, r.pushRow())
	}
	if len(r.Server) > 0 {
		r.rep.Rows = append(r.rep.Rows, r.connectRow())
	}
	if r.o.measures("rates") {
		r.rep.Rows = append(r.rep.Rows, r.rateRow())
	}
	if r.o.measures("allocs") {
		r.rep.Rows = append(r.rep.Rows, r.allocRows()...)
	}
	if r.o.measures("variants") {
		r.rep.Rows = append(r.rep.Rows, r.variantRows()...)
	}
	r.rep.Draw(r.rateChart())
}

func (r *run) memoryRows() []bench.Row {
	m := r.Memory
	idle := report.Gather(m, func(m memory) float64 { return m.Idle })
	used := report.Gather(m, func(m memory) float64 { return m.Used })
	span := fmt.Sprintf("%d → %d", r.o.Base, r.o.Conns)
	heartbeat := " and a heartbeat round"
	if !slices.ContainsFunc(m, func(m memory) bool { return m.Heartbeat }) {
		heartbeat = ""
	}
	return []bench.Row{{
		What: "user memory per idle session, RSS slope " + span, Value: idle.Median(), Format: "%.0f B", Target: 256, Bound: bench.AtMost,
		Notes: []string{
			fmt.Sprintf("RSS, bytes a session, median (range) of %d rounds: %v; anonymous alone: %v", len(m), idle, report.Gather(m, func(m memory) float64 { return m.IdleAnon })),
			fmt.Sprintf("kernel slab on top, both ends of a connection: %v B", report.Gather(m, func(m memory) float64 { return m.Slab })),
			fmt.Sprintf("RSS of the whole server at %d sessions: %v MiB", r.o.Base, report.Gather(m, func(m memory) float64 { return float64(m.Base) / (1 << 20) })),
		},
	}, {
		What: fmt.Sprintf("the same after %d broadcasts%s", r.o.Broadcasts, heartbeat), Value: used.Median(), Format: "%.0f B", Target: 1.1 * idle.Median(), Bound: bench.AtMost,
		Notes: []string{
			fmt.Sprintf("bytes a session: %v; anonymous alone: %v", used, report.Gather(m, func(m memory) float64 { return m.UsedAnon })),
			fmt.Sprintf("with all that broadcasts cost once for the process, spread over the sessions: %v B", report.Gather(m, func(m memory) float64 { return m.Once })),
		},
	}}
}

// fanoutOf picks the rounds' fan-outs with a number of threads; 0 is belfry.
func fanoutOf(rounds []round, threads int, value func(measure.Fanout) float64) report.Series {
	var s report.Series
	for _, r := range rounds {
		for _, f := range r.Fanout {
			if threads == 0 || f.Threads == threads {
				s = append(s, value(f))
				break
			}
		}
	}
	return s
}

func (r *run) fanoutRows() []bench.Row {
	cpu := func(f measure.Fanout) float64 { return f.CPU }
	wall := func(f measure.Fanout) float64 { return f.Wall }
	row := func(what, unit string, target float64, value func(measure.Fanout) float64) bench.Row {
		server := fanoutOf(r.Server, 0, value)
		all, one := fanoutOf(r.Floor, r.o.Shards, value), fanoutOf(r.Floor, 1, value)
		return report.Ratio(bench.Row{
			What:   fmt.Sprintf("fan-out of %d bytes to %d: %s / floor with %d threads", r.o.Size, r.o.Conns, what, r.o.Shards),
			Format: "%.2f ×", Target: target, Bound: bench.AtMost,
			Notes: []string{fmt.Sprintf("%s: server %v, floor with %d threads %v, with one %v", unit, server, r.o.Shards, all, one)},
		}, server, all)
	}
	rows := []bench.Row{
		row("server CPU per delivery", "µs", 0.95, cpu),
		row("publish → last receipt", "ms, medians of each round's broadcasts", 1.00, wall),
	}
	if r.o.Shards > 1 {
		rows = append(rows, report.Ratio(bench.Row{
			What:   fmt.Sprintf("fan-out of %d bytes to %d: publish → last receipt / floor with one thread", r.o.Size, r.o.Conns),
			Format: "%.2f ×", Target: 0.85, Bound: bench.AtMost,
		}, fanoutOf(r.Server, 0, wall), fanoutOf(r.Floor, 1, wall)))
	}
	server, floor := fanoutOf(r.Server, 0, wall), fanoutOf(r.Floor, r.o.Shards, wall)
	rows[1].Notes = append(rows[1].Notes, fmt.Sprintf("µs of wall a connection: server %.2f, floor %.2f",
		server.Median()*1e3/float64(r.o.Conns), floor.Median()*1e3/float64(r.o.Conns)))
	return rows
}

func (r *run) pushRow() bench.Row {
	row := bench.Row{What: fmt.Sprintf("push to one user during a continuous fan-out to %d: p99, HTTP request → sendto", r.o.Conns),
		Format: "%.2f ms", Target: 5, Bound: bench.AtMost}
	var rounds []*measure.Pushes
	for _, s := range r.Server {
		if s.Push != nil {
			rounds = append(rounds, s.Push)
		}
	}
	if len(rounds) == 0 {
		row.Missing = "the floor has no users"
		return row
	}
	ms := func(value func(*measure.Pushes) int64) report.Series {
		return report.Gather(rounds, func(p *measure.Pushes) float64 { return float64(value(p)) / 1e6 })
	}
	row.Notes = []string{
		fmt.Sprintf("up to the receipt in an otherwise idle process, ms: p50 %v, p99 %v, p99.9 %v", ms(func(p *measure.Pushes) int64 { return p.Home.Client.P50 }),
			ms(func(p *measure.Pushes) int64 { return p.Home.Client.P99 }), ms(func(p *measure.Pushes) int64 { return p.Home.Client.P999 })),
		fmt.Sprintf("pushes a round: %v; broadcasts a second meanwhile: %v; refused: %v",
			report.Gather(rounds, func(p *measure.Pushes) float64 { return float64(p.Home.Client.Count) }),
			report.Gather(rounds, func(p *measure.Pushes) float64 { return float64(p.Broadcasts) / p.Seconds }),
			report.Gather(rounds, func(p *measure.Pushes) float64 { return float64(p.Refused) })),
	}
	if slices.ContainsFunc(rounds, func(p *measure.Pushes) bool { return p.Home.Server.Count == 0 }) {
		row.Missing = "the server's /v1/stats counts no pushes in push_latency"
		return row
	}
	server := ms(func(p *measure.Pushes) int64 { return p.Home.Server.P99 })
	row.Value = server.Median()
	row.Notes = append([]string{fmt.Sprintf("at the server, ms, upper bounds of its buckets: p50 %v, p99 %v, p99.9 %v",
		ms(func(p *measure.Pushes) int64 { return p.Home.Server.P50 }), server, ms(func(p *measure.Pushes) int64 { return p.Home.Server.P999 }))}, row.Notes...)
	return row
}

func (r *run) connectRow() bench.Row {
	server := report.Gather(r.Server, func(s round) float64 { return s.Connects })
	floor := report.Gather(r.Floor, func(s round) float64 { return s.Connects })
	return report.Ratio(bench.Row{What: "connects per second (TCP + upgrade + registered) / floor",
		Format: "%.2f ×", Target: 0.9, Bound: bench.AtLeast,
		Notes: []string{fmt.Sprintf("a second: server %v, floor %v", server, floor)}}, server, floor)
}

func (r *run) allocRows() []bench.Row {
	row := func(what, name string, value func(*allocations) float64) bench.Row {
		row := bench.Row{What: what, Format: "%.0f", Bound: bench.AtMost}
		switch a := r.Allocs; {
		case a == nil:
			row.Missing = r.allocsErr.Error()
		case value(a) < 0:
			row.Missing = "no benchmark named " + name
		default:
			row.Value = value(a)
			for _, line := range a.Lines {
				if strings.HasPrefix(line, name) {
					row.Notes = append(row.Notes, line)
				}
			}
		}
		return row
	}
	return []bench.Row{
		row("allocations per delivery, shard → socket", "BenchmarkDeliver", func(a *allocations) float64 { return a.Delivery }),
		row("allocations per inbound small frame", "BenchmarkInboundFrame", func(a *allocations) float64 { return a.Inbound }),
		row("allocations per inbound deflated message of 4 KiB", "BenchmarkInboundDeflated", func(a *allocations) float64 { return a.Deflated }),
	}
}
