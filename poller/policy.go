package poller

// Policy says what happens to a slow consumer: a connection whose backlog
// reaches its bound.
type Policy uint8

const (
	// Disconnect refuses the send. Handler.OnSendFailed is told and decides
	// how to close the connection.
	Disconnect Policy = iota
	// DropOldest drops the oldest shared frames that wait, never one that is
	// partly sent.
	DropOldest
	// LatestOnly lets a frame replace a waiting one with the same key, and
	// beyond that drops the oldest.
	LatestOnly
)

// String returns the policy as it is spelt in the configuration.
func (p Policy) String() string {
	return [...]string{"disconnect", "drop-oldest", "latest-only"}[p]
}

// Bounds limit what waits to be sent to one connection.
type Bounds struct {
	Frames int // 0: 256
	Bytes  int // 0: 1 MiB
}

// maxEvictions is how many connections are evicted for one frame. Evicting one
// of several that wait for the same frames frees nothing.
const maxEvictions = 8

// makeRoom applies the policy before f is queued in q. fits is false if f
// itself is what must go.
func (x *sender) makeRoom(c *conn, q *backlog, f *Frame) (r SendResult, fits bool) {
	bounds := &x.opt.Backlog
	if c.flags&flagLargeBacklog != 0 {
		bounds = &x.opt.LargeBacklog
	}
	r = sendQueued
	if x.opt.Policy == LatestOnly && f.key != 0 {
		if old := q.removeKey(f.key); old != nil {
			x.backlogs.release(old)
			x.counters.DroppedLatest.Add(1)
			r = sendDropped
		}
	}
	for evictions := 0; ; {
		connFull := q.n > 0 && (q.n >= bounds.Frames || q.bytes+len(f.b) > bounds.Bytes)
		nodeFull := f.refs.Load() == 0 && !x.backlogs.nodeFits(len(f.b), x.opt.NodeBytes)
		if f.class == Last || !connFull && !nodeFull {
			return r, true
		}
		var old *Frame
		if x.opt.Policy != Disconnect {
			old = q.removeOldest()
		} else if !connFull && evictions < maxEvictions && x.evict(q, q.bytes+len(f.b)) {
			evictions++
			continue
		}
		switch {
		case old != nil:
			x.counters.DroppedOldest.Add(1)
			x.backlogs.release(old)
			r = sendDropped
		case x.opt.Policy != Disconnect && !f.own:
			x.counters.DroppedOldest.Add(1)
			return sendDropped, false
		case connFull:
			x.counters.Overflows.Add(1)
			if q.n >= bounds.Frames {
				return FramesFull, false
			}
			return BytesFull, false
		default:
			x.counters.NodeOverflows.Add(1)
			return NodeFull, false
		}
	}
}

// evict drops all that waits for the connection with the largest queue, so that
// the queue but, which is to hold size bytes, can grow. The handler is told
// NodeFull. It returns false if no queue is larger than but.
func (x *sender) evict(but *backlog, size int) bool {
	q := x.backlogs.ranks.largest(but, size)
	if q == nil {
		return false
	}
	x.counters.NodeOverflows.Add(1)
	x.backlogs.ranks.leave(q)
	q.evicted = true // once: a frame that has begun stays, however large
	slot := q.id.Slot()
	x.drop(slot, func(f *Frame) bool { return f.class != Last })
	x.conns.at(slot).flags |= flagEvicted // what came next would follow a gap
	x.refused(slot, NodeFull)
	return true
}
