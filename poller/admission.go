package poller

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// QueueSingle is congested when one in congestedShare of its places is taken: so
// few that the wait in the queue is a few milliseconds. A shard that is ahead of
// the others gets one in aheadShare of these places.
const (
	congestedShare = 32
	aheadShare     = 32
)

// admission is the fair queue before a shard's QueueSingle. It admits callers in
// the order of their arrival, and only so many that QueueSingle is not congested.
//
// It is fair between shards too. Shards share processors, and without a rule
// the lengths of their queues drift apart: callers of the longest queue would
// wait twice as long as the average, while a shard with a short queue uses as
// much CPU. The rule applies when at least as many callers wait on average as a
// shard has places. A shard for which fewer callers wait than 7/8 of the average
// is ahead then and gets fewer places (aheadShare), which leaves CPU to the other
// shards. It never stops.
type admission struct {
	places   int64         // places in QueueSingle that make it congested
	waiting  atomic.Int64  // callers of wait
	offered  atomic.Int64  // permits in the channel permits, or just taken from it
	admitted atomic.Int64  // permits that are not released, offered ones included
	permits  chan struct{} // offered permits; each admits one caller
	taken    *atomic.Int64 // places in QueueSingle that are taken
	node     *nodeWaiters
}

// nodeWaiters is shared by the admissions of a loop.
type nodeWaiters struct {
	shards int64
	total  atomic.Int64 // callers of wait in all shards
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

func (a *admission) init(q *mailQueue, node *nodeWaiters) {
	a.places = max(q.size/congestedShare, 1)
	a.permits = make(chan struct{}, a.places)
	a.taken = &q.taken
	a.node = node
}

// congested says whether a new caller would have to wait.
func (a *admission) congested() bool {
	return a.waiting.Load() > 0 || a.taken.Load()+a.admitted.Load() >= a.places
}

// limit returns below how many taken places another caller is admitted.
func (a *admission) limit() int64 {
	total, shards := a.node.total.Load(), a.node.shards
	if total >= shards*a.places && a.waiting.Load()*shards < total*7/8 {
		return max(a.places/aheadShare, 1)
	}
	return a.places
}

// admit offers permits to as many callers as there is room for. It is called when
// a place becomes free. If a caller leaves before it has taken its permit, the
// permit admits the next one. Any goroutine.
func (a *admission) admit() {
	for {
		n := a.offered.Load()
		if n >= a.waiting.Load() || a.taken.Load()+a.admitted.Load() >= a.limit() {
			return
		}
		a.admitted.Add(1)
		if !a.offered.CompareAndSwap(n, n+1) {
			a.admitted.Add(-1)
			continue
		}
		select {
		case a.permits <- struct{}{}:
		default: // concurrent calls offered one permit too many; a shard must not block here
			a.offered.Add(-1)
			a.admitted.Add(-1)
			return
		}
	}
}

// wait waits until the caller is admitted, wait has passed, or ctx or gone is done.
// The permit is zero if the caller was not admitted.
func (a *admission) wait(ctx context.Context, wait time.Duration, gone <-chan struct{}) (p Permit) {
	a.node.total.Add(1)
	a.waiting.Add(1)
	a.admit() // the shard may have called admit before this caller was counted
	late := a.node.timer(wait)
	defer a.node.timers.Put(late)
	defer late.Stop()
	select {
	case <-a.permits:
		p.from = a
		defer a.offered.Add(-1) // at the end, so that no other caller is admitted for this one
	case <-late.C:
	case <-ctx.Done():
	case <-gone:
	}
	a.waiting.Add(-1)
	a.node.total.Add(-1)
	return p
}

// Permit keeps a place for a caller that Admit has admitted, until the caller has
// reserved a place or given up. The zero Permit keeps none.
type Permit struct{ from *admission }

// Release gives the place up. It must be called once. Any goroutine.
func (p Permit) Release() {
	if p.from != nil {
		p.from.admitted.Add(-1)
		p.from.admit()
	}
}
