package poller

import (
	"sync/atomic"

	"belfry/offheap"
)

// backlogs are the backlogs of a shard's connections. A connection has one only
// while frames wait for it. Except for node and slow they belong to the shard's
// goroutine.
type backlogs struct {
	queues  offheap.Index[*backlog] // by conn.backlog
	classes backlogClasses
	free    []*backlog
	node    *atomic.Int64 // bytes that wait in all shards, each frame counted once; all shards write it
	slow    atomic.Int64  // connections with a backlog; other goroutines read it
	marks   []byte        // see Shard.MarkBacklogs; nil: none
}

// maxFreeQueues is how many backlogs are kept to be used again, and maxFreeFrames
// how many frames such a backlog has room for at most.
const (
	maxFreeQueues = 64
	maxFreeFrames = 64
)

// of returns the backlog of a connection, nil if nothing waits for it.
func (b *backlogs) of(c *conn) *backlog {
	if c.backlog == 0 {
		return nil
	}
	return b.queues.Get(c.backlog)
}

// open gives a connection an empty backlog. The caller closes it if it stays empty.
func (b *backlogs) open(id ID, c *conn, now uint32) *backlog {
	q := new(backlog)
	if n := len(b.free); n > 0 {
		q = b.free[n-1]
		b.free = b.free[:n-1]
	}
	q.id, q.since = id, now
	c.backlog = b.queues.Put(q)
	b.slow.Add(1)
	if slot := id.Slot(); int(slot) < len(b.marks) {
		b.marks[slot] = 1
	}
	return q
}

// close drops the backlog of a connection, if it has one.
func (b *backlogs) close(c *conn) {
	q := b.of(c)
	if q == nil {
		return
	}
	b.classes.leave(q)
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

// nodeFits says whether the backlogs of the node may grow by n bytes.
func (b *backlogs) nodeFits(n int, limit int64) bool { return b.node.Load()+int64(n) <= limit }

// retain counts a backlog that holds f. With the first one the node counts the
// bytes of f.
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
