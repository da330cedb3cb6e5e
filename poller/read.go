package poller

import "syscall"

// A connection is read in pieces of smallRead, which bounds what may be left
// unread of one that is paused or deferred, and in pieces of scratchSize while
// a long message is on its way (SetBulk); at most maxReads in a row, and only
// while the time of the chunk is not over, before others get their turn. The set is level-triggered and brings it up again.
const (
	scratchSize = 64 << 10
	smallRead   = scratchSize / 4
	maxReads    = 4
)

// MaxUnread is how many bytes a handler may leave unconsumed, unless it has
// paused or deferred the connection: a quarter of the buffer, so that there is
// always room to read behind it.
const MaxUnread = scratchSize / 4

// read takes what a connection has received, and shows it to the handler
// behind what it left unconsumed.
func (s *Shard) read(slot uint32, c *conn) {
	gen := c.gen
	if len(s.unread(c)) > MaxUnread {
		// Of a connection that came with it. It may fill the buffer, and a
		// read without room looks like the end of file.
		s.receive(slot, c, 0)
		return
	}
	for range maxReads {
		kept := copy(s.scratch, s.unread(c))
		room := s.scratch[kept:]
		if c.flags&flagLargeReads == 0 {
			room = room[:smallRead]
		}
		n, e := sysRecv(c.fd, room)
		switch {
		case e == syscall.EAGAIN || e == syscall.EINTR:
			return
		case e != 0:
			s.closeLater(slot, ReasonRead, e)
			return
		case n == 0:
			s.closeLater(slot, ReasonEOF, nil)
			return
		}
		c.lastRead = s.now
		s.received += uint64(n)
		s.receive(slot, c, n)
		if n < len(room) || !s.alive(slot, gen) || c.flags&(flagPaused|flagDeferred) != 0 || !s.stalled && s.Expired() {
			return
		}
	}
}

// receive shows the handler the tail of c and the n bytes read behind it into
// the scratch buffer, and keeps what it does not consume.
func (s *Shard) receive(slot uint32, c *conn, n int) {
	gen := c.gen
	t := s.unread(c)
	kept := len(t)
	if n == 0 {
		copy(s.scratch, t)
	}
	p := s.scratch[:kept+n]
	used := s.handler.OnData(slot, p)
	if !s.alive(slot, gen) {
		return
	}
	rest := p[used:]
	// All of a read may have to wait for what the handler is paused for, or
	// for its next turn.
	if len(rest) > MaxUnread && c.flags&(flagPaused|flagDeferred) == 0 {
		s.opt.Log.Error("the handler left too many bytes unread")
		s.closeLater(slot, ReasonHandler, errUnread)
		return
	}
	s.keepUnread(slot, c, rest)
}
