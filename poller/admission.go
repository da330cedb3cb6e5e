package poller

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A shard's single lane is crowded with crowdShare-th of its places taken: few,
// so that what waits there is a matter of a few milliseconds. A shard that is
// ahead of the others has aheadShare-th of these.
const (
	congestedShare = 32
	aheadShare     = 32
)

// admission lets those who can wait into a shard's single lane in their order
// of arrival, and no more of them than keep it from being crowded.
//
// Shards share processors. Left alone, the difference between their queues is
// a random walk, until whoever comes to the longer one waits twice as long as
// the average while the shorter one has as much of the processors. So when on
// average a crowd waits for each shard, one that fewer than 7/8 of the average
// wait for takes small steps, which leaves the processors to those behind. It
// never stops, and one that is not crowded lets everybody through as ever. Where
// fewer wait in all than a crowd for every shard, none takes small steps.
type admission struct {
	places   int64         // taken ones that make a crowd
	waiting  atomic.Int64  // callers of wait
	tokens   atomic.Int64  // given to these and not yet noticed
	admitted atomic.Int64  // given, up to Entry.Done
	permits  chan struct{} // of tokens, each lets in one that waits
	taken    *atomic.Int64 // places of the lane in use
	node     *nodeWaiters
}

// nodeWaiters is what the admissions of a loop know of one another.
type nodeWaiters struct {
	shards int64
	total  atomic.Int64 // callers of wait, of all shards
	timers sync.Pool    // of *time.Timer, stopped
}

func (n *nodeWaiters) timer(d time.Duration) *time.Timer {
	t, ok := n.timers.Get().(*time.Timer)
	if !ok {
		return time.NewTimer(d)
	}
	t.Reset(d)
	return t
}

func (a *admission) init(l *mailQueue, node *nodeWaiters) {
	a.places = max(l.size/congestedShare, 1)
	a.permits = make(chan struct{}, a.places)
	a.taken = &l.taken
	a.node = node
}

// congested says whether whoever comes now has to wait.
func (a *admission) congested() bool {
	return a.waiting.Load() > 0 || a.taken.Load()+a.admitted.Load() >= a.places
}

// limit is how many places may be taken when another one is let in.
func (a *admission) limit() int64 {
	total, shards := a.node.total.Load(), a.node.shards
	if total >= shards*a.places && a.waiting.Load()*shards < total*7/8 {
		return max(a.places/aheadShare, 1)
	}
	return a.places
}

// admit lets in as many as there is room for. Whoever frees a place calls it. A
// token whose waiter has left meanwhile lets in the next to come. Any goroutine.
func (a *admission) admit() {
	for {
		n := a.tokens.Load()
		if n >= a.waiting.Load() || a.taken.Load()+a.admitted.Load() >= a.limit() {
			return
		}
		a.admitted.Add(1)
		if !a.tokens.CompareAndSwap(n, n+1) {
			a.admitted.Add(-1)
			continue
		}
		select {
		case a.permits <- struct{}{}:
		default: // several looked at once and let in one too many; the shard must not wait for room
			a.tokens.Add(-1)
			a.admitted.Add(-1)
			return
		}
	}
}

// wait waits to be let in, for no longer than told, or until ctx or gone is
// done.
func (a *admission) wait(ctx context.Context, wait time.Duration, gone <-chan struct{}) (e Permit) {
	a.node.total.Add(1)
	a.waiting.Add(1)
	a.admit() // the shard may have looked before we were counted
	late := a.node.timer(wait)
	defer a.node.timers.Put(late)
	defer late.Stop()
	select {
	case <-a.permits:
		e.from = a
		defer a.tokens.Add(-1) // last: nobody else is to be let in in our place
	case <-late.C:
	case <-ctx.Done():
	case <-gone:
	}
	a.waiting.Add(-1)
	a.node.total.Add(-1)
	return e
}

// Permit keeps a place for somebody whom Uncrowded has let in, until he has
// reserved one or given up. The zero Entry keeps none.
type Permit struct{ from *admission }

// Release gives the place up. To be called once; any goroutine.
func (e Permit) Release() {
	if e.from != nil {
		e.from.admitted.Add(-1)
		e.from.admit()
	}
}
