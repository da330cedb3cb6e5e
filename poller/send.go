package poller

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// SendResult says what became of a send.
type SendResult uint8

const (
	Sent      SendResult = iota // the kernel has all of it
	Queued                      // what it did not take waits
	Dropped                     // the policy dropped it or something older
	Overflow                    // refused: the connection's backlog is at its bound (policy Disconnect)
	NodeFull                    // refused: the node's backlog is at its bound (policy Disconnect)
	NoRoom                      // a control frame was given up: the node's backlog is at its bound
	SendError                   // the connection is broken and will be closed
)

// Send writes a batch to a connection, or queues what the kernel does not
// take. It never blocks and does not allocate unless something is queued.
func (s *Shard) Send(slot uint32, b *Batch) SendResult {
	c := s.at(slot)
	if c.flags&flagStaged != 0 {
		s.Submit() // what was staged goes first
	}
	if c.queue != 0 {
		return s.enqueueAll(slot, c, b.parts, 0)
	}
	if c.flags&flagsMute != 0 {
		return SendError
	}
	n, e := sysSend(c.fd, b.b)
	return s.settle(slot, c, b, n, e)
}

// settle draws the consequences of a send that took n bytes of b, or failed.
func (s *Shard) settle(slot uint32, c *conn, b *Batch, n int, e syscall.Errno) SendResult {
	if n > 0 {
		c.lastWrite = s.now
		s.written += uint64(n)
	}
	if n == len(b.b) && e == 0 {
		return Sent
	}
	if e != 0 && e != syscall.EAGAIN && e != syscall.EINTR {
		s.kill(slot, CauseWrite, e)
		return SendError
	}
	s.Counters.ShortWrites.Add(1)
	parts := b.parts
	for n >= len(parts[0].b) {
		n -= len(parts[0].b)
		parts = parts[1:]
	}
	return s.enqueueAll(slot, c, parts, n)
}

// SendBytes writes bytes that only this connection gets and that no policy
// may drop: answers and greetings. What must wait is copied. Overflow means
// that it was refused.
func (s *Shard) SendBytes(slot uint32, p []byte) SendResult { return s.sendBytes(slot, p, false) }

// SendLast is SendBytes for the last word to a connection, which no bound on
// backlogs refuses: a close frame is small, and whoever is closed for having
// too much waiting is to be told so.
func (s *Shard) SendLast(slot uint32, p []byte) SendResult { return s.sendBytes(slot, p, true) }

func (s *Shard) sendBytes(slot uint32, p []byte, last bool) SendResult {
	c := s.at(slot)
	if c.flags&flagStaged != 0 {
		s.Submit()
	}
	if c.flags&flagsMute != 0 {
		return SendError
	}
	if c.queue == 0 {
		n, e := sysSend(c.fd, p)
		return s.settleBytes(slot, c, p, n, e, last)
	}
	return s.enqueueBytes(slot, c, p, 0, last)
}

// settleBytes is settle for bytes that only one connection gets.
func (s *Shard) settleBytes(slot uint32, c *conn, p []byte, n int, e syscall.Errno, last bool) SendResult {
	s.written += uint64(n)
	if e != 0 && e != syscall.EAGAIN && e != syscall.EINTR {
		s.kill(slot, CauseWrite, e)
		return SendError
	}
	if n == len(p) {
		c.lastWrite = s.now
		return Sent
	}
	return s.enqueueBytes(slot, c, p, n, last)
}

// enqueueBytes queues a copy of p whole, with what is on the wire marked as
// sent: the rest of a frame that has begun must not be parted from it.
func (s *Shard) enqueueBytes(slot uint32, c *conn, p []byte, sent int, last bool) SendResult {
	f := &Frame{b: append([]byte(nil), p...), sticky: true, last: last}
	return s.enqueue(slot, c, f, sent)
}

