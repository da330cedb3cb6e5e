package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Row is one line of the table of figures.
type Row struct {
	What   string  `json:"what"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit,omitempty"` // behind Value where there is no Format
	Format string  `json:"-"`              // of Value and Target, a fmt verb with the unit: "%.2f ×"
	Target float64 `json:"target"`
	Bound  Bound   `json:"bound"`
	// Missing is why there is no Value; "" if there is one.
	Missing string `json:"missing,omitempty"`
	// Notes are printed under the table.
	Notes []string `json:"notes,omitempty"`
}

// Bound is the good side of the target.
type Bound string

const (
	AtMost  Bound = "at most"
	AtLeast Bound = "at least"
	Info    Bound = "" // nothing to reach
)

// Outcome returns "ok", "miss", "not measured", or "" for information.
func (r Row) Outcome() string {
	switch {
	case r.Missing != "":
		return "not measured"
	case r.Bound == AtMost && r.Value <= r.Target, r.Bound == AtLeast && r.Value >= r.Target:
		return "ok"
	case r.Bound == Info:
		return ""
	}
	return "miss"
}

func (r Row) reached() string {
	if r.Missing != "" {
		return "–"
	}
	if r.Format == "" {
		return strings.TrimSpace(Number(r.Value) + " " + r.Unit)
	}
	return fmt.Sprintf(r.Format, r.Value)
}

func (r Row) target() string {
	switch r.Bound {
	case AtMost:
		return "≤ " + fmt.Sprintf(r.Format, r.Target)
	case AtLeast:
		return "≥ " + fmt.Sprintf(r.Format, r.Target)
	}
	return ""
}

// Met says whether every row with a target was measured and reached it.
func Met(rows []Row) bool {
	return !slices.ContainsFunc(rows, func(r Row) bool {
		return r.Bound != Info && r.Outcome() != "ok"
	})
}

// WriteTable prints the rows as a Markdown table that is also readable as text,
// and the notes under it. The columns of targets are left out if there are none.
func WriteTable(w io.Writer, rows []Row) error {
	columns := 2
	if slices.ContainsFunc(rows, func(r Row) bool { return r.Bound != Info || r.Missing != "" }) {
		columns = 4
	}
	cells := [][]string{[]string{"what", "reached", "target", ""}[:columns]}
	for _, r := range rows {
		cells = append(cells, []string{r.What, r.reached(), r.target(), r.Outcome()}[:columns])
	}
	var b strings.Builder
	WriteCells(&b, cells, 0, 3)
	for _, r := range rows {
		if r.Missing != "" || len(r.Notes) > 0 {
			fmt.Fprintf(&b, "\n%s:\n", r.What)
		}
		if r.Missing != "" {
			fmt.Fprintf(&b, "- not measured: %s\n", r.Missing)
		}
		for _, note := range r.Notes {
			fmt.Fprintf(&b, "- %s\n", note)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteCells writes a Markdown table that is also readable as text. The first
// line is its head. The columns listed in text, from 0, are left-aligned; the
// others have numbers and are right-aligned.
func WriteCells(b *strings.Builder, lines [][]string, text ...int) {
	width := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for n, line := range lines {
		for i, cell := range line {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if slices.Contains(text, i) {
				b.WriteString("| " + cell + pad + " ")
			} else {
				b.WriteString("| " + pad + cell + " ")
			}
		}
		b.WriteString("|\n")
		if n > 0 {
			continue
		}
		for i, w := range width {
			edge := ":"
			if slices.Contains(text, i) {
				edge = "-"
			}
			b.WriteString("|" + strings.Repeat("-", w+1) + edge)
		}
		b.WriteString("|\n")
	}
}

// Number prints three significant digits, and all of whole numbers, whose
// thousands are separated: 1,000,000.
func Number(v float64) string {
	if math.Abs(v) >= 100 || v == math.Trunc(v) {
		return group(strconv.FormatFloat(math.Round(v), 'f', 0, 64))
	}
	digits := min(max(2-int(math.Floor(math.Log10(math.Abs(v)))), 0), 6)
	return strconv.FormatFloat(v, 'f', digits, 64)
}

// group separates the thousands of a whole number.
func group(s string) string {
	digits := strings.TrimPrefix(s, "-")
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if s[0] == '-' {
		return "-" + digits
	}
	return digits
}
