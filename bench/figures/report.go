package figures

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"belfry/bench"
)

// report is the table with its measured values.
type report struct {
	Machine    string      `json:"machine"`
	Command    string      `json:"command"`
	Began      time.Time   `json:"began"`
	Took       float64     `json:"took_seconds"`
	LoadBefore float64     `json:"load_before"`
	Rows       []bench.Row `json:"rows"`
	Measured   measured    `json:"measured"`

	opts      options
	allocsErr error
}

func (r *report) write(w io.Writer, asJSON bool) error {
	if asJSON {
		p, err := encodeJSON(r)
		if err == nil {
			_, err = w.Write(append(p, '\n'))
		}
		return err
	}
	if err := bench.WriteTable(w, r.Rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n%s\n%s, %.0f s, load average before %.2f\n", r.Machine, r.Command,
		r.Began.Format(time.RFC3339), r.Took, r.LoadBefore)
	return err
}

// fill makes the rows, in the order of the issue that set the targets.
func (r *report) fill() {
	if r.opts.measures("memory") {
		r.Rows = append(r.Rows, r.memoryRows()...)
	}
	if r.opts.measures("fanout") {
		r.Rows = append(r.Rows, r.fanoutRows()...)
	}
	if r.opts.measures("push") {
		r.Rows = append(r.Rows, r.pushRow())
	}
	if len(r.Measured.Server) > 0 {
		r.Rows = append(r.Rows, r.connectRow())
	}
	if r.opts.measures("rates") {
		r.Rows = append(r.Rows, r.rateRow())
	}
	if r.opts.measures("allocs") {
		r.Rows = append(r.Rows, r.allocRows()...)
	}
	if r.opts.measures("variants") {
		r.Rows = append(r.Rows, r.variantRows()...)
	}
}

// draw writes the charts if a folder is given.
func (r *report) draw() error {
	if r.opts.plots == "" || len(r.Measured.Rates) == 0 {
		return nil
	}
	if err := os.MkdirAll(r.opts.plots, 0o755); err != nil {
		return fmt.Errorf("--plots: %w", err)
	}
	return r.rateChart().Write(filepath.Join(r.opts.plots, "rates.svg"))
}

// series is one figure over the rounds.
type series []float64

func gather[T any](rounds []T, value func(T) float64) series {
	s := make(series, 0, len(rounds))
	for _, r := range rounds {
		s = append(s, value(r))
	}
	return s
}

func (s series) median() float64 { return bench.Median(s) }

// String is the median with the range of the rounds: "4.90 (4.71–5.02)".
func (s series) String() string {
	if len(s) == 0 {
		return "none"
	}
	low, high := slices.Min(s), slices.Max(s)
	if low == high {
		return number(low)
	}
	return fmt.Sprintf("%s (%s–%s)", number(s.median()), number(low), number(high))
}

