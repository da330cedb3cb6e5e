package main

import "testing"

// step is a number of seconds with the same load.
type step struct {
	seconds int
	cycles  uint64
	waiting int64 // MiB
	heap    int64 // MiB of objects
	free    int64 // MiB
	want    int   // how often memory was given back
}

func runReturnPace(t *testing.T, steps []step) {
	t.Helper()
	var p scavenger
	for i, s := range steps {
		got := 0
		for range s.seconds {
			if p.next(s.cycles, s.waiting<<20, s.heap<<20, s.free<<20) {
				got++
			}
		}
		if got != s.want {
			t.Errorf("step %d: given back %d times, want %d", i, got, s.want)
		}
	}
}

func TestReturnPace(t *testing.T) {
	runReturnPace(t, []step{
		{60, 0, 0, 30, 0, 0},
		{10, 2, 500, 600, 0, 0},
		{60, 0, 500, 600, 0, 0},             // the bytes still wait
		{scavengeCalm - 1, 0, 0, 600, 0, 0}, // gone
		{1, 0, 0, 600, 0, 1},
		{600, 0, 0, 20, 0, 0}, // and that was all
	})
	runReturnPace(t, []step{
		{10, 2, 500, 600, 0, 0},
		{600, 1, 0, 600, 0, 0}, // the collector runs by itself
	})
	runReturnPace(t, []step{
		{1, 1, 500, 600, 0, 0},
		{1, 1, 0, 600, 0, 0}, // a collection in the second in which the bytes went
		{scavengeCalm, 0, 0, 600, 0, 1},
	})
	runReturnPace(t, []step{
		{5, 0, 100, 600, 0, 0},
		{60, 0, 0, 600, 0, 0}, // little compared with the heap
	})
	runReturnPace(t, []step{
		{5, 1, 7, 10, 0, 0},
		{60, 0, 0, 10, 0, 0}, // little
	})
}

// Free memory of the heap is given back when the collector does not run.
func TestReturnPaceOfFreeHeap(t *testing.T) {
	runReturnPace(t, []step{
		{600, 1, 0, 20, 300, 0},
		{scavengeCalm - 1, 0, 0, 20, 300, 0},
		{1, 0, 0, 20, 300, 1},
		{600, 0, 0, 20, 1, 0},
		{600, 0, 0, 100, 50, 0}, // what a collection leaves free at GOGC=50
	})
}

// On a node where much data comes and goes all the time, memory is rarely given
// back.
func TestReturnPaceUnderLoad(t *testing.T) {
	var p scavenger
	given := 0
	for second := range 3600 {
		var cycles uint64
		waiting := int64(0)
		if second%10 < 4 {
			waiting, cycles = 300<<20, 3
		}
		if p.next(cycles, waiting, 400<<20, 0) {
			given++
		}
	}
	if most := 3600/scavengeMaxGap + 5; given == 0 || given > most {
		t.Errorf("given back %d times in an hour, want 1 to %d", given, most)
	}
	p, given = scavenger{}, 0
	for second := range 3600 {
		if p.next(1, int64(second%2)*300<<20, 400<<20, 0) {
			given++
		}
	}
	if given != 0 {
		t.Errorf("given back %d times while the collector runs every second", given)
	}
}
