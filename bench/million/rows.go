package million

import (
	"fmt"
	"slices"
	"time"

	"belfry/bench"
	"belfry/bench/measure"
	"belfry/bench/report"
)

// million is the number of connections for which the targets hold.
const million = 1_000_000

// fullNode is the number of connections of a node above which its memory slope
// is meaningful. Below it, the memory is mostly what a process needs once.
const fullNode = 10_000

// missingRun is why a row of a part that was not reached has no value.
const missingRun = "the run did not reach it"

// fill makes the rows, the charts and the text of the report.
func (r *run) fill() {
	r.rep.Title = fmt.Sprintf("%d connections on one host", r.o.Connections)
	r.rep.Intro = "```\n" + r.Plan.Text(r.Facts) + "```\n\n" +
		"Ratios are belfry / floor, in the same run and with the same number of processes. The floor does the least that a server can do: accept, answer 101, and `write(2)` to each socket."
	r.rep.Detail = &r.measured
	r.rep.Rows = slices.Concat([]bench.Row{r.failureRow()}, r.connectRows(), r.memoryRows(), r.fanoutRows(), r.pushRows(), r.idleRows())
	r.rep.Charts = nil
	for _, c := range []report.Chart{r.rampChart(), r.memoryChart(), r.receiptChart(), r.growthChart()} {
		r.rep.Draw(c)
	}
}

// sides returns the parts with fan-outs that were begun, by name.
func (r *run) sides() (names []string, sides []*growth) {
	for i, g := range []*growth{r.Floor, r.Belfry} {
		if g != nil {
			names, sides = append(names, []string{"floor", "belfry"}[i]), append(sides, g)
		}
	}
	return names, sides
}

// ramps returns the ramps of all parts that were begun, by name.
func (r *run) ramps() (names []string, ramps []*measure.Ramp) {
	all, sides := r.sides()
	for i, g := range sides {
		if g.Ramp.Opened > 0 {
			names, ramps = append(names, all[i]), append(ramps, &g.Ramp)
		}
	}
	if r.Idle != nil && r.Idle.Ramp.Opened > 0 {
		names, ramps = append(names, "belfry, with pings"), append(ramps, &r.Idle.Ramp)
	}
	return names, ramps
}

func (r *run) failureRow() bench.Row {
	row := bench.Row{What: "connections that failed or were lost; messages lost, doubled, reordered, damaged",
		Format: "%.0f", Target: 0, Bound: bench.AtMost}
	names, ramps := r.ramps()
	for i, ramp := range ramps {
		row.Value += float64(total(ramp.Failed))
		row.Notes = append(row.Notes, fmt.Sprintf("%s: %d opened, failed: %s", names[i], ramp.Opened, bench.Causes(ramp.Failed)))
	}
	row.Notes = append(row.Notes, "a run ends with an error when a connection is lost or a client finds a message missing, double, out of order or damaged")
	if r.rep.Unfinished != "" {
		row.Missing = r.rep.Unfinished
	}
	return row
}

func (r *run) connectRows() []bench.Row {
	row := bench.Row{What: fmt.Sprintf("time to connect %d", r.o.Connections), Format: "%.1f s"}
	rate := bench.Row{What: "connects per second / floor", Format: "%.2f ×", Target: 0.9, Bound: bench.AtLeast}
	names, ramps := r.ramps()
	for i, ramp := range ramps {
		row.Notes = append(row.Notes, fmt.Sprintf("%s: %d in %.1f s, %.0f/s", names[i], ramp.Opened, ramp.Took, ramp.PerSecond()))
	}
	if r.Belfry == nil || r.Belfry.Ramp.Opened < r.o.Connections {
		row.Missing, rate.Missing = missingRun, missingRun
		return []bench.Row{row, rate}
	}
	row.Value = r.Belfry.Ramp.Took
	if r.Floor == nil || r.Floor.Ramp.Opened < r.o.Connections {
		rate.Missing = "the floor was not measured"
	} else {
		rate.Value = r.Belfry.Ramp.PerSecond() / r.Floor.Ramp.PerSecond()
	}
	return []bench.Row{row, rate}
}