// number prints three significant digits, or the whole integer part if it has
// more.
func number(v float64) string {
	decimals := 0
	for limit := 100.0; decimals < 3 && math.Abs(v) < limit && v != math.Trunc(v); limit /= 10 {
		decimals++
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// ratio fills in a row that compares two sides, mostly server and floor.
func ratio(row bench.Row, server, floor series) bench.Row {
	if len(server) == 0 || floor.median() == 0 {
		row.Missing = "no rounds of both sides"
		return row
	}
	row.Value = server.median() / floor.median()
	if len(server) == len(floor) {
		pairs := make(series, len(server))
		for i := range pairs {
			pairs[i] = server[i] / floor[i]
		}
		row.Notes = append(row.Notes, fmt.Sprintf("ratio round by round: %v", pairs))
	}
	return row
}

func (r *report) memoryRows() []bench.Row {
	m := r.Measured.Memory
	idle := gather(m, func(m memory) float64 { return m.Idle })
	used := gather(m, func(m memory) float64 { return m.Used })
	span := fmt.Sprintf("%d → %d", r.opts.base, r.opts.conns)
	heartbeat := " and a heartbeat round"
	if !slices.ContainsFunc(m, func(m memory) bool { return m.Heartbeat }) {
		heartbeat = ""
	}
	return []bench.Row{{
		What: "user memory per idle session, RSS slope " + span, Value: idle.median(), Format: "%.0f B", Target: 256, Bound: bench.AtMost,
		Notes: []string{
			fmt.Sprintf("RSS, bytes a session, median (range) of %d rounds: %v; anonymous alone: %v", len(m), idle, gather(m, func(m memory) float64 { return m.IdleAnon })),
			fmt.Sprintf("kernel slab on top, both ends of a connection: %v B", gather(m, func(m memory) float64 { return m.Slab })),
			fmt.Sprintf("RSS of the whole server at %d sessions: %v MiB", r.opts.base, gather(m, func(m memory) float64 { return float64(m.Base) / (1 << 20) })),
		},
	}, {
		What: fmt.Sprintf("the same after %d broadcasts%s", r.opts.broadcasts, heartbeat), Value: used.median(), Format: "%.0f B", Target: 1.1 * idle.median(), Bound: bench.AtMost,
		Notes: []string{
			fmt.Sprintf("bytes a session: %v; anonymous alone: %v", used, gather(m, func(m memory) float64 { return m.UsedAnon })),
			fmt.Sprintf("with all that broadcasts cost once for the process, spread over the sessions: %v B", gather(m, func(m memory) float64 { return m.Once })),
		},
	}}
}

// fanoutOf picks the rounds' fan-outs with a number of threads; 0 is belfry.
func fanoutOf(rounds []sideRound, threads int, value func(fanout) float64) series {
	var s series
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

func (r *report) fanoutRows() []bench.Row {
	cpu := func(f fanout) float64 { return f.CPU }
	wall := func(f fanout) float64 { return f.Wall }
	row := func(what, unit string, target float64, value func(fanout) float64) bench.Row {
		server := fanoutOf(r.Measured.Server, 0, value)
		all, one := fanoutOf(r.Measured.Floor, r.opts.shards, value), fanoutOf(r.Measured.Floor, 1, value)
		return ratio(bench.Row{
			What:   fmt.Sprintf("fan-out of %d bytes to %d: %s / floor with %d threads", r.opts.size, r.opts.conns, what, r.opts.shards),
			Format: "%.2f ×", Target: target, Bound: bench.AtMost,
			Notes: []string{fmt.Sprintf("%s: server %v, floor with %d threads %v, with one %v", unit, server, r.opts.shards, all, one)},
		}, server, all)
	}
	rows := []bench.Row{
		row("server CPU per delivery", "µs", 0.95, cpu),
		row("publish → last receipt", "ms, medians of each round's broadcasts", 1.00, wall),
	}
	if r.opts.shards > 1 {
		rows = append(rows, ratio(bench.Row{
			What:   fmt.Sprintf("fan-out of %d bytes to %d: publish → last receipt / floor with one thread", r.opts.size, r.opts.conns),
			Format: "%.2f ×", Target: 0.85, Bound: bench.AtMost,
		}, fanoutOf(r.Measured.Server, 0, wall), fanoutOf(r.Measured.Floor, 1, wall)))
	}
	server, floor := fanoutOf(r.Measured.Server, 0, wall), fanoutOf(r.Measured.Floor, r.opts.shards, wall)
	rows[1].Notes = append(rows[1].Notes, fmt.Sprintf("µs of wall a connection: server %.2f, floor %.2f",
		server.median()*1e3/float64(r.opts.conns), floor.median()*1e3/float64(r.opts.conns)))
	return rows
}

func (r *report) pushRow() bench.Row {
	row := bench.Row{What: fmt.Sprintf("push to one user during a continuous fan-out to %d: p99, HTTP request → sendto", r.opts.conns),
		Format: "%.2f ms", Target: 5, Bound: bench.AtMost}
	var rounds []*push
	for _, s := range r.Measured.Server {
		if s.Push != nil {
			rounds = append(rounds, s.Push)
		}
	}
	if len(rounds) == 0 {
		row.Missing = "the floor has no users"
		return row
	}
	ms := func(value func(*push) int64) series {
		return gather(rounds, func(p *push) float64 { return float64(value(p)) / 1e6 })
	}
	row.Notes = []string{
		fmt.Sprintf("up to the receipt in an otherwise idle process, ms: p50 %v, p99 %v, p99.9 %v", ms(func(p *push) int64 { return p.Client.P50 }),
			ms(func(p *push) int64 { return p.Client.P99 }), ms(func(p *push) int64 { return p.Client.P999 })),
		fmt.Sprintf("pushes a round: %v; broadcasts a second meanwhile: %v; refused: %v",
			gather(rounds, func(p *push) float64 { return float64(p.Client.Count) }),
			gather(rounds, func(p *push) float64 { return float64(p.Broadcasts) / p.Seconds }),
			gather(rounds, func(p *push) float64 { return float64(p.Refused) })),
	}
	if slices.ContainsFunc(rounds, func(p *push) bool { return p.Server.Count == 0 }) {
		row.Missing = "the server's /v1/stats counts no pushes in push_latency"
		return row
	}
	server := ms(func(p *push) int64 { return p.Server.P99 })
	row.Value = server.median()
	row.Notes = append([]string{fmt.Sprintf("at the server, ms, upper bounds of its buckets: p50 %v, p99 %v, p99.9 %v",
		ms(func(p *push) int64 { return p.Server.P50 }), server, ms(func(p *push) int64 { return p.Server.P999 }))}, row.Notes...)
	return row
}

func (r *report) connectRow() bench.Row {
	server := gather(r.Measured.Server, func(s sideRound) float64 { return s.Connects })
	floor := gather(r.Measured.Floor, func(s sideRound) float64 { return s.Connects })
	return ratio(bench.Row{What: "connects per second (TCP + upgrade + registered) / floor",
		Format: "%.2f ×", Target: 0.9, Bound: bench.AtLeast,
		Notes: []string{fmt.Sprintf("a second: server %v, floor %v", server, floor)}}, server, floor)
}

func (r *report) allocRows() []bench.Row {
	row := func(what, name string, value func(*allocations) float64) bench.Row {
		row := bench.Row{What: what, Format: "%.0f", Bound: bench.AtMost}
		switch a := r.Measured.Allocs; {
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
