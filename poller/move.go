package poller

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Socket is a connection that no shard has: it is between two shards, or on its
// way into or out of a loop. The descriptor and the bytes belong to the
// goroutine that has the Socket.
type Socket struct {
	FD         int
	Unread     []byte // received, and to be read before anything else
	Unsent     []byte // to be sent before anything else
	CloseWrite bool   // see Shard.CloseWrite: the socket is shut down for writing once Unsent is sent
	State      any    // the handler's, given to OnOpen or OnMoved
}

// arrival is a socket in a mailbox.
type arrival struct {
	Socket
	adopted bool
	charged int // for Unread, while it is under way
}

// Detach lets go of a connection without closing it. The descriptor is out of
// the epoll set, and another goroutine may use it, close it, or give the Socket
// to Adopt. Ports that serve more than WebSocket need this, and hot restart.
//
// unread is the part that the handler has not consumed of the bytes given to
// the current call of OnData for this connection; the result holds a copy. A
// nil unread, outside of OnData, means the bytes left unconsumed before.
//
// The record, the timer and the bytes charged to the connection are given back.
// OnClose is not called, so the handler first forgets the slot in its own
// tables. The slot may name another connection after the current call.
//
// ok is false, and the connection stays, if the handler has yet to be told about
// it: OnClose or OnSendFailed follows.
func (s *Shard) Detach(slot uint32, unread []byte) (sock Socket, ok bool) {
	s.Submit() // may fail, and then the handler is told
	if s.at(slot).flags&(flagClosing|flagRefused) != 0 {
		return Socket{}, false
	}
	s.Counters.Detached.Add(1)
	return s.detach(slot, unread), true
}

// detach is Detach of a connection in any state. Nothing may be staged for it.
func (s *Shard) detach(slot uint32, unread []byte) Socket {
	c := s.at(slot)
	if unread == nil {
		unread = s.unread(c)
	}
	sock := Socket{
		FD:         int(c.fd),
		Unread:     append([]byte(nil), unread...),
		Unsent:     s.sender.unsent(c),
		CloseWrite: c.flags&flagCloseWrite != 0,
	}
	// Closing the descriptor would not take it out of the set: it may have been
	// duplicated, or be in another process by then (man 7 epoll).
	if c.flags&flagInSet != 0 {
		sysEpollCtl(s.epfd, unix.EPOLL_CTL_DEL, c.fd, 0, 0)
	}
	s.forget(slot)
	return sock
}

// Move hands a connection to another shard, where OnMoved gets state and
// OnData the unread bytes (see Detach). It never fails: if the other's
// mailbox is full the socket waits here, and this shard stops accepting until
// it is gone. A connection that is broken is found to be so by the other shard.
func (s *Shard) Move(slot uint32, to int, state any, unread []byte) {
	s.Submit()
	sock := s.detach(slot, unread)
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
	sock, adopted := a.Socket, a.adopted
	*a = arrival{}
	s.loop.arrivals.Put(a)
	id := s.ID(slot)
	defer s.recoverConn(id)
	c := s.at(slot)
	s.sender.adopt(slot, c, sock.Unsent, sock.CloseWrite)
	s.adoptUnread(slot, c, sock.Unread) // before the handler, which may move it on
	if adopted {
		s.Counters.Adopted.Add(1)
		s.handler.OnOpen(slot, sock.State)
	} else {
		s.Counters.MovedIn.Add(1)
		s.handler.OnMoved(slot, sock.State)
	}
	if s.alive(slot, uint32(id>>32)) && s.unread(c) != nil && c.flags&flagPaused == 0 {
		s.receive(slot, c, 0)
	}
	if s.alive(slot, uint32(id>>32)) {
		s.opened(slot)
	}
}

// Adopt gives a loop a connected stream socket from outside, or one that was
// detached; OnOpen gets its State, then OnData its Unread bytes, of which there
// may be 64 KiB. The descriptor and the bytes are the loop's if and only if
// Adopt returns nil. Any goroutine.
func (l *Loop) Adopt(shard int, sock Socket) error {
	if len(sock.Unread) > scratchSize { // no detached connection has more
		return fmt.Errorf("poller: %d unread bytes with a socket; allowed are at most %d", len(sock.Unread), scratchSize)
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