func (s *Shard) enqueueAll(slot uint32, c *conn, parts []*Frame, sent int) SendResult {
	result := Queued
	for i, f := range parts {
		if i > 0 {
			sent = 0
		}
		switch r := s.enqueue(slot, c, f, sent); r {
		case Queued:
		case Dropped:
			result = Dropped
		default:
			return r
		}
	}
	return result
}

// enqueue puts f, of which sent bytes are on the wire, behind what waits.
func (s *Shard) enqueue(slot uint32, c *conn, f *Frame, sent int) SendResult {
	if c.flags&flagsMute != 0 {
		return SendError
	}
	if len(f.b) == 0 {
		return Queued // no send would ever take it off the queue
	}
	var q *queue
	if c.queue == 0 {
		q = s.startQueue(slot, c)
	} else {
		q = s.queues.Get(c.queue)
	}
	r, fits := Queued, true
	if sent == 0 { // the rest of a frame that has begun must follow, whatever the bounds
		r, fits = s.makeRoom(c, q, f)
	}
	if fits {
		s.hold(f)
		q.push(f)
		if sent > 0 {
			q.sent = sent
			q.bytes -= sent
		}
		s.ranks.grown(q)
	} else if q.n == 0 {
		s.dropQueue(c)
	}
	s.arm(slot, c)
	return r
}

// flush sends what waits. Several frames go in one send.
func (s *Shard) flush(slot uint32, c *conn) {
	if c.queue == 0 {
		s.arm(slot, c)
		return
	}
	q := s.queues.Get(c.queue)
	for before := s.written; q.n > 0; {
		if s.written-before > maxFlush {
			return // EPOLLOUT comes again; others first
		}
		p := q.front()
		if q.n > 1 && len(p) < joinSize {
			s.joined = q.join(s.joined[:0], joinSize)
			p = s.joined
		}
		n, e := sysSend(c.fd, p)
		if e != 0 && e != syscall.EAGAIN && e != syscall.EINTR {
			s.kill(slot, CauseWrite, e)
			return
		}
		if n > 0 {
			c.lastWrite = s.now
			s.written += uint64(n)
			q.advance(n, s.let)
		}
		if n < len(p) {
			return
		}
	}
	s.dropQueue(c)
	s.arm(slot, c)
	if c.flags&flagFinish != 0 {
		s.finish(c)
	}
}

// maxFlush is how many bytes of a backlog one event sends.
const maxFlush = 1 << 20

// joinSize is how much of a backlog goes into one send; TCP_NOTSENT_LOWAT
// lets the kernel take no more at a time anyway.
const joinSize = 32 << 10

// arm brings the epoll set in line with what the connection waits for.
func (s *Shard) arm(slot uint32, c *conn) {
	if c.flags&flagInSet == 0 || c.flags&flagDead != 0 {
		return // accept and arrive register it when the handler is done
	}
	armed := c.flags & (flagDeaf | flagWriting)
	events := c.events()
	if c.flags&(flagDeaf|flagWriting) == armed {
		return
	}
	if e := sysEpollCtl(s.epfd, unix.EPOLL_CTL_MOD, c.fd, events, uint64(s.ID(slot))); e != 0 {
		s.kill(slot, CauseWrite, e)
	}
}

// events returns what the connection waits for and marks it as armed.
func (c *conn) events() uint32 {
	c.flags &^= flagDeaf | flagWriting
	var ev uint32 = unix.EPOLLIN
	if c.flags&flagPaused != 0 {
		c.flags |= flagDeaf
		ev = unix.EPOLLRDHUP // that the peer is gone is still to be seen
	}
	if c.queue != 0 {
		c.flags |= flagWriting
		ev |= unix.EPOLLOUT
	}
	return ev
}

// register adds the connection to the epoll set.
func (s *Shard) register(slot uint32, c *conn) {
	if c.flags&(flagInSet|flagDead) != 0 {
		return
	}
	if e := sysEpollCtl(s.epfd, unix.EPOLL_CTL_ADD, c.fd, c.events(), uint64(s.ID(slot))); e != 0 {
		s.kill(slot, CauseRead, e)
		return
	}
	c.flags |= flagInSet
}
