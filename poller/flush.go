package poller

import "syscall"

// maxFlush is about how many bytes of a backlog are sent for one event.
const maxFlush = 1 << 20

// joinSize is how many bytes of a backlog are joined for one send. The kernel takes
// no more at a time because of TCP_NOTSENT_LOWAT.
const joinSize = 32 << 10

// flush sends the backlog of a connection whose socket takes bytes again. Small
// frames are joined into one send.
func (x *sender) flush(slot uint32, c *conn) {
	q := x.backlogs.of(c)
	if q != nil {
		x.expire(q)
	}
	for before := x.written; q != nil && q.n > 0; {
		if x.written-before > maxFlush {
			return // EPOLLOUT comes again, after other connections
		}
		p := q.front()
		if q.n > 1 && len(p) < joinSize {
			x.joined = q.join(x.joined[:0], joinSize)
			p = x.joined
		}
		n, e := sysSend(c.fd, p)
		if e != 0 && e != syscall.EAGAIN && e != syscall.EINTR {
			x.conns.closeLater(slot, ReasonWrite, e)
			return
		}
		if n > 0 {
			x.wrote(c, n)
			q.advance(n, x.backlogs.release)
		}
		if n < len(p) {
			return
		}
	}
	x.emptied(slot, c)
}

// emptied is called when no bytes wait for a connection any more.
func (x *sender) emptied(slot uint32, c *conn) {
	x.backlogs.close(c)
	x.conns.updateEvents(slot, c)
	if c.flags&flagCloseWrite != 0 {
		c.shutdown()
	}
}

// drop drops the waiting frames for which match returns true, but never one that is
// partly sent.
func (x *sender) drop(slot uint32, match func(*Frame) bool) {
	c := x.conns.at(slot)
	q := x.backlogs.of(c)
	if q == nil {
		return
	}
	for f := q.removeFirst(match); f != nil; f = q.removeFirst(match) {
		x.backlogs.release(f)
	}
	if q.n == 0 {
		x.emptied(slot, c)
	}
}

// finish shuts a connection down for writing when no bytes wait for it.
func (x *sender) finish(slot uint32) {
	x.submit()
	c := x.conns.at(slot)
	c.flags |= flagCloseWrite
	if c.backlog == 0 {
		c.shutdown()
	}
}

// shutdown shuts the socket down for writing. Only the first call does something.
func (c *conn) shutdown() {
	if c.flags&flagWriteClosed == 0 {
		c.flags |= flagWriteClosed
		sysShutdownWrite(c.fd)
	}
}
