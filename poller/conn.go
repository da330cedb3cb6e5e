package poller

import "unsafe"

// conn is what a shard knows of a connection: a record in the slab, followed
// by the handler's own. It has no Go pointers, so the collector never looks
// at it; what only some connections have at some times (an account with
// unread bytes, a queue of unsent frames) is elsewhere, found by index.
type conn struct {
	fd    int32
	gen   uint32 // from Shard.gen at opening; 0 never occurs
	timer WheelLink

	lastRead  uint32 // ticks of the shard's clock
	lastWrite uint32

	account uint32 // index in Shard.accounts; 0: none
	backlog uint32 // index in backlog.queues; 0: none
	flags   connFlags
}

type connFlags uint32

const (
	flagInSet        connFlags = 1 << iota // registered with epoll
	flagPaused                             // the handler does not want to read
	flagInOff                              // EPOLLIN is off in the set
	flagOutOn                              // EPOLLOUT is on in the set
	flagClosing                            // on the list of those to be closed
	flagCloseWrite                         // shut down for writing once nothing waits
	flagWriteClosed                        // that was done
	flagLargeBacklog                       // Options.LargeBacklog bounds its backlog
	flagStaged                             // a send to it is staged
	flagDeferred                           // on the list of those to be shown what they left unread
	flagLargeReads                         // a message longer than a read is on its way in
	flagRefused                            // a send to it was refused, and the handler was not told yet
	flagEvicted                            // its backlog was dropped for another connection, and the handler does not know yet

	flagsNoSend = flagClosing | flagCloseWrite | flagEvicted // nothing can be sent
)

const connSize = unsafe.Sizeof(conn{})

// ID names a connection of a shard beyond its end: generation<<32 | slot.
type ID uint64

// Slot returns the slot that the connection has or had.
func (id ID) Slot() uint32 { return uint32(id) }

// Record returns the handler's bytes of a connection, Options.RecordSize of
// them, zeroed at opening and aligned to 4. They are outside the Go heap and
// must hold no Go pointers.
func (s *Shard) Record(slot uint32) unsafe.Pointer {
	return unsafe.Add(s.slab.Ptr(slot), connSize)
}

// ID returns the lasting name of a live connection.
func (s *Shard) ID(slot uint32) ID { return s.id(slot) }

// Lookup returns the slot of the connection that id names, if it still lives.
func (s *Shard) Lookup(id ID) (slot uint32, ok bool) {
	slot = id.Slot()
	if !s.slab.Live(slot) {
		return 0, false
	}
	c := s.at(slot)
	return slot, c.gen == uint32(id>>32) && c.flags&flagClosing == 0
}

// Next returns the lowest live slot from the given one on.
func (s *Shard) Next(from uint32) (slot uint32, ok bool) { return s.slab.Next(from) }

// LastRead and LastWrite return when bytes last went in or out, in ticks.
func (s *Shard) LastRead(slot uint32) uint32  { return s.at(slot).lastRead }
func (s *Shard) LastWrite(slot uint32) uint32 { return s.at(slot).lastWrite }

// FD returns the descriptor, for looking only.
func (s *Shard) FD(slot uint32) int { return int(s.at(slot).fd) }

// SetTimer has OnTimer called when the shard's clock reaches at; an earlier
// setting is replaced.
func (s *Shard) SetTimer(slot, at uint32) { s.wheel.Set(slot, at) }

// StopTimer takes the timer away.
func (s *Shard) StopTimer(slot uint32) { s.wheel.Cancel(slot) }

// open takes a slot for fd and registers nothing yet.
func (s *Shard) open(fd int32) (slot uint32, ok bool) {
	slot, ok = s.slab.Alloc()
	if !ok {
		return 0, false
	}
	if s.gen++; s.gen == 0 {
		s.gen = 1
	}
	c := s.at(slot)
	c.fd, c.gen = fd, s.gen
	c.lastRead, c.lastWrite = s.now, s.now
	s.live.Store(int64(s.slab.Len() - s.retiredSlots))
	return slot, true
}

