package poller

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

// Lane is one of the queues into a shard. They are apart so that a flood of
// one kind cannot keep another waiting.
type Lane uint8

const (
	// LaneControl is for what must always get through: closes, answers to
	// something a shard waits for.
	LaneControl Lane = iota
	// LaneSingle is for work on one connection or user.
	LaneSingle
	// LaneBulk is for work on many connections. Its places are given back
	// by Shard.Release when that work is done, not when it is received, so
	// that the lane's size bounds all of it that is under way.
	LaneBulk
	// LaneMove is for sockets on their way here from other shards or from
	// outside. It is the poller's own.
	LaneMove
	laneCount
)

// String returns the label used in metrics.
func (l Lane) String() string { return [laneCount]string{"control", "single", "bulk", "move"}[l] }

// Lanes returns every lane.
func Lanes() []Lane { return []Lane{LaneControl, LaneSingle, LaneBulk, LaneMove} }

// Mail is one item for a shard. What Kind, ID and Ptr mean is the Handler's
// affair.
type Mail struct {
	Kind uint32
	ID   uint64
	Ptr  any
}

// lane is one of a mailbox's queues.
type lane struct {
	ring  *ring
	size  int64
	taken atomic.Int64  // places in use: reserved, queued or held by the handler
	full  atomic.Uint64 // refusals
}

// mailbox is how other goroutines reach a shard. It never blocks: a full lane
// refuses.
type mailbox struct {
	lanes  [laneCount]lane
	single admission     // to LaneSingle
	gone   chan struct{} // closed by close
	awake  atomic.Bool   // the eventfd is readable or about to be looked at
	closed atomic.Bool
	waking atomic.Int32 // goroutines that are about to write to the eventfd
	wakeFD int32
}

func (b *mailbox) init(sizes [laneCount]int, wakeFD int32, node *nodeWaiting) {
	b.wakeFD, b.gone = wakeFD, make(chan struct{})
	for i := range b.lanes {
		l := &b.lanes[i]
		l.ring = newRing(sizes[i])
		l.size = int64(sizes[i])
	}
	b.single.init(&b.lanes[LaneSingle], node)
}

func (b *mailbox) reserve(lane Lane) bool {
	if b.closed.Load() {
		return false
	}
	l := &b.lanes[lane]
	if l.taken.Add(1) > l.size {
		l.full.Add(1)
		b.release(lane, 1)
		return false
	}
	return true
}

// room says whether a place in a lane is free at the moment.
func (b *mailbox) room(lane Lane) bool { return b.lanes[lane].taken.Load() < b.lanes[lane].size }

func (b *mailbox) release(lane Lane, n int) {
	b.lanes[lane].taken.Add(-int64(n))
	if lane == LaneSingle {
		b.single.open()
	}
}

// put queues m for which a place was reserved. The ring has at least as many
// cells as there are places, so it can be full only for the instant in which
// the consumer has given a place back but not yet left the cell; it leaves
// the cell first (see Shard.drainMail), so it cannot.
func (b *mailbox) put(lane Lane, m Mail) {
	for !b.lanes[lane].ring.push(m) {
	}
	b.wake()
}

// wake makes the shard's eventfd readable unless it is already known to look.
func (b *mailbox) wake() {
	if !b.awake.Load() && !b.awake.Swap(true) {
		b.waking.Add(1)
		if !b.closed.Load() {
			writeCount(b.wakeFD, 1)
		}
		b.waking.Add(-1)
	}
}

// close has every lane refuse. When it returns nobody writes to the eventfd
// any more: as soon as that is closed its number may be a stranger's file.
func (b *mailbox) close() {
	if !b.closed.Swap(true) {
		close(b.gone)
	}
	for b.waking.Load() > 0 {
		runtime.Gosched()
	}
}

// Reserve takes a place in a lane of the shard, to be used by Put or given
// back by Release. It returns false, and counts it, if the lane is full, and
// false after the loop was closed. Any goroutine.
func (s *Shard) Reserve(lane Lane) bool { return s.box.reserve(lane) }

// Uncrowded waits while the single lane is crowded, with one in 32 of its
// places taken or somebody waiting already, but no longer than told or until
// ctx is done, and returns whether it had to. Whoever can wait does so here
// before Reserve, in the order of arrival, and calls Done after it: a lane that
// is full refuses. It does not wait for a shard that does not tick. Any
// goroutine but a shard's.
func (s *Shard) Uncrowded(ctx context.Context, wait time.Duration) (waited bool, e Entry) {
	a := &s.box.single
	if !a.crowded() || s.box.closed.Load() || s.tickAge() > staleTick {
		return false, e
	}
	return true, a.wait(ctx, wait, s.box.gone)
}

// Taken returns which part of a lane's places is taken. Any goroutine.
func (s *Shard) Taken(lane Lane) float64 {
	l := &s.box.lanes[lane]
	return float64(l.taken.Load()) / float64(l.size)
}

// TooManyWait says whether a caller of Uncrowded would have to wait now although
// most callers wait at this shard already, or 1.5 × most at all shards together.
// Callers of the same moment may exceed that by a few. Any goroutine.
func (s *Shard) TooManyWait(most int) bool {
	a := &s.box.single
	return (a.waiting.Load() >= int64(most) || a.node.total.Load() >= int64(most+most/2)) && a.crowded()
}

// Put queues m in a place that Reserve has taken. Any goroutine; it does not
// block.
func (s *Shard) Put(lane Lane, m Mail) { s.box.put(lane, m) }

// Post is Reserve and Put. Any goroutine.
func (s *Shard) Post(lane Lane, m Mail) bool {
	if !s.box.reserve(lane) {
		return false
	}
	s.box.put(lane, m)
	return true
}

// Release gives n places of a lane back: unused ones of Reserve (any
// goroutine), or those of LaneBulk mail that the handler is done with.
func (s *Shard) Release(lane Lane, n int) { s.box.release(lane, n) }
