package poller

// Send sends a payload to a connection, in the order of the calls but for what
// its Class says. It never blocks, and does not allocate unless something has
// to wait. Sending nothing does nothing.
//
// Where the kernel has io_uring, sends to many connections are staged and
// submitted as one system call, which costs about two thirds
// (docs/adr/0007-io-uring.md): when enough is staged, when something else is
// done to one of the connections, and before the turn ends. Of a payload that
// was neither sent nor queued nor dropped by the policy the handler is told by
// OnSendFailed, and of a connection that is broken by OnClose, both later.
//
// pause says that it is time to look at Expired.
func (s *Shard) Send(slot uint32, p Payload, class Class) (pause bool) {
	return s.sender.send(slot, p, class)
}

// Submit sends what is staged.
func (s *Shard) Submit() { s.sender.submit() }

// Staged returns how many sends wait for Submit.
func (s *Shard) Staged() int { return s.sender.stage.n }

// Backlogged says whether something waits to be sent to a connection.
func (s *Shard) Backlogged(slot uint32) bool { return s.at(slot).backlog != 0 }

// BacklogAge returns for how many ticks a connection has taken nothing of what
// waits for it, 0 if nothing waits.
func (s *Shard) BacklogAge(slot uint32) uint32 {
	c := s.at(slot)
	q := s.sender.backlogs.of(c)
	if q == nil {
		return 0
	}
	return s.now - max(c.lastWrite, q.since)
}

// SetLargeBacklog puts a connection under the bounds of Options.LargeBacklog.
func (s *Shard) SetLargeBacklog(slot uint32) { s.at(slot).flags |= flagLargeBacklog }

// DropBacklog drops all that waits for a connection except the rest of a
// frame that has begun, so that a last payload can be sent to it.
func (s *Shard) DropBacklog(slot uint32) {
	s.at(slot).flags &^= flagEvicted // the handler knows
	s.sender.drop(slot, func(*Frame) bool { return true })
}

// CloseWrite shuts a connection down for writing once all that waits was sent. It
// does not end reading: the peer then sees all that was sent, and its own end
// of file ends the connection. Closing at once instead would have the kernel
// send a reset if unread bytes were left, and the peer might lose the last
// bytes sent to it (RFC 1122 §4.2.2.13).
func (s *Shard) CloseWrite(slot uint32) { s.sender.finish(slot) }
