package poller

import "syscall"

// maxFlush is how many bytes of a backlog one event sends.
const maxFlush = 1 << 20

// joinSize is how much of a backlog goes into one send; TCP_NOTSENT_LOWAT
// lets the kernel take no more at a time anyway.
const joinSize = 32 << 10

// flush sends what waits for a connection that takes bytes again. Several
// frames go in one send.
func (x *sender) flush(slot uint32, c *conn) {
	q := x.backlogs.of(c)
	for before := x.written; q != nil && q.n > 0; {
		if x.written-before > maxFlush {
			return // EPOLLOUT comes again; others first
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

// emptied is called when nothing waits for a connection any more.
func (x *sender) emptied(slot uint32, c *conn) {
	x.backlogs.close(c)
	x.conns.updateEvents(slot, c)
	if c.flags&flagCloseWrite != 0 {
		c.shutdown()
	}
}

// drop drops what matches of what waits for a connection, but never the rest
// of a frame that has begun.
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

// finish shuts a connection down for writing once nothing waits for it.
func (x *sender) finish(slot uint32) {
	x.submit()
	c := x.conns.at(slot)
	c.flags |= flagCloseWrite
	if c.backlog == 0 {
		c.shutdown()
	}
}

// shutdown ends the sending side of the socket, once.
func (c *conn) shutdown() {
	if c.flags&flagWriteClosed == 0 {
		c.flags |= flagWriteClosed
		sysShutdownWrite(c.fd)
	}
}
