package hostile

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"belfry/bench"
)

// busy is the load average above which the table has a warning.
const busy = 1

// Write prints two Markdown tables that are also readable as text: the effect
// on other clients, and the end of the attackers. With notes it prints the
// missed targets below them.
func (r *Result) Write(w io.Writer, notes bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; belfry %s; %v an attack; load average before it %.1f\n\n", r.Machine, r.Server, r.Attack, r.Load)
	if r.Load > busy {
		fmt.Fprintf(&b, "Other programs used the processors, so times and ratios mean little: run it on a quiet machine.\n\n")
	}
	witness := [][]string{{"attack", "attackers", "p50 idle, control, attacked (ms)", "p99 idle, control, attacked (ms)", "ratio", "innocents closed",
		"refused, lost", "newcomers' p99 idle, control, attacked (ms)", "not let in", "verdict"}}
	attackers := [][]string{{"attack", "attackers", "closed", "when (s)", "sent at first, at last (MB/s)", "RSS before, peak, after (MB)", "joined node", "limits hit"}}
	for i := range r.Rows {
		row := &r.Rows[i]
		n := strconv.Itoa(row.Attackers)
		witness = append(witness, []string{row.What, n, row.three(func(p Pushed) float64 { return p.P50 }), row.three(func(p Pushed) float64 { return p.P99 }),
			fmt.Sprintf("%.1f ×", row.Ratio), number(sum(row.InnocentsClosed), row.Innocents), row.failed(), row.newcomers(), row.turnedAway(), row.verdict()})
		attackers = append(attackers, []string{row.What, n, row.ended(), row.when(), row.rates(), row.memory(), row.joined(), counts(row.Limits)})
	}
	bench.WriteCells(&b, witness, 0, 9)
	b.WriteByte('\n')
	bench.WriteCells(&b, attackers, 0, 2, 7)
	if notes {
		r.notes(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// notes prints the missed targets.
func (r *Result) notes(b *strings.Builder) {
	for i := range r.Rows {
		row := &r.Rows[i]
		misses := row.Misses()
		if len(row.LeftOut) > 0 {
			misses = append(misses, "settings that this binary does not know: "+strings.Join(row.LeftOut, ", "))
		}
		if len(misses) == 0 {
			continue
		}
		fmt.Fprintf(b, "\n%s, %d:\n", row.Attack, row.Attackers)
		for _, m := range misses {
			fmt.Fprintf(b, "- %s\n", m)
		}
	}
	if r.Met() {
		b.WriteString("\nall reached\n")
	}
}

func (r *Row) three(of func(Pushed) float64) string {
	return fmt.Sprintf("%s, %s, %s", short(of(r.Idle)), short(of(r.Control)), short(of(r.Attacked)))
}

// short formats milliseconds with two significant digits.
func short(v float64) string {
	switch {
	case v >= 10:
		return fmt.Sprintf("%.0f", v)
	case v >= 1:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func number(n, of int) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%d of %d", n, of)
}

func (r *Row) failed() string {
	return fmt.Sprintf("%d, %d", r.Attacked.Refused+r.After.Refused, r.Attacked.Lost+r.After.Lost)
}

func (r *Row) newcomers() string {
	return fmt.Sprintf("%s, %s, %s", short(r.NewIdle.P99), short(r.NewControl.P99), short(r.NewAttacked.P99))
}

func (r *Row) turnedAway() string {
	failed := sum(r.NewAttacked.Failed)
	return number(failed, failed+r.NewAttacked.Connected)
}

func (r *Row) verdict() string {
	if len(r.Misses()) == 0 {
		return "ok"
	}
	if len(r.Faults()) == 0 {
		return "slow"
	}
	return "fault"
}

// ended describes how the attackers ended, and how many never connected.
func (r *Row) ended() string {
	a := &r.OnNode
	var parts []string
	if len(a.Closed) > 0 {
		parts = append(parts, counts(a.Closed))
	}
	if len(a.Failed) > 0 {
		parts = append(parts, "never in: "+counts(a.Failed))
	}
	if a.Limited > 0 {
		parts = append(parts, fmt.Sprintf("%d err rate_limited", a.Limited))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, "; ")
}

func (r *Row) when() string {
	if r.OnNode.ClosedCount() == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f–%.1f", r.OnNode.First, r.OnNode.Last)
}

func (r *Row) rates() string {
	return fmt.Sprintf("%s, %s", short(r.OnNode.Peak/1e6), short(r.OnNode.End/1e6))
}

func (r *Row) memory() string {
	text := mb(r.Memory)
	if r.AfterTime >= memoryTime {
		text += fmt.Sprintf(" after %.0f s", r.AfterTime.Seconds())
	}
	return text
}

func (r *Row) joined() string {
	if r.Joined == nil {
		return "–"
	}
	return mb(*r.Joined)
}

func mb(m Memory) string {
	return fmt.Sprintf("%.0f, %.0f, %.0f", float64(m.Before)/1e6, float64(m.Peak)/1e6, float64(m.After)/1e6)
}
