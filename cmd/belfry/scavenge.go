package main

import (
	"context"
	"runtime/debug"
	"time"
)

// When thousands of slow readers leave, what waited for them is garbage. The
// collector gets to it once the heap has grown by its percentage again, which
// on a node that has become quiet takes until Go forces a collection, after two
// minutes; a container may be killed for memory that nobody uses. What it has
// freed the runtime gives back by and by, but down to the size that the heap had
// at the last collection. So there is one, and all is given back to the kernel,
// once much of what waited has gone or much of the heap is free.
const (
	scavengeMin     = 8 << 20 // bytes that went or are free, beside a share of the heap
	scavengeSamples = 10      // a second, at what waits
	scavengeCalm    = 3       // in a row without a collection: a busy node has its own
	scavengeGap     = 10      // seconds between two at least, twice as many each time
	scavengeMaxGap  = 120     // at most; twice these without another, and it begins anew
)

// scavenger decides, once a second, whether memory is given back.
type scavenger struct {
	peak  int64 // most that waited since memory was given back
	calm  int   // seconds in a row that speak for it
	since int   // seconds since memory was given back
	gap   int   // seconds that since must reach; 0: it never was
}

// observe notes what waits: a burst may be over within a second.
func (p *scavenger) observe(waiting int64) { p.peak = max(p.peak, waiting) }

// next takes the collections of the last second, the bytes that wait on the node
// for clients and from them, and those of the Go heap: of objects, and free ones
// that the process has all the same.
func (p *scavenger) next(cycles uint64, waiting, objects, free int64) bool {
	p.since++
	p.observe(waiting)
	gone := p.peak-waiting >= max(scavengeMin, objects/4)
	if cycles > 0 || !gone && free < objects/2+scavengeMin {
		p.calm = 0
		return false
	}
	if p.calm++; p.calm < scavengeCalm || p.since < p.gap {
		return false
	}
	if p.gap > 0 && p.since < 2*scavengeMaxGap {
		p.gap = min(2*p.gap, scavengeMaxGap)
	} else {
		p.gap = scavengeGap
	}
	p.peak, p.calm, p.since = waiting, 0, 0
	return true
}

// scavenge gives memory back until ctx is done.
func scavenge(ctx context.Context, waiting func() int64) {
	var p scavenger
	looks := time.NewTicker(time.Second / scavengeSamples)
	defer looks.Stop()
	n := 0
	for last := gcCycles(); ; {
		select {
		case <-ctx.Done():
			return
		case <-looks.C:
		}
		if n++; n%scavengeSamples != 0 {
			p.observe(waiting())
			continue
		}
		cycles := gcCycles()
		objects, free := readMetric("/memory/classes/heap/objects:bytes"), readMetric("/memory/classes/heap/free:bytes")
		if p.next(cycles-last, waiting(), int64(objects), int64(free)) {
			debug.FreeOSMemory()
			cycles = gcCycles()
		}
		last = cycles
	}
}
