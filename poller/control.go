package poller

import "syscall"

// SendControl stages control frames of one kind (RFC 6455 §5.5), one after the
// other in p, the newest beginning at p[newest]. If they have to wait, the
// newest alone does: it goes ahead of the data frames that wait, behind one
// that is partly sent, and replaces an older one of its kind (§5.5.3 asks for
// a pong to the newest ping only). It obeys the bound of the node. What is
// not sent is counted in ControlsLost.
//
// The kind of a frame is its first byte. NoRoom, or Handler.OnSendFailed with
// it, means that the newest was not sent either.
func (s *Shard) SendControl(slot uint32, p []byte, newest int) SendResult {
	c := s.at(slot)
	switch {
	case c.flags&flagsMute != 0:
		return SendError
	case len(p) == 0:
		return Queued
	case c.queue != 0:
		return s.queueControl(slot, c, p[newest:])
	}
	s.stageBytes(slot, p, bytesKind{control: true, newest: newest})
	return Queued
}

// settleControl is settleBytes for control frames.
func (s *Shard) settleControl(slot uint32, c *conn, p []byte, n int, e syscall.Errno, newest int) SendResult {
	if n == 0 && (e == syscall.EAGAIN || e == syscall.EINTR) {
		return s.queueControl(slot, c, p[newest:])
	}
	return s.settleBytes(slot, c, p, n, e, true) // what has begun must follow: a few frames at most
}

func (s *Shard) queueControl(slot uint32, c *conn, p []byte) SendResult {
	f := &Frame{b: append([]byte(nil), p...), sticky: true, control: true}
	var q *queue
	if c.queue != 0 {
		q = s.queues.Get(c.queue)
		if old := q.removeControl(p[0]); old != nil {
			s.let(old)
			s.Counters.ControlsLost.Add(1)
		}
	}
	if s.loop.nodeBytes.Load()+int64(len(p)) > s.opt.NodeBytes {
		s.Counters.ControlsLost.Add(1)
		if q != nil && q.n == 0 {
			s.dropQueue(c)
			s.arm(slot, c)
		}
		return NoRoom
	}
	if q == nil {
		q = s.startQueue(slot, c)
	}
	s.hold(f)
	q.insertControl(f)
	s.ranks.grown(q)
	s.arm(slot, c)
	return Queued
}
