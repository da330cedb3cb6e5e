package poller

// Send sends a payload to a connection. Payloads of the same class are sent in the
// order of the calls. Send never blocks, and does not allocate unless bytes have
// to wait. An empty payload is ignored.
//
// If the kernel has io_uring, sends to several connections are staged and then
// submitted with one system call, which costs about a third less
// (docs/adr/0007-io-uring.md). They are submitted when enough are staged, when
// something else is done to one of the connections, and before the turn ends.
// The handler is told later of a send that failed: by OnSendFailed if it was
// refused, and by OnClose if the connection is broken.
//
// pause says that the caller should look at Expired now.
func (s *Shard) Send(slot uint32, p Payload, class Class) (pause bool) {
	return s.sender.send(slot, p, class)
}

// Submit sends what is staged, and then calls OnSubmitted.
func (s *Shard) Submit() { s.sender.submit() }

// Staged returns the number of staged sends.
func (s *Shard) Staged() int { return s.sender.stage.n }

// Backlogged says whether bytes wait to be sent to a connection.
func (s *Shard) Backlogged(slot uint32) bool { return s.at(slot).backlog != 0 }

// Backlog returns how many frames and bytes wait to be sent to a connection.
func (s *Shard) Backlog(slot uint32) (frames, bytes int) {
	if q := s.sender.backlogs.of(s.at(slot)); q != nil {
		return q.n, q.bytes
	}
	return 0, 0
}

// BacklogAge returns for how many ticks a connection has taken none of the bytes
// that wait for it, 0 if none wait.
func (s *Shard) BacklogAge(slot uint32) uint32 {
	c := s.at(slot)
	q := s.sender.backlogs.of(c)
	if q == nil {
		return 0
	}
	return s.now - max(c.lastWrite, q.since)
}

// SetLargeBacklog gives a connection the limits of Options.LargeBacklog.
func (s *Shard) SetLargeBacklog(slot uint32) { s.at(slot).flags |= flagLargeBacklog }

// DropBacklog drops all bytes that wait for a connection, except the rest of a
// frame that is partly sent. A last payload can then be sent.
func (s *Shard) DropBacklog(slot uint32) {
	s.at(slot).flags &^= flagEvicted // the handler was told
	s.sender.drop(slot, func(*Frame) bool { return true })
}

// CloseWrite shuts a connection down for writing when all waiting bytes were sent.
// The connection is still read, and ends when the peer closes it. So the peer
// gets all bytes. If the connection was closed at once and unread bytes were
// left, the kernel would send a reset, and the peer might lose the last bytes
// (RFC 1122 §4.2.2.13).
func (s *Shard) CloseWrite(slot uint32) { s.sender.finish(slot) }
