package poller

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Socket is a connection between two shards, or on its way into or out of a
// loop.
type Socket struct {
	FD     int    // owned by whoever has the Socket
	Unread []byte // received, not consumed by the handler
	Unsent []byte // to be sent before anything else
	State  any    // the handler's, given to OnOpen
}

// arrival is a socket in a mailbox.
type arrival struct {
	Socket
	adopted bool
	charged int // for Unread, while it is under way
}

// Detach gives a connection away without closing it: its descriptor and all
// that was not read and not sent. OnClose is not called. unread is what the
// handler holds of the bytes that it was given by the current call of OnData
// and has not consumed; with nil, it is what it left unconsumed before.
func (s *Shard) Detach(slot uint32, unread []byte) Socket {
	s.Submit()
	c := s.at(slot)
	sock := Socket{FD: int(c.fd)}
	switch {
	case unread != nil:
		sock.Unread = append([]byte(nil), unread...)
	default:
		sock.Unread = append([]byte(nil), s.unread(c)...)
	}
	sock.Unsent = s.sender.unsent(c)
	if c.flags&flagInSet != 0 {
		sysEpollCtl(s.epfd, unix.EPOLL_CTL_DEL, c.fd, 0, 0)
	}
	s.forget(slot)
	return sock
}

// Move hands a connection to another shard, where OnOpen gets state and
// OnData the unread bytes (see Detach). It never fails: if the other's
// mailbox is full the socket waits here, and this shard stops accepting until
// it is gone.
func (s *Shard) Move(slot uint32, to int, state any, unread []byte) {
	sock := s.Detach(slot, unread)
	sock.State = state
	s.Counters.MovedOut.Add(1)
	a := s.loop.arrivals.Get().(*arrival)
	*a = arrival{Socket: sock, charged: chargeOf(sock.Unread)}
	if !s.reserve(nil, a.charged, a.charged) {
		s.loop.inbound.Add(int64(a.charged)) // the next shard finds somebody
	}
	if s.moves.send(a, s.loop.shards[to]) {
		return
	}
	s.Counters.MovesDeferred.Add(1)
	if !s.accepting.movesFull {
		s.accepting.movesFull = true
		s.pauseAccept()
	}
}

// dropArrival closes a socket that nobody will open any more.
func (s *Shard) dropArrival(a *arrival) {
	s.loop.inbound.Add(-int64(a.charged))
	sysClose(int32(a.FD))
}

// openArrival opens a connection that came from another shard or from outside.
func (s *Shard) openArrival(a *arrival) {
	if s.stopped.Load() {
		s.dropArrival(a)
		return
	}
	slot, ok := s.open(int32(a.FD))
	if !ok {
		s.Counters.AcceptRefused.Add(1)
		s.dropArrival(a)
		if h, ok := s.handler.(Refuser); ok {
			s.protect(0, func() { h.OnRefused(a.State) })
		}
		return
	}
	if a.adopted {
		s.Counters.Adopted.Add(1)
	} else {
		s.Counters.MovedIn.Add(1)
	}
	sock := a.Socket
	*a = arrival{}
	s.loop.arrivals.Put(a)
	id := s.ID(slot)
	defer s.recoverConn(id)
	c := s.at(slot)
	s.sender.adopt(slot, c, sock.Unsent)
	s.adoptUnread(slot, c, sock.Unread) // before OnOpen, which may move it on
	s.handler.OnOpen(slot, sock.State)
	if s.alive(slot, uint32(id>>32)) && s.unread(c) != nil && c.flags&flagPaused == 0 {
		s.receive(slot, c, 0)
	}
	if s.alive(slot, uint32(id>>32)) {
		s.opened(slot)
	}
}

// Adopt gives a loop a connected TCP socket from outside; OnOpen gets its
// State. The descriptor is the loop's if and only if Adopt returns nil. Any
// goroutine.
func (l *Loop) Adopt(shard int, sock Socket) error {
	if len(sock.Unread) > MaxUnread {
		return fmt.Errorf("poller: %d unread bytes with a socket; allowed are at most %d", len(sock.Unread), MaxUnread)
	}
	if err := unix.SetNonblock(sock.FD, true); err != nil {
		return err
	}
	l.gate.RLock()
	defer l.gate.RUnlock()
	s := l.shards[shard]
	if s.stopped.Load() || s.box.closed.Load() {
		return ErrClosed
	}
	a := &arrival{Socket: sock, adopted: true, charged: chargeOf(sock.Unread)}
	l.inbound.Add(int64(a.charged))
	if !s.Post(QueueMove, Mail{Ptr: a}) {
		l.inbound.Add(-int64(a.charged))
		return ErrMailboxFull
	}
	return nil
}
