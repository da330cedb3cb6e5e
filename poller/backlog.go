package poller

// newQueue makes a queue, or takes one that was used before.
func (s *Shard) newQueue() *queue {
	if n := len(s.freeQueues); n > 0 {
		q := s.freeQueues[n-1]
		s.freeQueues = s.freeQueues[:n-1]
		return q
	}
	return new(queue)
}

// startQueue gives c a queue.
func (s *Shard) startQueue(slot uint32, c *conn) *queue {
	q := s.newQueue()
	q.id = s.ID(slot)
	q.since = s.now
	c.queue = s.queues.Put(q)
	s.backlogged.Add(1)
	return q
}

// Stuck returns for how many ticks a connection has taken nothing of what
// waits for it, 0 if nothing waits.
func (s *Shard) Stuck(slot uint32) uint32 {
	c := s.at(slot)
	if c.queue == 0 {
		return 0
	}
	return s.now - max(c.lastWrite, s.queues.Get(c.queue).since)
}

// dropQueue lets go of all that waits for c.
func (s *Shard) dropQueue(c *conn) {
	if c.queue == 0 {
		return
	}
	q := s.queues.Get(c.queue)
	s.ranks.leave(q)
	for i := range q.n {
		s.let(q.frames[q.at(i)])
	}
	s.queues.Drop(c.queue)
	c.queue = 0
	s.backlogged.Add(-1)
	if len(q.frames) <= 64 && len(s.freeQueues) < 64 {
		clear(q.frames)
		*q = queue{frames: q.frames}
		s.freeQueues = append(s.freeQueues, q)
	}
}

// DropBacklog drops all that waits for a connection except the rest of a
// frame that has begun, so that a last word can be said to it.
func (s *Shard) DropBacklog(slot uint32) {
	s.at(slot).flags &^= flagEvicted // the handler knows
	s.dropFrames(slot, func(*Frame) bool { return true })
}

// dropFrames drops what matches of what waits for a connection.
func (s *Shard) dropFrames(slot uint32, match func(*Frame) bool) {
	c := s.at(slot)
	if c.queue == 0 {
		return
	}
	q := s.queues.Get(c.queue)
	for {
		f := q.removeFirst(match)
		if f == nil {
			break
		}
		s.let(f)
	}
	if q.n == 0 {
		s.dropQueue(c)
		s.arm(slot, c)
		if c.flags&flagFinish != 0 {
			s.finish(c)
		}
	}
}

// Backlogged says whether something waits to be sent to a connection.
func (s *Shard) Backlogged(slot uint32) bool { return s.at(slot).queue != 0 }

// Backlog returns how much waits to be sent to a connection.
func (s *Shard) Backlog(slot uint32) (frames, bytes int) {
	c := s.at(slot)
	if c.queue == 0 {
		return 0, 0
	}
	q := s.queues.Get(c.queue)
	return q.n, q.bytes
}

// hold counts a frame for the node's backlog when its first queue takes it.
func (s *Shard) hold(f *Frame) {
	if f.refs.Add(1) == 1 {
		s.loop.nodeBytes.Add(int64(len(f.b)))
	}
}

// let is the reverse of hold.
func (s *Shard) let(f *Frame) {
	if f.refs.Add(-1) == 0 {
		s.loop.nodeBytes.Add(-int64(len(f.b)))
	}
}

// maxEvictions is how many connections give way to one frame. Those that wait
// for the same frames free nothing one by one.
const maxEvictions = 8

// makeRoom applies the policy before f is queued in q. fits is false if f
// itself is what must go.
func (s *Shard) makeRoom(c *conn, q *queue, f *Frame) (r SendResult, fits bool) {
	bounds := &s.opt.Backlog
	if c.flags&flagWide != 0 {
		bounds = &s.opt.Wide
	}
	r = Queued
	if s.opt.Policy == LatestOnly && f.key != 0 {
		if old := q.removeKey(f.key); old != nil {
			s.let(old)
			s.Counters.DroppedLatest.Add(1)
			r = Dropped
		}
	}
	for evictions := 0; ; {
		connFull := q.n > 0 && (q.n >= bounds.Frames || q.bytes+len(f.b) > bounds.Bytes)
		nodeFull := f.refs.Load() == 0 && s.loop.nodeBytes.Load()+int64(len(f.b)) > s.opt.NodeBytes
		if f.last || !connFull && !nodeFull {
			return r, true
		}
		var old *Frame
		if s.opt.Policy != Disconnect {
			old = q.removeOldest()
		} else if !connFull && evictions < maxEvictions && s.evict(q, q.bytes+len(f.b)) {
			evictions++
			continue
		}
		switch {
		case old != nil:
			s.Counters.DroppedOldest.Add(1)
			s.let(old)
			r = Dropped
		case s.opt.Policy != Disconnect && !f.sticky:
			s.Counters.DroppedOldest.Add(1)
			return Dropped, false
		case connFull:
			s.Counters.Overflows.Add(1)
			return Overflow, false
		default:
			s.Counters.NodeOverflows.Add(1)
			return NodeFull, false
		}
	}
}
