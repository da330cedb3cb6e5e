package main

import (
	"os"
	"path/filepath"
	"testing"

	"belfry/bench/plot"
)

// draw draws the seconds: the whole, a death, and how the sessions are divided.
func (s *drainSim) draw(t *testing.T, folder string, drained int) {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	death := 0
	for i, at := range s.seconds {
		if at.lost > s.seconds[death].lost {
			death = i
		}
	}
	const minute, around = 60, 20
	told := func(at drainSecond) int { return at.back }
	stated := func(at drainSecond) int { return at.stated }
	for file, c := range map[string]plot.Chart{
		"rolling.svg": {Title: "All nodes are drained, five at a time: largest second of each minute", X: "minutes", Y: "clients/s", Zero: true, Series: []plot.Series{
			s.line("stated", 0, drained, 0, minute, stated),
			s.line("clients that came back", 0, drained, 0, minute, told),
		}},
		"death.svg": {Title: "A node dies during a drain", X: "seconds since it died", Y: "clients/s", LogY: true, Series: []plot.Series{
			s.line("stated", death-around, death+around, death, 1, stated),
			s.line("clients of nodes that drain", death-around, death+around, death, 1, told),
			s.line("clients of the dead node", death, death+around, death, 1, func(at drainSecond) int { return at.lost }),
		}},
		"sessions.svg": {Title: "Sessions of a node: drained five at a time, then cluster.rebalance", X: "minutes", Y: "sessions", Zero: true, Series: []plot.Series{
			s.line("the fullest node", 0, len(s.seconds), 0, minute, func(at drainSecond) int { return at.most }),
			s.line("mean of those that are up", 0, len(s.seconds), 0, minute, func(at drainSecond) int { return at.mean }),
		}},
	} {
		if err := c.Write(filepath.Join(folder, file)); err != nil {
			t.Fatal(err)
		}
	}
}

// line returns the largest values of each step seconds. x counts steps from zero on.
// Values of 0 are left out if a step is a second: they are not on a logarithmic axis.
func (s *drainSim) line(name string, from, to, zero, step int, of func(drainSecond) int) plot.Series {
	from, to = max(from, 0), min(to, len(s.seconds))
	l := plot.Series{Name: name, Steps: true}
	for i := from; i < to; i += step {
		most := 0
		for _, at := range s.seconds[i:min(i+step, to)] {
			most = max(most, of(at))
		}
		if step > 1 || most > 0 {
			l.X, l.Y = append(l.X, float64((i-zero)/step)), append(l.Y, float64(most))
		}
	}
	return l
}