func total(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

func (r *run) memoryRows() []bench.Row {
	user := bench.Row{What: "user memory per idle session, RSS slope", Format: "%.0f B"}
	if r.Plan.Connections/len(r.Plan.Nodes) >= fullNode {
		user.Target, user.Bound = 256, bench.AtMost
	}
	base := bench.Row{What: "RSS of an empty node", Format: "%.1f MB", Target: 40, Bound: bench.AtMost}
	kernel := bench.Row{What: "kernel slab per connection, both ends", Format: "%.0f B"}
	used := bench.Row{What: "RSS per session after the fan-outs, against empty nodes", Format: "%.0f B"}
	nodes := float64(len(r.Plan.Nodes))
	if d := r.Idle; d != nil && len(d.Readings) == quarters+1 {
		empty, low, high := d.Readings[0], d.Readings[1], d.Readings[quarters]
		user.Value, kernel.Value = measure.Slope(low, high, measure.RSS), measure.Slope(low, high, measure.Slab)
		base.Value = float64(empty.RSS) / nodes / 1e6
		user.Notes = []string{
			fmt.Sprintf("%d → %d connections over all nodes, with pings; anonymous memory alone: %.0f B", low.Connections, high.Connections, measure.Slope(low, high, measure.Anonymous)),
			fmt.Sprintf("against empty nodes, with what a process needs once it has connections at all: RSS %.0f B, anonymous %.0f B", measure.Slope(empty, high, measure.RSS), measure.Slope(empty, high, measure.Anonymous)),
		}
		kernel.Notes = []string{fmt.Sprintf("memory of the host in use, all of it, clients too: %.1f GB more than with empty nodes",
			float64(empty.Available-high.Available)/1e9)}
	} else {
		why := missingRun
		if r.o.Ping == 0 {
			why = "the idle part was left out (--ping 0)"
		}
		user.Missing, kernel.Missing, base.Missing = why, why, why
	}
	if g := r.Belfry; g != nil && g.Full.Connections > 0 {
		used.Value = float64(g.Full.RSS-g.Empty.RSS) / float64(g.Full.Connections)
		if base.Missing != "" {
			base.Missing, base.Value = "", float64(g.Empty.RSS)/nodes/1e6
		}
	} else {
		used.Missing = missingRun
	}
	return []bench.Row{user, base, used, kernel}
}

func (r *run) fanoutRows() []bench.Row {
	n := r.o.Connections
	server, floor := r.Belfry.last(n), r.Floor.last(n)
	what := fmt.Sprintf("fan-out of %d bytes to %d: ", r.o.Size, n)
	last := bench.Row{What: what + "publish → last receipt", Format: "%.0f ms"}
	each := bench.Row{What: what + "the same per connection", Format: "%.2f µs"}
	wall := bench.Row{What: what + "the same / floor", Format: "%.2f ×", Target: 1.10, Bound: bench.AtMost}
	cpu := bench.Row{What: what + "server CPU per delivery / floor", Format: "%.2f ×", Target: 1.10, Bound: bench.AtMost}
	rows := []*bench.Row{&last, &each, &wall, &cpu}
	if server == nil {
		for _, row := range rows {
			row.Missing = missingRun
		}
	} else {
		last.Value, each.Value = server.Wall, server.Each()
		last.Notes = []string{fmt.Sprintf("one message to one node's API reached all sessions of %d nodes, %d times; ms: %s", server.Nodes, len(server.Walls), list(server.Walls)),
			"half of the clients and 99 % of them had it after, ms: belfry " + reached(server)}
		cpu.Notes = []string{fmt.Sprintf("belfry: %.2f µs a delivery over all nodes, clients %.2f µs; nodes without any fan-out: %.2f cores", server.CPU, server.Clients.CPU, server.Idle)}
		if floor == nil {
			wall.Missing, cpu.Missing = "the floor was not measured", "the floor was not measured"
		} else {
			wall.Value, cpu.Value = server.Wall/floor.Wall, server.CPU/floor.CPU
			wall.Notes = []string{fmt.Sprintf("floor: %.0f ms, %.2f µs a connection; ms: %s", floor.Wall, floor.Each(), list(floor.Walls))}
			last.Notes[1] += ", floor " + reached(floor)
			cpu.Notes = append(cpu.Notes, fmt.Sprintf("floor: %.2f µs a delivery, clients %.2f µs", floor.CPU, floor.Clients.CPU))
		}
	}
	if r.Belfry != nil {
		for i, f := range r.Belfry.Fanouts {
			note := fmt.Sprintf("at %d on %d nodes: belfry %.2f µs", f.Connections, f.Nodes, f.CPU)
			if r.Floor != nil && i < len(r.Floor.Fanouts) {
				note += fmt.Sprintf(", floor %.2f µs", r.Floor.Fanouts[i].CPU)
			}
			cpu.Notes = append(cpu.Notes, note)
		}
	}
	return []bench.Row{last, each, wall, cpu}
}

// reached returns when half of the clients and when nearly all had the message.
func reached(f *measure.Fanout) string {
	return fmt.Sprintf("%.0f and %.0f", float64(f.Receipt.P50)/1e6, float64(f.Receipt.P99)/1e6)
}

// list prints figures one after the other.
func list(v []float64) string {
	s := ""
	for i, x := range v {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%.0f", x)
	}
	return s
}

func (r *run) pushRows() []bench.Row {
	if r.o.Push == 0 {
		return nil
	}
	home := bench.Row{What: fmt.Sprintf("push to one user during fan-outs to %d: p99, HTTP request → sendto", r.o.Connections), Format: "%.1f ms"}
	if len(r.Plan.Nodes) == 1 { // otherwise the processors are oversubscribed, and the row is only information
		home.Target, home.Bound = 20, bench.AtMost
	}
	away := bench.Row{What: "the same through another node's API: p99, HTTP request → receipt", Format: "%.1f ms"}
	p := r.Push
	if p == nil {
		home.Missing, away.Missing = missingRun, missingRun
		return []bench.Row{home, away}
	}
	home.Value = float64(p.Home.Server.P99) / 1e6
	home.Notes = []string{
		"at the node, upper bounds of its buckets: " + quantiles(p.Home.Server),
		"request → receipt in a process of its own: " + quantiles(p.Home.Client),
		fmt.Sprintf("the node's threads waited %.2f ms for a processor each time they were ready (%d times): %d processes share %d cores",
			p.RunQueue, p.Switches, len(r.Plan.Nodes)+len(r.Plan.Clients), r.Facts.CPUs),
		fmt.Sprintf("%d broadcasts in %.0f s meanwhile, %d refused", p.Broadcasts, p.Seconds, p.Refused),
	}
	rows := []bench.Row{home}
	if p.Away != nil {
		away.Value = float64(p.Away.Client.P99) / 1e6
		away.Notes = []string{fmt.Sprintf("node %d's API → NATS → node %d → receipt in a process of its own: %s", p.Home.Node, p.Away.Node, quantiles(p.Away.Client))}
		rows = append(rows, away)
	}
	return rows
}

func quantiles(q bench.Quantiles) string {
	ms := func(ns int64) float64 { return float64(ns) / 1e6 }
	return fmt.Sprintf("p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, of %d", ms(q.P50), ms(q.P99), ms(q.P999), q.Count)
}

func (r *run) idleRows() []bench.Row {
	if r.o.Ping == 0 {
		return nil
	}
	cpu := bench.Row{What: fmt.Sprintf("CPU of all nodes while idle, pings every %v", r.o.Ping), Format: "%.2f cores"}
	if r.o.Connections == million && r.o.Ping == 25*time.Second {
		cpu.Target, cpu.Bound = 0.45, bench.AtMost
	}
	left := bench.Row{What: "RSS of all nodes after all clients have left", Format: "%.0f MB"}
	d := r.Idle
	if d == nil || d.Seconds == 0 {
		cpu.Missing = missingRun
	} else {
		cpu.Value = d.Cores
		cpu.Notes = []string{fmt.Sprintf("over %.0f s; %.2f cores of it also without connections, for the messages between %d nodes; the rest is %.1f µs for each of %d pings",
			d.Seconds, d.Base, len(r.Plan.Nodes), (d.Cores-d.Base)*d.Seconds*1e6/float64(max(d.Pings, 1)), d.Pings)}
	}
	if d == nil || d.Left == nil {
		left.Missing = missingRun
	} else {
		empty, full := d.Readings[0], d.Readings[quarters]
		left.Value = float64(d.Left.RSS) / 1e6
		left.Notes = []string{fmt.Sprintf("empty %.0f MB, full %.0f MB; the nodes knew after %.1f s; slab per connection that stays: %.0f B",
			float64(empty.RSS)/1e6, float64(full.RSS)/1e6, d.LeftIn, float64(d.Left.Slab-empty.Slab)/float64(full.Connections))}
	}
	return []bench.Row{cpu, left}
}
