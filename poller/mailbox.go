package poller

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

// mailbox is how other goroutines reach a shard. It never blocks: a full queue
// refuses. The shard's own end is inbox.
type mailbox struct {
	queues [queueCount]mailQueue
	single admission     // to QueueSingle
	denied []atomic.Bool // by shard: its sockets wait for room in QueueMove
	gone   chan struct{} // closed by close
	awake  atomic.Bool   // the eventfd is readable, or the shard is about to read the queues
	closed atomic.Bool
	waking atomic.Int32 // goroutines that may be writing to the eventfd
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

func (b *mailbox) reserve(q Queue) bool { return !b.closed.Load() && b.queues[q].reserve() }

func (b *mailbox) release(q Queue, n int) {
	b.queues[q].taken.Add(-int64(n))
	if q == QueueSingle {
		b.single.admit()
	}
}

func (b *mailbox) put(q Queue, m Mail) {
	b.queues[q].put(m)
	b.wake()
}

func (b *mailbox) post(q Queue, m Mail) bool {
	if !b.reserve(q) {
		return false
	}
	b.put(q, m)
	return true
}

// wake makes the shard's eventfd readable, unless the shard will read the queues
// anyway.
func (b *mailbox) wake() {
	if !b.awake.Load() && !b.awake.Swap(true) {
		b.waking.Add(1)
		if !b.closed.Load() {
			writeCount(b.wakeFD, 1)
		}
		b.waking.Add(-1)
	}
}

// close has all queues refuse. When it returns, no goroutine writes to the eventfd
// any more: after the eventfd is closed, its number may name another file.
func (b *mailbox) close() {
	if !b.closed.Swap(true) {
		close(b.gone)
	}
	for b.waking.Load() > 0 {
		runtime.Gosched()
	}
}

// Wake makes the shard take a turn, in which it calls Handler.OnWork. Any
// goroutine.
func (s *Shard) Wake() { s.box.wake() }

// Reserve takes a place in a queue of the shard. Put uses the place, or Release
// gives it back. It returns false if the queue is full, which is counted, or if
// the loop was closed. Any goroutine.
func (s *Shard) Reserve(q Queue) bool { return s.box.reserve(q) }

// Put queues m in a place that Reserve has taken. It does not block. Any goroutine.
func (s *Shard) Put(q Queue, m Mail) { s.box.put(q, m) }

// Post is Reserve and Put. It returns false as Reserve does. Any goroutine.
func (s *Shard) Post(q Queue, m Mail) bool { return s.box.post(q, m) }

// Release gives n places of a queue back: places of Reserve that are not used, or
// places that the handler kept (QueueBulk, KeepPlace) and is done with. Any
// goroutine.
func (s *Shard) Release(q Queue, n int) { s.box.release(q, n) }

// Fill returns which part of a queue's places is taken, from 0 to 1. Any
// goroutine.
func (s *Shard) Fill(q Queue) float64 {
	mq := &s.box.queues[q]
	return float64(mq.taken.Load()) / float64(mq.size)
}

// Admit waits while QueueSingle is congested: one in 32 of its places is taken, or
// other callers wait already. It waits in the order of arrival, until wait has
// passed or ctx is done, and returns whether it had to wait. A caller that can
// wait calls Admit before Reserve, and Permit.Release after it. Admit does not
// wait for a shard whose last tick is 5 s old. Any goroutine except a shard's.
func (s *Shard) Admit(ctx context.Context, wait time.Duration) (waited bool, p Permit) {
	a := &s.box.single
	if !a.congested() || s.box.closed.Load() || s.tickAge() > staleTick {
		return false, p
	}
	return true, a.wait(ctx, wait, s.box.gone)
}

// WaitersAbove says whether a caller of Admit would have to wait now, and at least
// most callers wait at this shard already, or 1.5 × most at all shards together.
// Concurrent callers may exceed these limits by a few. Any goroutine.
func (s *Shard) WaitersAbove(most int) bool {
	a := &s.box.single
	return (a.waiting.Load() >= int64(most) || a.node.total.Load() >= int64(most+most/2)) && a.congested()
}
