package poller

import (
	"syscall"

	"go.uber.org/zap"
)

// receiver is the receiving half of a shard. It reads sockets, shows the handler
// what was received, and owns the bytes that the handler has not consumed yet.
// It belongs to the shard's goroutine, except for what accounts says.
type receiver struct {
	conns   *conns
	log     *zap.Logger
	handler *Handler // the shard's, which another one replaces when the shard stops
	guard   *guard
	chunk   *chunk

	accounts accounts
	deferred []ID   // connections whose unread bytes wait for a later turn, oldest first
	scratch  []byte // every read goes here
	received uint64 // bytes since takeReceived was last called
}

// A connection is read smallRead bytes at a time, and scratchSize bytes at a time
// while a long message arrives (SetLargeReads). It is read maxReads times in a
// row at most, while the chunk lasts. What is left in the socket is read later,
// because the epoll set is level-triggered.
const (
	scratchSize = 64 << 10
	smallRead   = scratchSize / 4
	maxReads    = 4
)

// MaxUnread is how many bytes a handler may leave unconsumed, unless it has
// paused or deferred the connection. It is a quarter of the buffer, so that
// there is always room to read behind them.
const MaxUnread = scratchSize / 4

func (x *receiver) init(s *Shard) {
	x.conns, x.log, x.guard, x.chunk = &s.conns, s.opt.Log, &s.guard, &s.chunk
	x.handler = &s.handler
	x.scratch = make([]byte, scratchSize)
	x.accounts.conns, x.accounts.counters, x.accounts.node = x.conns, &s.Counters, &s.loop.input
	x.accounts.reclaim = x.reclaim
}

// read reads a connection, and shows the handler the bytes behind those that it
// left unconsumed.
func (x *receiver) read(slot uint32, c *conn) {
	gen := c.gen
	if len(x.accounts.unread(c)) > MaxUnread {
		// The bytes came with the connection. They may fill the buffer, and a
		// read without room would look like the end of the stream.
		x.receive(slot, c, 0)
		return
	}
	for range maxReads {
		kept := copy(x.scratch, x.accounts.unread(c))
		room := x.scratch[kept:]
		if c.flags&flagLargeReads == 0 {
			room = room[:smallRead]
		}
		n, e := sysRecv(c.fd, room)
		switch {
		case e == syscall.EAGAIN || e == syscall.EINTR:
			return
		case e != 0:
			x.conns.closeLater(slot, ReasonRead, e)
			return
		case n == 0:
			x.conns.closeLater(slot, ReasonEOF, nil)
			return
		}
		c.lastRead = x.conns.now
		x.received += uint64(n)
		x.receive(slot, c, n)
		if n < len(room) || !x.conns.alive(slot, gen) || c.flags&(flagPaused|flagDeferred) != 0 || x.chunk.late() {
			return
		}
	}
}

// receive shows the handler the unread bytes of a connection and the n bytes
// that were read behind them into the scratch buffer. It keeps what the handler
// does not consume.
func (x *receiver) receive(slot uint32, c *conn, n int) {
	gen := c.gen
	unread := x.accounts.unread(c)
	kept := len(unread)
	if n == 0 {
		copy(x.scratch, unread)
	}
	p := x.scratch[:kept+n]
	used := (*x.handler).OnData(slot, p)
	if !x.conns.alive(slot, gen) {
		return
	}
	rest := p[used:]
	// A paused or deferred connection may have to keep everything it was shown.
	if len(rest) > MaxUnread && c.flags&(flagPaused|flagDeferred) == 0 {
		x.log.Error("the handler left too many bytes unread")
		x.conns.closeLater(slot, ReasonHandler, errUnread)
		return
	}
	x.accounts.keepUnread(slot, c, rest)
}

// receiveUnread shows the handler the unread bytes of a connection, if there are
// any and it is not paused.
func (x *receiver) receiveUnread(slot uint32, c *conn) {
	if x.accounts.unread(c) != nil && c.flags&flagPaused == 0 {
		x.receive(slot, c, 0)
	}
}

func (x *receiver) pause(slot uint32) {
	c := x.conns.at(slot)
	if c.flags&flagPaused == 0 {
		c.flags |= flagPaused
		x.conns.updateEvents(slot, c)
	}
}

func (x *receiver) resume(slot uint32) {
	c := x.conns.at(slot)
	if c.flags&flagPaused == 0 {
		return
	}
	c.flags &^= flagPaused
	x.conns.updateEvents(slot, c)
	if a := x.accounts.of(c); a != nil {
		a.paused, a.resumed = true, x.conns.now
		if a.unread != nil {
			x.deferRead(slot)
		}
	}
}

// deferRead shows the handler the unread bytes of a connection in a later turn.
func (x *receiver) deferRead(slot uint32) {
	c := x.conns.at(slot)
	if c.flags&flagDeferred == 0 {
		c.flags |= flagDeferred
		x.deferred = append(x.deferred, x.conns.id(slot))
	}
}

// readDeferred shows the handler the bytes that connections have deferred, in
// the order of their calls, for a chunk. A connection that defers again goes to
// the end.
func (x *receiver) readDeferred() {
	if len(x.deferred) == 0 {
		return
	}
	x.chunk.begin()
	due, n := len(x.deferred), 0
	for n < due {
		id := x.deferred[n]
		n++
		if slot, ok := x.conns.lookup(id); ok {
			x.guard.protect(id, func() {
				c := x.conns.at(slot)
				c.flags &^= flagDeferred
				x.receiveUnread(slot, c)
			})
		}
		if x.chunk.over() {
			break
		}
	}
	x.deferred = append(x.deferred[:0], x.deferred[n:]...)
	if len(x.deferred) == 0 && cap(x.deferred) > 1024 {
		x.deferred = nil
	}
}

// reclaim has the handler give up what it has charged to a connection. A handler
// that cannot do that loses the connection.
func (x *receiver) reclaim(slot uint32) {
	if h, ok := (*x.handler).(Reclaimer); ok {
		x.guard.protect(x.conns.id(slot), func() { h.OnReclaim(slot) })
	} else {
		x.conns.closeLater(slot, ReasonHandler, errInbound)
	}
}

// takeReceived returns how many bytes were received since its last call.
func (x *receiver) takeReceived() (n uint64) {
	n, x.received = x.received, 0
	return n
}
