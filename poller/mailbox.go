package poller

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

// mailbox is how other goroutines reach a shard. It never blocks: a full lane
// refuses. The shard's own end is inbox.
type mailbox struct {
	queues [queueCount]mailQueue
	single admission     // to LaneSingle
	denied []atomic.Bool // by shard: sockets of that shard wait for room in LaneMove
	gone   chan struct{} // closed by close
	awake  atomic.Bool   // the eventfd is readable, or the shard is about to look at the lanes
	closed atomic.Bool
	waking atomic.Int32 // goroutines that are about to write to the eventfd
	wakeFD int32
}

func (b *mailbox) init(sizes [queueCount]int, wakeFD int32, node *nodeWaiters) {
	b.wakeFD, b.gone = wakeFD, make(chan struct{})
	for i := range b.queues {
		b.queues[i].init(sizes[i])
	}
	b.single.init(&b.queues[QueueSingle], node)
	b.denied = make([]atomic.Bool, node.shards)
}

func (b *mailbox) reserve(lane Queue) bool { return !b.closed.Load() && b.queues[lane].reserve() }

func (b *mailbox) release(lane Queue, n int) {
	b.queues[lane].taken.Add(-int64(n))
	if lane == QueueSingle {
		b.single.admit()
	}
}

func (b *mailbox) put(lane Queue, m Mail) {
	b.queues[lane].put(m)
	b.wake()
}

func (b *mailbox) post(lane Queue, m Mail) bool {
	if !b.reserve(lane) {
		return false
	}
	b.put(lane, m)
	return true
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

// close has every lane refuse. When it returns no goroutine writes to the
// eventfd any more: once that is closed, its number may name another file.
func (b *mailbox) close() {
	if !b.closed.Swap(true) {
		close(b.gone)
	}
	for b.waking.Load() > 0 {
		runtime.Gosched()
	}
}

// Wake has the shard take a turn, and with it call Handler.OnWork. Any goroutine.
func (s *Shard) Wake() { s.box.wake() }

// Reserve takes a place in a lane of the shard, to be used by Put or given
// back by Release. It returns false, and counts it, if the lane is full, and
// false after the loop was closed. Any goroutine.
func (s *Shard) Reserve(lane Queue) bool { return s.box.reserve(lane) }

// Put queues m in a place that Reserve has taken. Any goroutine; it does not
// block.
func (s *Shard) Put(lane Queue, m Mail) { s.box.put(lane, m) }

// Post is Reserve and Put. Any goroutine.
func (s *Shard) Post(lane Queue, m Mail) bool { return s.box.post(lane, m) }

// Release gives n places of a lane back: unused ones of Reserve (any
// goroutine), or those of LaneBulk mail that the handler is done with.
func (s *Shard) Release(lane Queue, n int) { s.box.release(lane, n) }

// Fill returns which part of a lane's places is taken. Any goroutine.
func (s *Shard) Fill(lane Queue) float64 {
	l := &s.box.queues[lane]
	return float64(l.taken.Load()) / float64(l.size)
}

// Admit waits while the single lane is crowded, with one in 32 of its
// places taken or somebody waiting already, but no longer than told or until
// ctx is done, and returns whether it had to. A caller that can wait does so
// here before Reserve, in the order of arrival, and calls Done after it: a lane
// that is full refuses. It does not wait for a shard that does not tick. Any
// goroutine but a shard's.
func (s *Shard) Admit(ctx context.Context, wait time.Duration) (waited bool, e Permit) {
	a := &s.box.single
	if !a.congested() || s.box.closed.Load() || s.tickAge() > staleTick {
		return false, e
	}
	return true, a.wait(ctx, wait, s.box.gone)
}

// WaitersAbove says whether a caller of Uncrowded would have to wait now although
// most callers wait at this shard already, or 1.5 × most at all shards together.
// Callers of the same moment may exceed that by a few. Any goroutine.
func (s *Shard) WaitersAbove(most int) bool {
	a := &s.box.single
	return (a.waiting.Load() >= int64(most) || a.node.total.Load() >= int64(most+most/2)) && a.congested()
}