// forget frees what a connection holds but its descriptor.
func (s *Shard) forget(slot uint32) {
	c := s.at(slot)
	s.wheel.Cancel(slot)
	s.closeAccount(c)
	s.sender.backlogs.close(c)
	s.slab.Free(slot)
	s.live.Store(int64(s.slab.Len() - s.retiredSlots))
}

// retireSlot keeps a slot from ever being used again: OnClose has panicked, and the
// handler's tables may still name it.
func (s *Shard) retireSlot(slot uint32) {
	c := s.at(slot)
	s.wheel.Cancel(slot)
	s.closeAccount(c)
	s.sender.backlogs.close(c)
	s.retiredSlots++
	s.live.Store(int64(s.slab.Len() - s.retiredSlots))
}

// Close ends a connection once the handler's current call has returned.
// OnClose follows, with CauseHandler. Closing twice does nothing.
func (s *Shard) Close(slot uint32) { s.closeLater(slot, ReasonHandler, nil) }

// runCloses closes the dead. Calls of OnClose may add to the list.
func (s *Shard) runCloses() {
	for i := 0; i < len(s.pendingCloses); i++ {
		d := s.pendingCloses[i]
		slot := d.id.Slot()
		if !s.slab.Live(slot) || s.ID(slot) != d.id {
			continue // it was given away since
		}
		if s.at(slot).flags&flagStaged != 0 {
			s.Submit() // while the descriptor is still its own
		}
		fd, panics := s.at(slot).fd, s.Counters.Panics.Load()
		s.protect(0, func() { s.handler.OnClose(slot, d.reason, d.err) })
		if s.Counters.Panics.Load() == panics {
			s.forget(slot)
		} else {
			s.retireSlot(slot)
		}
		sysClose(fd)
		if s.slab.Live(slot) {
			s.at(slot).fd = -1 // spoiled: the number may soon be somebody else's
		}
		s.Counters.Closed.Add(1)
	}
	if len(s.pendingCloses) > 0 {
		clear(s.pendingCloses)
		s.pendingCloses = s.pendingCloses[:0]
		if cap(s.pendingCloses) > 1024 {
			s.pendingCloses = nil
		}
		s.resumeAccept(resumeClosed)
	}
}

// Pause stops reading a connection; a peer that ends it is still noticed.
func (s *Shard) Pause(slot uint32) {
	c := s.at(slot)
	if c.flags&flagPaused == 0 {
		c.flags |= flagPaused
		s.updateEvents(slot, c)
	}
}

// Resume reads again. Bytes that were received before are shown to OnData in
// this turn or the next.
func (s *Shard) Resume(slot uint32) {
	c := s.at(slot)
	if c.flags&flagPaused != 0 {
		c.flags &^= flagPaused
		s.updateEvents(slot, c)
		if a := s.account(c); a != nil {
			a.paused, a.resumed = true, s.now
			if a.unread != nil {
				s.deferRead(slot, c)
			}
		}
	}
}

// Defer is called within OnData, which then leaves unconsumed what it has no
// time for: all of it is shown again in a later turn, after what other
// connections have deferred, and nothing is read of the connection before.
func (s *Shard) Defer(slot uint32) { s.deferRead(slot, s.at(slot)) }

func (s *Shard) deferRead(slot uint32, c *conn) {
	if c.flags&flagDeferred == 0 {
		c.flags |= flagDeferred
		s.deferred = append(s.deferred, s.ID(slot))
	}
}

// SetLargeReads says whether a message longer than a small read is on its way in: a
// connection is then read in larger pieces.
func (s *Shard) SetLargeReads(slot uint32, bulk bool) {
	c := s.at(slot)
	c.flags &^= flagLargeReads
	if bulk {
		c.flags |= flagLargeReads
	}
}
