// Package report holds what a scenario measured, and writes it as a table, as
// JSON, and as a folder with charts.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"belfry/bench"
)

// Report is the result of a run.
type Report struct {
	Scenario   string    `json:"scenario"`
	Command    string    `json:"command"`
	Machine    string    `json:"machine"` // that of the clients
	Began      time.Time `json:"began"`
	Took       float64   `json:"took_seconds"`
	LoadBefore float64   `json:"load_before"` // average of the last minute
	Unfinished string    `json:"unfinished,omitempty"`

	Rows      []bench.Row `json:"rows"`
	Latencies []Latency   `json:"latencies,omitempty"`
	Problems  []string    `json:"problems,omitempty"` // reasons why the run failed
	Warnings  []string    `json:"warnings,omitempty"` // reasons to doubt the figures
	Detail    any         `json:"detail,omitempty"`   // measured values of each round

	Title  string   `json:"-"` // heading of report.md
	Intro  string   `json:"-"` // Markdown above the table of report.md
	Body   string   `json:"-"` // further tables, in Markdown that is also readable as text
	Lines  []string `json:"-"` // under the table
	Charts []Chart  `json:"-"`
}

// Latency is one distribution.
type Latency struct {
	Name string `json:"name"`
	bench.Quantiles
	Histogram *bench.Histogram `json:"histogram"` // pairs of nanoseconds and count
}

// New returns the report of a run that begins now.
func New(scenario string) (*Report, error) {
	load, err := bench.Load()
	return &Report{Scenario: scenario, Title: scenario, Command: strings.Join(os.Args, " "), Machine: bench.Machine(),
		Began: time.Now().UTC(), LoadBefore: load}, err
}

// Figure adds a row that has no target.
func (r *Report) Figure(what string, value float64, unit string) {
	r.Rows = append(r.Rows, bench.Row{What: what, Value: value, Unit: unit})
}

// Problem adds a reason why the run failed.
func (r *Report) Problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// Warning adds a reason to doubt the figures.
func (r *Report) Warning(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}

// Latency adds a distribution unless it is empty.
func (r *Report) Latency(name string, h *bench.Histogram) {
	if h != nil && h.Count() > 0 {
		r.Latencies = append(r.Latencies, Latency{name, h.Quantiles(), h})
	}
}

// Find returns a latency by name, nil if there is none.
func (r *Report) Find(name string) *Latency {
	if i := slices.IndexFunc(r.Latencies, func(l Latency) bool { return l.Name == name }); i >= 0 {
		return &r.Latencies[i]
	}
	return nil
}

// End notes that the run is over, and why if it ended early.
func (r *Report) End(err error) {
	r.Took = time.Since(r.Began).Seconds()
	if err != nil {
		r.Unfinished = err.Error()
	}
}

// Err is nil unless the run failed or, with targets, missed one.
func (r *Report) Err(targets bool) error {
	if len(r.Problems) > 0 {
		return errors.New(strings.Join(r.Problems, "\n"))
	}
	if targets && !bench.Met(r.Rows) {
		return errors.New("not every target was reached")
	}
	return nil
}

// Write prints the report, as Markdown that is also readable as text, or as
// JSON.
func (r *Report) Write(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(r)
	}
	var b strings.Builder
	r.tables(&b)
	fmt.Fprintf(&b, "\n%s\n%s\n%s, %.0f s, load average before %.2f\n", r.Machine, r.Command, r.Began.Format(time.RFC3339), r.Took, r.LoadBefore)
	if r.Unfinished != "" {
		fmt.Fprintf(&b, "NOT FINISHED: %s\n", r.Unfinished)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// tables writes everything but the circumstances.
func (r *Report) tables(b *strings.Builder) {
	b.WriteString(r.Body)
	if len(r.Rows) > 0 {
		_ = bench.WriteTable(b, r.Rows) // writing to a builder cannot fail
	}
	if len(r.Latencies) > 0 {
		cells := [][]string{{"latency in ms", "p50", "p99", "p99.9", "max", "count"}}
		ms := func(ns int64) string { return bench.Number(float64(ns) / 1e6) }
		for _, l := range r.Latencies {
			cells = append(cells, []string{l.Name, ms(l.P50), ms(l.P99), ms(l.P999), ms(l.Max), bench.Number(float64(l.Count))})
		}
		b.WriteByte('\n')
		bench.WriteCells(b, cells, 0)
	}
	if len(r.Lines)+len(r.Warnings)+len(r.Problems) > 0 {
		b.WriteByte('\n')
	}
	for _, s := range r.Lines {
		b.WriteString(s + "\n")
	}
	for _, s := range r.Warnings {
		b.WriteString("warning: " + s + "\n")
	}
	for _, s := range r.Problems {
		b.WriteString("FAILED: " + s + "\n")
	}
}
