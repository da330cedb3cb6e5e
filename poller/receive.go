package poller

// Pause stops reading a connection. Its end is still noticed. Pausing twice does
// nothing.
func (s *Shard) Pause(slot uint32) { s.receiver.pause(slot) }

// Resume reads a paused connection again. OnData gets the unread bytes in this
// turn or the next.
func (s *Shard) Resume(slot uint32) { s.receiver.resume(slot) }

// ReadNow reads what has arrived on a connection. A handler calls it from
// OnTimer or OnWork, before it ends a connection for its silence: when the shard
// is behind, bytes that came in time may still wait in the socket. It calls
// OnData if there is something, and returns false if the connection has ended or
// is being closed then. A paused or deferred connection is not read.
func (s *Shard) ReadNow(slot uint32) (open bool) {
	c := s.at(slot)
	id := s.id(slot)
	if c.flags&(flagPaused|flagDeferred|flagClosing) == 0 {
		s.receiver.read(slot, c)
	}
	_, open = s.lookup(id)
	return open
}

// PeersLate is called from OnTick when much of what was awaited from peers since the
// tick before came late: the shard reads in time, and the host is too slow all the
// same. The next tick is left out then, unless the last one was.
func (s *Shard) PeersLate() { s.timers.late = true }

// Deferred says whether bytes of a connection wait for a later turn (Defer).
func (s *Shard) Deferred(slot uint32) bool { return s.at(slot).flags&flagDeferred != 0 }

// Unread says whether bytes of a connection were received that the handler has not
// consumed: the beginning of a frame, or what waits while it is paused.
func (s *Shard) Unread(slot uint32) bool { return len(s.receiver.accounts.unread(s.at(slot))) > 0 }

// Paused says whether reading a connection is paused.
func (s *Shard) Paused(slot uint32) bool { return s.at(slot).flags&flagPaused != 0 }

// Resumed returns the tick of the last Resume. ok is false if the connection was
// not paused since it last held nothing of Options.InboundBytes.
func (s *Shard) Resumed(slot uint32) (tick uint32, ok bool) {
	a := s.receiver.accounts.of(s.at(slot))
	if a == nil || !a.paused {
		return 0, false
	}
	return a.resumed, true
}

// Defer is called within OnData, which then leaves unconsumed what it has no
// time for. OnData gets these bytes again in a later turn, after those of
// connections that deferred earlier. The connection is not read before that.
func (s *Shard) Defer(slot uint32) { s.receiver.deferRead(slot) }

// SetLargeReads says whether a message is arriving that is longer than 16 KiB.
// Meanwhile the connection is read up to 64 KiB at a time.
func (s *Shard) SetLargeReads(slot uint32, large bool) {
	c := s.at(slot)
	c.flags &^= flagLargeReads
	if large {
		c.flags |= flagLargeReads
	}
}

// Reclaimer is a Handler that charges connections for the bytes of their input
// that it holds. A Handler that is no Reclaimer loses the connection instead.
type Reclaimer interface {
	// OnReclaim says that the node holds Options.InboundBytes and that no
	// connection of the shard holds more than this one. The handler at once
	// gives up what it has charged to the connection. It closes the connection
	// later: the call may come while the handler works on another connection,
	// so it must not send or close anything now.
	OnReclaim(slot uint32)
}

// Charge counts n bytes of a connection's input that the handler wants to hold
// against Options.InboundBytes. If there is no room, connections of the shard
// that hold more are reclaimed (Reclaimer). It returns false if there is none.
func (s *Shard) Charge(slot uint32, n int) bool {
	_, ok := s.receiver.accounts.charge(slot, s.at(slot), n)
	return ok
}

// Uncharge takes n bytes back that were charged. What a connection has charged
// is taken back by itself when the connection ends, moves or is reclaimed.
func (s *Shard) Uncharge(slot uint32, n int) { s.receiver.accounts.unchargeHandler(s.at(slot), n) }

// ChargeNode counts n bytes that came from a connection, and that are held even
// when the connection has ended. size is how many such bytes there are of that
// connection, n included. It returns false as Charge does. UnchargeNode takes
// the bytes back.
func (s *Shard) ChargeNode(slot uint32, size, n int) bool {
	x := &s.receiver.accounts
	return x.reserve(x.of(s.at(slot)), size, n)
}

// UnchargeNode takes n bytes back that ChargeNode counted. Any goroutine.
func (s *Shard) UnchargeNode(n int) { s.loop.input.add(-n) }
