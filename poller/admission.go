package poller

import (
	"context"
	"sync/atomic"
	"time"
)

// A shard's single lane is crowded with crowdShare-th of its places taken: few,
// so that what waits there is a matter of a few milliseconds. For a shard that
// is ahead of the others it is aheadShare times fewer.
const (
	crowdShare = 64
	aheadShare = 32
)

// admission lets those who can wait into a shard's single lane in their order
// of arrival, and no more of them than keep it from being crowded.
//
// Shards share processors. Left alone, the difference between their queues
// grows like any sum of coin tosses, until whoever comes to the longer one
// waits twice as long as the average while the shorter one has as much of the
// processors. So a shard that fewer wait for than 7/8 of the average takes
// smaller steps, which leaves the processors to those behind. It never stops:
// where there are processors enough it loses little.
type admission struct {
	places   int64         // taken ones that make a crowd
	waiting  atomic.Int64  // callers of wait
	admitted atomic.Int64  // those of them that were let in and have not yet noticed
	entry    chan struct{} // a token lets one of them in
	node     *nodeWaiting
}

// nodeWaiting is what the admissions of a loop know of one another.
type nodeWaiting struct {
	shards int64
	total  atomic.Int64 // callers of wait, of all shards
}

func (a *admission) init(laneSize int, node *nodeWaiting) {
	a.places = max(int64(laneSize)/crowdShare, 1)
	a.entry = make(chan struct{}, a.places)
	a.node = node
}

// limit is how many places may be taken when another one is let in.
func (a *admission) limit() int64 {
	if a.waiting.Load()*a.node.shards < a.node.total.Load()*7/8 {
		return max(a.places/aheadShare, 1)
	}
	return a.places
}

// open lets in as many as there is room for, taken places being those in use
// already. A token too many, because somebody left meanwhile, lets in the next
// to come. Any goroutine.
func (a *admission) open(taken *atomic.Int64) {
	for {
		n := a.admitted.Load()
		if n >= a.waiting.Load() || taken.Load()+n >= a.limit() {
			return
		}
		if a.admitted.CompareAndSwap(n, n+1) {
			a.entry <- struct{}{} // has room: no more are admitted than there are places
		}
	}
}

// wait waits to be let in, until late, ctx or gone.
func (a *admission) wait(ctx context.Context, taken *atomic.Int64, wait time.Duration, gone <-chan struct{}) {
	a.node.total.Add(1)
	a.waiting.Add(1)
	a.open(taken) // the shard may have looked before we were counted
	late := time.NewTimer(wait)
	defer late.Stop()
	in := int64(0)
	select {
	case <-a.entry:
		in = 1
	case <-late.C:
	case <-ctx.Done():
	case <-gone:
	}
	a.waiting.Add(-1) // first, or somebody else would let in nobody in our place
	a.node.total.Add(-1)
	a.admitted.Add(-in)
	a.open(taken) // we may not post after all
}
