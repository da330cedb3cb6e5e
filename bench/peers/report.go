package main

import (
	"fmt"
	"math"
	"strings"

	"belfry/bench"
	"belfry/bench/measure"
	"belfry/bench/peers/peer"
	"belfry/bench/plot"
	"belfry/bench/report"
)

// results has all measured values.
type results struct {
	Connections int       `json:"connections"`
	Rounds      int       `json:"rounds"` // that are complete
	Servers     []*result `json:"servers"`
	Skipped     []string  `json:"skipped,omitempty"` // and why
}

// result is one server of the table.
type result struct {
	Name   string  `json:"name"`
	About  string  `json:"about,omitempty"`
	Median round   `json:"median"` // of each figure over the rounds that have it
	Rounds []round `json:"rounds"`
}

// column is one figure of the table.
type column struct {
	head, unit string
	format     string
	of         func(*round) float64
}

func columns() []column {
	return []column{
		{"idle RSS", "B/connection", "%.0f", func(r *round) float64 { return r.RSS }},
		{"slab", "B/connection", "%.0f", func(r *round) float64 { return r.Slab }},
		{"connects", "1/s", "%.0f", func(r *round) float64 { return r.Connects }},
		{"fan-out", "µs/connection", "%.2f", func(r *round) float64 { return r.Wall }},
		{"p99 receipt", "ms", "%.1f", func(r *round) float64 { return r.P99 }},
		{"server CPU", "µs/delivery", "%.2f", func(r *round) float64 { return r.CPU }},
		{"pushes", "1/s", "%.0f", func(r *round) float64 {
			if r.Push == nil {
				return 0
			}
			return r.Push.PerSecond
		}},
		{"p99 push", "ms", "%.0f", func(r *round) float64 {
			if r.Push == nil {
				return 0
			}
			return float64(r.Push.Latency.P99) / 1e6
		}},
	}
}

// fill computes the medians and completes the report.
func (r *results) fill(rep *report.Report, o *options) {
	for _, s := range r.Servers {
		of := func(value func(*round) float64) float64 {
			var values []float64
			for i := range s.Rounds {
				if v := value(&s.Rounds[i]); v != 0 {
					values = append(values, v)
				}
			}
			return bench.Median(values)
		}
		c := columns()
		m := &s.Median
		m.RSS, m.Slab, m.Connects, m.Wall, m.P99, m.CPU = of(c[0].of), of(c[1].of), of(c[2].of), of(c[3].of), of(c[4].of), of(c[5].of)
		m.BaseRSS = int64(of(func(r *round) float64 { return float64(r.BaseRSS) }))
		m.Clients = measure.ClientLoad{
			CPU:     of(func(r *round) float64 { return r.Clients.CPU }),
			Starved: of(func(r *round) float64 { return r.Clients.Starved }),
			Gap:     of(func(r *round) float64 { return r.Clients.Gap }),
		}
		if perSecond := of(c[6].of); perSecond > 0 {
			m.Push = &pushes{PerSecond: perSecond, Latency: bench.Quantiles{P99: int64(of(c[7].of) * 1e6)}}
		}
	}
	rep.Title, rep.Detail, rep.Body, rep.Lines = "belfry beside other servers", r, r.tables(), r.lines(o)
	rep.Draw(r.chart())
}

// tables are the figures, and their ratios to those of belfry.
func (r *results) tables() string {
	var b strings.Builder
	heads := []string{"server"}
	for _, c := range columns() {
		heads = append(heads, c.head+", "+c.unit)
	}
	bench.WriteCells(&b, append([][]string{heads}, r.cells(nil)...), 0)
	if belfry := r.find(peer.Belfry); belfry != nil && len(r.Servers) > 1 {
		heads = []string{"÷ belfry"}
		for _, c := range columns() {
			heads = append(heads, c.head)
		}
		b.WriteString("\n")
		bench.WriteCells(&b, append([][]string{heads}, r.cells(&belfry.Median)...), 0)
	}
	return b.String()
}

// lines say how it was measured, and what each server is.
func (r *results) lines(o *options) []string {
	lines := []string{fmt.Sprintf("%d connections, %d of them a user; medians over rounds in fresh processes, %d of them complete. Idle RSS and slab (both ends) are slopes from a third of the connections, %v after the last; "+
		"fan-out is one message of %d B to all, publish → last receipt, median of %d a round; pushes are a closed loop of %d requests. "+
		"Slab is that of the whole machine, which should run nothing else.",
		r.Connections, perUser, r.Rounds, o.Settle, o.Size, o.Broadcasts, o.Concurrency)}
	for _, s := range r.Servers {
		lines = append(lines, fmt.Sprintf("- %s: %s", s.Name, s.About))
		if c := s.Median.Clients; c.CPU > 0 {
			lines = append(lines, fmt.Sprintf("  - its clients took %.2f µs of CPU a delivery, waited %.0f %% of the time for a processor, and let messages wait up to %.0f ms", c.CPU, 100*c.Starved, c.Gap))
		}
		for i, round := range s.Rounds {
			if round.Problem != "" {
				lines = append(lines, fmt.Sprintf("  - round %d: %s", i+1, round.Problem))
			}
		}
	}
	for _, s := range r.Skipped {
		lines = append(lines, "- skipped: "+s)
	}
	return lines
}

func (r *results) find(name string) *result {
	for _, s := range r.Servers {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// cells returns a line for each server: its figures, or their ratios to those
// of over.
func (r *results) cells(over *round) [][]string {
	var lines [][]string
	for _, s := range r.Servers {
		line := []string{s.Name}
		for _, c := range columns() {
			v, format := c.of(&s.Median), c.format
			if over != nil {
				v, format = v/c.of(over), "%.2f"
			}
			if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
				line = append(line, "–")
				continue
			}
			line = append(line, fmt.Sprintf(format, v))
		}
		lines = append(lines, line)
	}
	return lines
}

// chart shows each server as a point: what an idle connection costs in memory
// and what a delivery costs in time.
func (r *results) chart() report.Chart {
	c := report.Chart{File: "peers.svg", Text: "Each server is a point: what an idle connection costs in memory, and a delivery in time.",
		Chart: plot.Chart{
			Title: fmt.Sprintf("One message to %d connections against the memory of an idle one", r.Connections),
			X:     "server RSS, bytes per idle connection", Y: "fan-out, µs per connection", LogX: true, Zero: true,
		}}
	for _, s := range r.Servers {
		if m := s.Median; m.Wall > 0 {
			c.Series = append(c.Series, plot.Series{Name: s.Name, Dots: true, Bare: true,
				X: []float64{max(m.RSS, 1)}, Y: []float64{m.Wall}}) // the floor has next to nothing
		}
	}
	return c
}
