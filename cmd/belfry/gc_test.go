package main

import "testing"

func TestGCPace(t *testing.T) {
	var p gcTuner
	for i, step := range []struct {
		cycles uint64
		times  int
		want   int // after the last of them
	}{
		{0, 10, gcPercent},
		{gcBusyCycles, gcBusySeconds - 1, gcPercent},
		{gcBusyCycles - 1, 1, gcPercent}, // the storm has ended
		{100, gcBusySeconds - 1, gcPercent},
		{100, 1, gcPercentBusy},
		{gcCalmCycles, 100, gcPercentBusy}, // the same load, with more room
		{0, gcBusySeconds - 1, gcPercentBusy},
		{0, 1, gcPercent},
	} {
		got := 0
		for range step.times {
			got = p.next(step.cycles, 10<<20)
		}
		if got != step.want {
			t.Errorf("step %d: %d %%, want %d", i, got, step.want)
		}
	}
}

// With many live bytes a busy node gets a lower percentage.
func TestGCPaceIsBounded(t *testing.T) {
	for live, want := range map[uint64]int{0: gcPercentBusy, 40 << 20: gcPercentBusy, 64 << 20: 199, 1 << 30: gcPercent} {
		p := gcTuner{busy: true}
		if got := p.next(gcBusyCycles, live); got != want {
			t.Errorf("%d bytes live: %d %%, want %d", live, got, want)
		}
	}
}
