package main

import (
	"context"
	"runtime/debug"
	"time"

	"belfry/ticker"
)

// When thousands of slow readers leave, their backlogs are garbage. The next
// collection comes when the heap has grown by its percentage; on a quiet node
// that may be only when Go forces one after two minutes, and meanwhile a
// container may be killed for unused memory. The runtime gives freed memory
// back slowly, and only down to the heap size of the last collection. So when
// much of the waiting data has gone, or much of the heap is free, the scavenger
// runs a collection and gives all free memory back to the kernel.
const (
	scavengeMin     = 8 << 20 // least bytes that have gone or are free, besides a share of the heap
	scavengeSamples = 10      // per second, at the waiting bytes, while the node is at work
	scavengeCalm    = 3       // seconds in a row without a collection: a busy node collects by itself
	scavengeGap     = 10      // least seconds between two; doubled each time
	scavengeMaxGap  = 120     // most seconds between two; after twice as many without one the least applies again
)

// scavenger decides once a second whether to give memory back.
type scavenger struct {
	peak  int64 // most bytes that waited since memory was given back
	calm  int   // seconds in a row that call for it
	since int   // seconds since memory was given back
	gap   int   // seconds that since must reach; 0: memory was never given back
}

// observe records the waiting bytes: a burst may end within a second.
func (p *scavenger) observe(waiting int64) { p.peak = max(p.peak, waiting) }

// next takes the number of collections in the last second, the bytes that wait
// in the node for clients and from them, and two figures of the Go heap: bytes
// of objects, and free bytes that the process still has. It returns whether to
// give memory back.
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

// scavenge gives memory back until ctx is done. It looks once a second, and more
// often while data waits or the collector runs: on a host with many idle nodes
// ten wake-ups a second were a third of what a node cost. A burst that begins
// and ends between two looks is seen by the collections that it caused; then
// every object of the heap may be what the burst has left.
func scavenge(ctx context.Context, waiting func() int64) {
	var p scavenger
	const idle, busy = time.Second, time.Second / scavengeSamples
	looks := ticker.New(idle)
	defer func() { looks.Stop() }()
	every := idle
	n := 0
	for last := gcCycles(); ; {
		select {
		case <-ctx.Done():
			return
		case <-looks.C:
		}
		if n++; every == busy && n < scavengeSamples {
			p.observe(waiting())
			continue
		}
		n = 0
		cycles, now := gcCycles(), waiting()
		objects, free := readMetric("/memory/classes/heap/objects:bytes"), readMetric("/memory/classes/heap/free:bytes")
		if every == idle && cycles != last {
			p.observe(int64(objects))
		}
		wanted := idle
		if now > 0 || cycles != last {
			wanted = busy
		}
		if p.next(cycles-last, now, int64(objects), int64(free)) {
			debug.FreeOSMemory()
			cycles = gcCycles()
		}
		if last = cycles; wanted != every {
			every = wanted
			looks.Stop()
			looks = ticker.New(every)
		}
	}
}
