package poller

import (
	"sync/atomic"

	"belfry/offheap"
)

// backlogs is what waits for the connections of a shard that read more slowly
// than they are sent to. A connection has a queue only while something waits.
type backlogs struct {
	queues offheap.Index[*backlog] // by conn.queue
	ranks  backlogClasses
	free   []*backlog
	node   *atomic.Int64 // bytes that wait on the node, each frame counted once; all shards write it
	slow   atomic.Int64  // connections for which something waits; other goroutines read it
}

// maxFreeQueues is how many queues are kept to be used again, and
// maxFreeFrames how many places such a queue may have.
const (
	maxFreeQueues = 64
	maxFreeFrames = 64
)

// of returns the queue of a connection, nil if nothing waits for it.
func (b *backlogs) of(c *conn) *backlog {
	if c.backlog == 0 {
		return nil
	}
	return b.queues.Get(c.backlog)
}

// open gives a connection a queue. The caller closes it if it stays empty.
func (b *backlogs) open(id ID, c *conn, now uint32) *backlog {
	q := new(backlog)
	if n := len(b.free); n > 0 {
		q = b.free[n-1]
		b.free = b.free[:n-1]
	}
	q.id, q.since = id, now
	c.backlog = b.queues.Put(q)
	b.slow.Add(1)
	return q
}

// close drops all that waits for a connection.
func (b *backlogs) close(c *conn) {
	q := b.of(c)
	if q == nil {
		return
	}
	b.ranks.leave(q)
	for i := range q.n {
		b.release(q.frames[q.at(i)])
	}
	b.queues.Drop(c.backlog)
	c.backlog = 0
	b.slow.Add(-1)
	if len(q.frames) <= maxFreeFrames && len(b.free) < maxFreeQueues {
		clear(q.frames)
		*q = backlog{frames: q.frames}
		b.free = append(b.free, q)
	}
}

// nodeFits says whether the node has room for n more bytes.
func (b *backlogs) nodeFits(n int, bound int64) bool { return b.node.Load()+int64(n) <= bound }

// retain counts a queue that holds f. The first one has the node count its
// bytes.
func (b *backlogs) retain(f *Frame) {
	if f.refs.Add(1) == 1 {
		b.node.Add(int64(len(f.b)))
	}
}

// release is the reverse of retain.
func (b *backlogs) release(f *Frame) {
	if f.refs.Add(-1) == 0 {
		b.node.Add(-int64(len(f.b)))
	}
}
