package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"belfry/ticker"
)

// By how much the Go heap may grow between two collections, in percent.
// Sessions are not on the heap, so it has a few MB and a collection takes about
// a millisecond. With Go's default of 100 the garbage of a storm of connections
// would take as much memory as their records. But under lasting pushes a node
// would then collect 20 times a second, for a tenth of its CPU; so a busy node
// gets more room.
const (
	gcPercent     = 50
	gcPercentBusy = 300
	// The room has a limit in bytes: backlogs of slow readers are on the heap
	// too, and their limits do not allow for four times as much.
	gcRoomBusy = 128 << 20
)

// A node is busy if it has so many collections per second for so many seconds.
const (
	gcBusyCycles  = 5
	gcBusySeconds = 5
	gcCalmCycles  = 1 // per second: with the larger heap there are fewer
)

// gcTuner chooses the percentage, once a second.
type gcTuner struct {
	busy bool
	runs int // seconds in a row that call for a change
}

// next takes the number of collections in the last second and the live bytes
// after the last one. It returns the percentage.
func (p *gcTuner) next(cycles, live uint64) (percent int) {
	if !p.busy && cycles >= gcBusyCycles || p.busy && cycles < gcCalmCycles {
		p.runs++
	} else {
		p.runs = 0
	}
	if p.runs == gcBusySeconds {
		p.busy, p.runs = !p.busy, 0
	}
	if p.busy {
		return max(gcPercent, min(gcPercentBusy, gcRoomBusy/int(live/100+1)))
	}
	return gcPercent
}

// tuneGC sets the percentage until ctx is done, unless GOGC is set.
func tuneGC(ctx context.Context) {
	if _, set := os.LookupEnv("GOGC"); set {
		return
	}
	debug.SetGCPercent(gcPercent)
	go func() {
		var p gcTuner
		ticks := ticker.New(time.Second)
		defer ticks.Stop()
		for last, now := gcCycles(), gcPercent; ; {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
			}
			cycles := gcCycles()
			if want := p.next(cycles-last, readMetric("/gc/heap/live:bytes")); want != now {
				now = want
				debug.SetGCPercent(now)
			}
			last = cycles
		}
	}()
}

func gcCycles() uint64 { return readMetric("/gc/cycles/total:gc-cycles") }

func readMetric(name string) uint64 {
	s := []metrics.Sample{{Name: name}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
