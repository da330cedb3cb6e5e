package main

import (
	"context"
	"runtime/debug"
	"time"
)

// When thousands of slow readers leave, what waited for them is garbage. The
// collector gets to it once the heap has grown by its percentage again, which
// on a node that has become quiet takes until Go forces a collection, after two
// minutes; a container may be killed for memory that nobody uses. So it is
// collected, and given back to the kernel, once much of what waited has gone.
const (
	returnLeast   = 8 << 20 // bytes that went, and at least a quarter of the heap
	returnShare   = 4
	returnSeconds = 3   // in a row without a collection: a busy node has its own
	returnGap     = 10  // seconds between two at least, twice as many each time
	returnGapMost = 120 // at most; twice these without another, and it begins anew
)

// returnPace decides, once a second, whether memory is given back.
type returnPace struct {
	before int64 // what waited a second ago
	peak   int64 // most that waited since the last collection
	calm   int   // seconds in a row that speak for it
	since  int   // seconds since memory was given back
	gap    int   // seconds that since must reach; 0: it never was
}

// next takes the collections of the last second, the bytes that wait on the
// node for clients or for the bus, and those on the Go heap.
func (p *returnPace) next(cycles uint64, waiting, heap int64) bool {
	p.since++
	if cycles > 0 {
		p.peak, p.calm = p.before, 0 // what went within the second may have been seen or not
	}
	p.before = waiting
	p.peak = max(p.peak, waiting)
	if gone := p.peak - waiting; gone < returnLeast || gone < heap/returnShare {
		p.calm = 0
		return false
	}
	if p.calm++; p.calm < returnSeconds || p.since < p.gap {
		return false
	}
	if p.gap > 0 && p.since < 2*returnGapMost {
		p.gap = min(2*p.gap, returnGapMost)
	} else {
		p.gap = returnGap
	}
	p.peak, p.calm, p.since = waiting, 0, 0
	return true
}

// returnMemory gives memory back until ctx is done.
func returnMemory(ctx context.Context, waiting func() int64) {
	var p returnPace
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for last := gcCycles(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		cycles := gcCycles()
		if p.next(cycles-last, waiting(), int64(readMetric("/memory/classes/heap/objects:bytes"))) {
			debug.FreeOSMemory()
			cycles = gcCycles()
		}
		last = cycles
	}
}

// waitingBytes is what waits on this node for clients and from them.
func (n *belfry) waitingBytes() int64 {
	st := n.sessions.Stats().Poller
	return st.BacklogBytes + st.InboundBytes
}
