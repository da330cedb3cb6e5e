package poller

import "sync/atomic"

// Queue is one of the queues into a shard. They are apart so that a flood of
// one kind cannot keep another waiting.
type Queue uint8

const (
	// QueueControl is for what must always get through: closes, answers to
	// something a shard waits for.
	QueueControl Queue = iota
	// QueueSingle is for work on one connection or user.
	QueueSingle
	// QueueBulk is for work on many connections. Its places are given back
	// by Shard.Release when that work is done, not when it is received, so
	// that the lane's size bounds all of it that is under way.
	QueueBulk
	// QueueMove is for sockets on their way here from other shards or from
	// outside. It is the poller's own.
	QueueMove
	queueCount
)

// String returns the label used in metrics.
func (l Queue) String() string { return [queueCount]string{"control", "single", "bulk", "move"}[l] }

// Queues returns every lane.
func Queues() []Queue { return []Queue{QueueControl, QueueSingle, QueueBulk, QueueMove} }

// Mail is one item for a shard. The Handler decides what Kind, ID and Ptr mean.
type Mail struct {
	Kind uint32
	ID   uint64
	Ptr  any
}

// mailQueue is a ring with places. A place is taken before an item is put into the
// ring, so that a message for several shards is put into all of them or none.
type mailQueue struct {
	ring  *ring
	size  int64
	taken atomic.Int64  // places in use: reserved, queued or held by the handler
	full  atomic.Uint64 // refusals
}

func (l *mailQueue) init(size int) {
	l.ring = newRing(size)
	l.size = int64(size)
}

func (l *mailQueue) reserve() bool {
	if l.taken.Add(1) > l.size {
		l.full.Add(1)
		l.taken.Add(-1)
		return false
	}
	return true
}

// room says whether a place is free at the moment.
func (l *mailQueue) room() bool { return l.taken.Load() < l.size }

// put queues m for which a place was reserved. The ring has at least as many
// cells as there are places, and the consumer leaves a cell before it gives the
// place back (see inbox.drain), so the ring is never full here.
func (l *mailQueue) put(m Mail) {
	for !l.ring.push(m) {
	}
}
