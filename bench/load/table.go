package load

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"belfry/bench"
)

// WriteTable prints the report as Markdown that is also readable as text.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s of %s connections open at the end", r.Mode, group(float64(r.Open)), group(float64(r.Wanted)))
	if r.Interrupted {
		b.WriteString(", interrupted")
	}
	fmt.Fprintf(&b, ", %.1f s\n\n", r.Seconds)
	rows := [][]string{{"figure", "value"}}
	for _, f := range r.Figures {
		rows = append(rows, []string{f.Name, strings.TrimSpace(number(f.Value) + " " + f.Unit)})
	}
	bench.WriteCells(&b, rows, 0)
	if len(r.Latencies) > 0 {
		rows = [][]string{{"latency in ms", "p50", "p99", "p99.9", "max", "count"}}
		for _, l := range r.Latencies {
			rows = append(rows, []string{l.Name, ms(l.P50), ms(l.P99), ms(l.P999), ms(l.Max), group(float64(l.Count))})
		}
		b.WriteByte('\n')
		bench.WriteCells(&b, rows, 0)
	}
	fmt.Fprintf(&b, "\nconnections: %d opened, %d failed (%s), %d lost (%s)\n", r.Opened, r.Failed, bench.Causes(r.FailedBy), r.Lost, bench.Causes(r.LostBy))
	fmt.Fprintf(&b, "clients: %d processes, the busiest used %.0f %% of a processor; waited for one at most %.0f %% of the time; read delay at most %.1f ms\n",
		r.Client.Processes, 100*r.Client.Busy, 100*r.Client.Starved, r.Client.Gap)
	for _, s := range r.Warnings {
		b.WriteString("warning: " + s + "\n")
	}
	for _, s := range r.Problems {
		b.WriteString("FAILED: " + s + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// ms prints nanoseconds as milliseconds.
func ms(ns int64) string { return number(float64(ns) / 1e6) }

// number prints three significant digits, and all of whole numbers.
func number(v float64) string {
	if math.Abs(v) >= 100 || v == math.Trunc(v) {
		return group(math.Round(v))
	}
	digits := 2
	if v != 0 {
		digits = min(max(2-int(math.Floor(math.Log10(math.Abs(v)))), 0), 6)
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

// group prints a whole number with separated thousands: 1,000,000.
func group(v float64) string {
	s := strconv.FormatFloat(v, 'f', 0, 64)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}
