package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What the Go heap may grow by between two collections, in percent. Sessions
// are not on it, so it is a few MB and a collection a matter of a millisecond;
// with Go's default of 100 the garbage of a storm of connections would weigh as
// much as their records. A node that is pushed to all the time would then
// collect 20 times a second, for a tenth of its CPU: it is given more room for
// as long as that lasts.
const (
	gcPercent     = 50
	gcPercentBusy = 300
	// But not more than so many bytes of room: what waits for slow readers may
	// be on the heap too, and is bounded without four times as much in mind.
	gcRoomBusy = 128 << 20
)

// When a node is busy: so many collections a second for so many seconds.
const (
	gcBusyCycles  = 5
	gcBusySeconds = 5
	gcCalmCycles  = 1 // in a second: with the larger heap they are rarer
)

// gcTuner decides on the percentage, once a second.
type gcTuner struct {
	busy bool
	runs int // seconds in a row that speak for a change
}

// next takes the collections of the last second, and what the last of them found
// in use.
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

// tuneGC sets the percentage until ctx is done, unless GOGC does.
func tuneGC(ctx context.Context) {
	if _, set := os.LookupEnv("GOGC"); set {
		return
	}
	debug.SetGCPercent(gcPercent)
	go func() {
		var p gcTuner
		ticks := time.NewTicker(time.Second)
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
