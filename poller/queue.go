package poller

import "sync/atomic"

// Queue is one of the queues of a shard's mailbox. There are several, so that
// many items of one kind cannot delay another kind.
type Queue uint8

const (
	// QueueControl is for work that must never be refused for long: closing
	// connections, answers that a shard waits for.
	QueueControl Queue = iota
	// QueueSingle is for work on one connection or user.
	QueueSingle
	// QueueBulk is for work on many connections. A place is given back when the
	// work is done (Shard.Release), not when the item is received. So the size
	// of the queue limits all such work in progress.
	QueueBulk
	// QueueMove is for sockets from other shards or from outside. Only the poller
	// posts to it.
	QueueMove
	queueCount
)

// String returns the queue's label in metrics.
func (q Queue) String() string { return [queueCount]string{"control", "single", "bulk", "move"}[q] }

// Queues returns all queues, in the order in which a shard reads them.
func Queues() []Queue { return []Queue{QueueControl, QueueSingle, QueueBulk, QueueMove} }

// Mail is one item for a shard. Kind, ID and Ptr mean what the Handler decides.
type Mail struct {
	Kind uint32
	ID   uint64
	Ptr  any
}

// mailQueue is a ring with places. A place is reserved before an item is put into
// the ring, so that a message for several shards reaches all of them or none.
type mailQueue struct {
	ring  *ring
	size  int64         // places
	taken atomic.Int64  // places that are reserved, queued or kept by the handler
	full  atomic.Uint64 // refusals
}

func (q *mailQueue) init(size int) {
	q.ring = newRing(size)
	q.size = int64(size)
}

func (q *mailQueue) reserve() bool {
	if q.taken.Add(1) > q.size {
		q.full.Add(1)
		q.taken.Add(-1)
		return false
	}
	return true
}

// room says whether a place is free at the moment.
func (q *mailQueue) room() bool { return q.taken.Load() < q.size }

// put queues m in a reserved place. It never finds the ring full: the ring has at
// least as many cells as there are places, and the consumer leaves a cell before
// it gives the place back (inbox.drain).
func (q *mailQueue) put(m Mail) {
	for !q.ring.push(m) {
	}
}
