package poller

// Policy says what happens to a slow consumer: a connection whose backlog has
// reached its limit.
type Policy uint8

const (
	// Disconnect refuses the send. Handler.OnSendFailed is called, and decides how
	// to close the connection.
	Disconnect Policy = iota
	// DropOldest drops the oldest waiting shared frames, but never one that is
	// partly sent.
	DropOldest
	// LatestOnly replaces a waiting frame by a new one with the same key. At the
	// limit it drops the oldest, as DropOldest does.
	LatestOnly
)

// String returns the policy's name in the configuration (backlog.policy).
func (p Policy) String() string {
	return [...]string{"disconnect", "drop-oldest", "latest-only"}[p]
}

// Bounds limit the backlog of one connection. A single frame may exceed Bytes if
// no other frame waits.
type Bounds struct {
	Frames int // 0: 256
	Bytes  int // 0: 1 MiB
}

// maxEvictions is how many connections are evicted for one frame at most.
// Connections may share the frames in their backlogs, and then evicting one frees
// little.
const maxEvictions = 8

// makeRoom applies the policy before f is queued in q. If fits is false, f must not
// be queued.
func (x *sender) makeRoom(c *conn, q *backlog, f *Frame) (r SendResult, fits bool) {
	bounds := &x.opt.Backlog
	if c.flags&flagLargeBacklog != 0 {
		bounds = &x.opt.LargeBacklog
	}
	r = sendQueued
	x.expire(q)
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

// evict drops the backlog of the connection with the largest one, so that the
// backlog but can grow to size bytes. The handler is told NodeFull. It returns
// false if no backlog is larger than but.
func (x *sender) evict(but *backlog, size int) bool {
	q := x.backlogs.classes.largest(but, size)
	if q == nil {
		return false
	}
	x.counters.NodeOverflows.Add(1)
	x.backlogs.classes.leave(q)
	q.evicted = true // not again: a frame that is partly sent stays, however large
	slot := q.id.Slot()
	x.drop(slot, func(f *Frame) bool { return f.class != Last })
	x.conns.at(slot).flags |= flagEvicted // a later frame would follow a gap
	x.refused(slot, NodeFull)
	return true
}
