package session

import "belfry/poller"

// Adopt gives the server one end of a stream whose other end belongs to what stands
// between it and a client: package bridge for TLS. The client has the address of the
// Admission for limits, logs and the API. unread is what the client has sent so far, at
// most poller.MaxUnread bytes; such a connection usually has its whole request with it,
// and does not count as half-open.
//
// The descriptor and unread belong to the server only if Adopt returns nil. The
// errors are poller.ErrClosed, poller.ErrMailboxFull, and those of fcntl(2). A
// connection beyond the limits is refused as others are, by an answer at the other
// end. Options.Adopts must be set.
func (s *Server) Adopt(fd int, a Admission, unread []byte) error {
	shard := int(s.nextShard.Add(1) % uint32(len(s.shards)))
	return s.loop.Adopt(shard, poller.Socket{FD: fd, Unread: unread, State: a})
}

// arrivedBy is arrived for a connection that came through Adopt: its socket does
// not tell the client's address.
func (u *upgrader) arrivedBy(slot uint32, a Admission) {
	if !a.Remote.IsValid() {
		return
	}
	charge := chargeAll
	if a.charged {
		charge = chargeCount
	}
	if refusal := u.remotes.check(slot, a.Remote, true, charge); refusal != nil {
		u.refuser.refuse(slot, refusal)
	}
}
