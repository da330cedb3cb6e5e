package poller

import (
	"time"

	"golang.org/x/sys/unix"
)

// maxRounds is how many batches of events follow the first one in a turn. After
// a stall there is no such limit: each connection is served once, so that bytes
// that have arrived meanwhile are read before a timer finds a client silent.
const maxRounds = 3

// While a turn serves connections it looks at the clock after so many of them,
// or so many bytes received, or when the handler says so (Shard.CheckClock).
// Bytes count because a client's input takes time to decode.
const (
	clockConns = 8
	clockBytes = 16 << 10
)

// waitForEvents waits up to wait for the first batch of events, and returns how
// many there are.
func (s *Shard) waitForEvents(wait time.Duration) (n int) {
	if wait > 0 && (s.inbox.drained || !s.loop.spareProcs) {
		n = sysEpollWaitTold(s.epfd, s.events[:], wait)
	} else {
		n = sysEpollWait(s.epfd, s.events[:], wait)
	}
	s.inbox.drained = false
	return n
}

// serveEvents serves the first n events and further batches until the chunk is
// over. Events that are left come again: the epoll set is level-triggered and
// reports its members in turn. Without the limit of time, thousands of
// connections that can be written to again would delay single pushes by
// milliseconds.
func (s *Shard) serveEvents(n int) {
	for round := 0; ; round++ {
		served, late := s.serveBatch(n)
		if s.chunk.stalled {
			if served == 0 || round > s.slab.Len()/len(s.events)+1 {
				s.chunk.stalled = false
				s.timers.caughtUp = true
				return
			}
		} else if late || n < len(s.events) || round >= maxRounds {
			s.timers.caughtUp = s.timers.caughtUp || !late && n < len(s.events)
			return
		}
		s.closePending()
		n = sysEpollWait(s.epfd, s.events[:], 0)
	}
}

// serveBatch serves n events, and returns how many of them were connections'.
// When the chunk is over it is late and only notes ticks and mail. It accepts new
// connections last. Else a storm of them would keep the others waiting: the epoll
// set reports its members in the same order again.
func (s *Shard) serveBatch(n int) (served int, late bool) {
	looked := s.receiver.received // bytes at the last look at the clock
	for i := range s.events[:n] {
		ev := &s.events[i]
		key := ev.key()
		switch {
		case key == keyWake:
			s.inbox.readable = true
		case key == keyTimer:
			s.timers.count()
		case uint32(key) == keyNone:
			x := &s.acceptor
			x.due = append(x.due, x.listeners[(key-keyListener)>>32])
		case late:
		default:
			served++
			s.serveConn(ID(key), ev.events)
			if served%clockConns == 0 || s.receiver.received-looked >= clockBytes || s.chunk.check {
				late, looked, s.chunk.check = s.chunk.late(), s.receiver.received, false
			}
		}
	}
	if len(s.acceptor.due) > 0 {
		s.acceptor.acceptDue()
		late = s.chunk.late()
	}
	return served, late
}

// acceptedEnough says whether a turn should accept no more connections: its chunk is
// over, or pushes to single users or sessions wait in the mailbox.
func (s *Shard) acceptedEnough() bool {
	return s.chunk.late() || s.box.queues[QueueSingle].taken.Load() > 0
}

// serveConn serves the events of one connection. The connection may have been
// closed earlier in the batch, and its slot be in use again: the generation in
// the id tells.
func (s *Shard) serveConn(id ID, events uint32) {
	slot, ok := s.lookup(id)
	if !ok {
		return
	}
	defer s.guard.recoverConn(id)
	c := s.at(slot)
	if events&unix.EPOLLOUT != 0 {
		s.sender.flush(slot, c)
		if !s.alive(slot, id.gen()) {
			return
		}
	}
	switch {
	case events&unix.EPOLLIN != 0 && c.flags&(flagPaused|flagDeferred) == 0:
		s.receiver.read(slot, c)
	case events&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
		s.closeLater(slot, ReasonRead, sockError(c.fd))
	case events&unix.EPOLLRDHUP != 0 && c.flags&flagDeferred == 0:
		s.closeLater(slot, ReasonEOF, nil)
	}
}
