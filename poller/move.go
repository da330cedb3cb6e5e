package poller

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Socket is a connection that belongs to no shard: it moves between two shards,
// or into or out of a loop. The descriptor and the bytes belong to the goroutine
// that has the Socket.
type Socket struct {
	FD         int
	Unread     []byte // received, and shown to the handler before anything else
	Unsent     []byte // sent before anything else
	CloseWrite bool   // the socket is shut down for writing after Unsent (Shard.CloseWrite)
	State      any    // given to OnOpen or OnMoved
}

// arrival is a socket in a mailbox.
type arrival struct {
	Socket
	adopted bool         // it comes from outside the loop
	foreign bool         // it came from outside the loop before (flagAdopted)
	charged int          // bytes that the node counts for Unread meanwhile
	refused []SendResult // sends of which no handler has been told yet
	evicted bool         // flagEvicted
}

// Detach lets go of a connection without closing it. Afterwards another goroutine
// may use the descriptor, close it, or give the Socket to Adopt. A port that
// serves other protocols beside WebSocket needs this, and a hot restart does.
//
// Within OnData for this connection, unread is the part of its bytes that the
// handler has not consumed. Elsewhere it is nil, which means the bytes that were
// left unconsumed before. The Socket holds a copy.
//
// The record, the timer and the bytes charged to the connection are given back.
// OnClose is not called, so the handler first forgets the slot in its own
// tables. The slot may name another connection after the current call.
//
// ok is false, and the connection stays, if the handler is still to be told that
// the connection ended or that a send failed: OnClose or OnSendFailed follows.
func (s *Shard) Detach(slot uint32, unread []byte) (sock Socket, ok bool) {
	s.Submit() // a send may fail, of which the handler is told
	if s.at(slot).flags&flagClosing != 0 || s.sender.untold(slot) {
		return Socket{}, false
	}
	s.Counters.Detached.Add(1)
	return s.detach(slot, unread), true
}

// detach is Detach of a connection in any state. No send to it may be staged.
func (s *Shard) detach(slot uint32, unread []byte) Socket {
	c := s.at(slot)
	if unread == nil {
		unread = s.receiver.accounts.unread(c)
	}
	sock := Socket{
		FD:         int(c.fd),
		Unread:     append([]byte(nil), unread...),
		Unsent:     s.sender.unsent(c),
		CloseWrite: c.flags&flagCloseWrite != 0,
	}
	// Closing the descriptor later would not take it out of the epoll set if it
	// was duplicated or passed to another process (man 7 epoll).
	if c.flags&flagInSet != 0 {
		sysEpollCtl(s.epfd, unix.EPOLL_CTL_DEL, c.fd, 0, 0)
	}
	s.forget(slot)
	return sock
}

// Move hands a connection to another shard, where OnMoved gets state and OnData
// the unread bytes (see Detach). It never fails: if the mailbox of the other
// shard is full, the socket waits here, and this shard accepts no connections
// until it is gone. If the connection is broken, the other shard notices. If a
// send was refused of which the handler was not told yet, OnSendFailed is called
// in the other shard, after OnMoved.
func (s *Shard) Move(slot uint32, to int, state any, unread []byte) {
	s.Submit()
	refused, evicted := s.sender.takeRefusals(slot)
	foreign := s.Adopted(slot)
	sock := s.detach(slot, unread)
	sock.State = state
	s.Counters.MovedOut.Add(1)
	a := s.loop.arrivals.Get().(*arrival)
	*a = arrival{Socket: sock, charged: chargeOf(sock.Unread), refused: refused, evicted: evicted, foreign: foreign}
	if !s.receiver.accounts.reserve(nil, a.charged, a.charged) {
		s.loop.input.add(a.charged) // beyond the limit: the other shard reclaims
	}
	if s.moves.send(a, s.loop.shards[to]) {
		return
	}
	s.Counters.MovesDeferred.Add(1)
	s.acceptor.waitForMoves()
}

// dropArrival closes a socket that no shard will open.
func (s *Shard) dropArrival(a *arrival) {
	s.loop.input.add(-a.charged)
	sysClose(int32(a.FD))
}

// Adopt gives a connected stream socket to a shard of the loop. It may come from
// outside, or have been detached. OnOpen gets its State, then OnData its Unread
// bytes, at most 64 KiB. The descriptor and the bytes belong to the loop only if
// Adopt returns nil. Errors are ErrClosed, ErrMailboxFull, one for too many
// unread bytes, and those of fcntl(2). Any goroutine.
func (l *Loop) Adopt(shard int, sock Socket) error {
	if len(sock.Unread) > scratchSize { // a detached connection cannot have more
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
	l.input.add(a.charged)
	if !s.Post(QueueMove, Mail{Ptr: a}) {
		l.input.add(-a.charged)
		return ErrMailboxFull
	}
	return nil
}
