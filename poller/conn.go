package poller

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// conn is the shard's part of a connection's record in the slab. The handler's
// part follows it. A record has no Go pointers, so the collector never looks at
// it. State that only some connections have at some times (an account, a
// backlog) is kept elsewhere and found by an index in the record.
type conn struct {
	fd    int32
	gen   uint32 // generation, from conns.gen; never 0
	timer wheelLink

	lastRead  uint32 // ticks of the shard's clock
	lastWrite uint32

	account uint32 // index in accounts.index; 0: none
	backlog uint32 // index in backlogs.queues; 0: none
	flags   connFlags
}

type connFlags uint32

const (
	flagInSet        connFlags = 1 << iota // registered with epoll
	flagPaused                             // the handler does not want to read
	flagInOff                              // the epoll set does not report EPOLLIN
	flagOutOn                              // the epoll set reports EPOLLOUT
	flagClosing                            // in conns.pendingCloses
	flagCloseWrite                         // to be shut down for writing when its backlog is empty
	flagWriteClosed                        // shut down for writing
	flagLargeBacklog                       // Options.LargeBacklog limits its backlog
	flagStaged                             // a send to it is staged
	flagDeferred                           // in receiver.deferred
	flagLargeReads                         // a message longer than one read is arriving
	flagRefused                            // a send to it was refused in this turn; the handler may know already
	flagEvicted                            // its backlog was dropped for another connection, and the handler was not told yet
	flagUnwatched                          // in conns.unwatched; not registered with epoll
	flagAdopted                            // came through Loop.Adopt
	flagFrozen                             // with flagClosing: handed to another process, see Shard.Freeze

	flagsNoSend = flagClosing | flagCloseWrite | flagEvicted // nothing can be sent
)

const connSize = unsafe.Sizeof(conn{})

// ID names one connection of a shard, even after it has ended:
// generation<<32 | slot.
type ID uint64

// Slot returns the slot that the connection has or had.
func (id ID) Slot() uint32 { return uint32(id) }

func (id ID) gen() uint32 { return uint32(id >> 32) }

// Record returns the handler's part of a connection's record:
// Options.RecordSize bytes, zero when the connection is opened, aligned to 4.
// They are outside the Go heap and must hold no Go pointers. The pointer is
// valid until the connection ends.
func (s *Shard) Record(slot uint32) unsafe.Pointer {
	return unsafe.Add(s.slab.Ptr(slot), connSize)
}

// ID returns the ID of an open connection.
func (s *Shard) ID(slot uint32) ID { return s.id(slot) }

// Lookup returns the slot of a connection. ok is false if the connection has
// ended, or will be closed at the end of the turn.
func (s *Shard) Lookup(id ID) (slot uint32, ok bool) { return s.lookup(id) }

// Next returns the lowest slot in use that is not below from. ok is false if
// there is none.
func (s *Shard) Next(from uint32) (slot uint32, ok bool) { return s.slab.Next(from) }

// Len returns the number of connections.
func (s *Shard) Len() int { return s.slab.Len() }

// LastRead returns the tick in which bytes were last received.
func (s *Shard) LastRead(slot uint32) uint32 { return s.at(slot).lastRead }

// LastWrite returns the tick in which the kernel last took bytes.
func (s *Shard) LastWrite(slot uint32) uint32 { return s.at(slot).lastWrite }

// FD returns the descriptor. It stays the shard's: the caller must not read,
// write or close it.
func (s *Shard) FD(slot uint32) int { return int(s.at(slot).fd) }

// SetTimer has OnTimer called when the shard's clock reaches tick at. It
// replaces an earlier setting.
func (s *Shard) SetTimer(slot, at uint32) { s.timers.wheel.set(slot, at) }

// StopTimer cancels the timer. It does nothing if none is set.
func (s *Shard) StopTimer(slot uint32) { s.timers.wheel.cancel(slot) }

// Close closes a connection at the end of the turn. OnClose follows, with
// ReasonHandler. Closing twice does nothing.
func (s *Shard) Close(slot uint32) { s.closeLater(slot, ReasonHandler, nil) }

// closePending closes the connections that were given up during the turn. Calls
// of OnClose may add more.
func (s *Shard) closePending() {
	if len(s.pendingCloses) == 0 {
		return
	}
	for i := 0; i < len(s.pendingCloses); i++ {
		s.closeNow(s.pendingCloses[i])
	}
	clear(s.pendingCloses)
	s.pendingCloses = s.pendingCloses[:0]
	if cap(s.pendingCloses) > 1024 {
		s.pendingCloses = nil
	}
	s.acceptor.retry()
}

func (s *Shard) closeNow(p pendingClose) {
	slot := p.id.Slot()
	if !s.slab.Live(slot) || s.id(slot) != p.id {
		return // it was moved to another shard in the meantime
	}
	c := s.at(slot)
	if c.flags&flagStaged != 0 {
		s.Submit() // while the descriptor still belongs to the connection
	}
	fd, panics := c.fd, s.Counters.Panics.Load()
	s.guard.protect(0, func() { s.handler.OnClose(slot, p.reason, p.err) })
	if s.Counters.Panics.Load() == panics {
		s.forget(slot)
	} else {
		s.retireSlot(slot)
	}
	sysClose(fd)
	s.Counters.Closed.Add(1)
}

// release gives back what a connection holds, except its slot and descriptor.
func (s *Shard) release(slot uint32, c *conn) {
	s.timers.wheel.cancel(slot)
	s.receiver.accounts.close(c)
	s.sender.backlogs.close(c)
}

// forget gives back what a connection holds, except its descriptor.
func (s *Shard) forget(slot uint32) {
	s.release(slot, s.at(slot))
	s.free(slot)
}

// retireSlot is forget after OnClose has panicked. The handler's tables may
// still name the slot, so it is never used again.
func (s *Shard) retireSlot(slot uint32) {
	c := s.at(slot)
	s.release(slot, c)
	s.retire()
	c.fd = -1 // another file may soon have the number
}

// sockError returns the error that a socket is in, nil if there is none.
func sockError(fd int32) error {
	if n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && n != 0 {
		return unix.Errno(n)
	}
	return nil
}
