package report

import (
	"fmt"
	"slices"

	"belfry/bench"
)

// Series is one figure over the rounds.
type Series []float64

// Gather takes a figure of every round.
func Gather[T any](rounds []T, value func(T) float64) Series {
	s := make(Series, 0, len(rounds))
	for _, r := range rounds {
		s = append(s, value(r))
	}
	return s
}

// Median is that of the rounds, 0 without rounds.
func (s Series) Median() float64 { return bench.Median(s) }

// String is the median with the range of the rounds: "4.90 (4.71–5.02)".
func (s Series) String() string {
	if len(s) == 0 {
		return "none"
	}
	low, high := slices.Min(s), slices.Max(s)
	if low == high {
		return bench.Number(low)
	}
	return fmt.Sprintf("%s (%s–%s)", bench.Number(s.Median()), bench.Number(low), bench.Number(high))
}

// Ratio fills in a row that compares two sides, mostly server and floor.
func Ratio(row bench.Row, server, floor Series) bench.Row {
	if len(server) == 0 || floor.Median() == 0 {
		row.Missing = "no rounds of both sides"
		return row
	}
	row.Value = server.Median() / floor.Median()
	if len(server) == len(floor) && len(server) > 1 {
		pairs := make(Series, len(server))
		for i := range pairs {
			pairs[i] = server[i] / floor[i]
		}
		row.Notes = append(row.Notes, fmt.Sprintf("ratio round by round: %v", pairs))
	}
	return row
}
