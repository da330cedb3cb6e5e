package poller

import (
	"time"

	"golang.org/x/sys/unix"
)

// maxRounds is how many batches of events one turn takes. After a stall it takes
// as many as bring up every connection once: what arrived meanwhile must be read
// before a timer decides that a client was silent.
const maxRounds = 3

// How often a turn looks at the clock while it serves connections: after so
// many of them, or so many bytes received. What a client sends is what it
// costs, so bytes count too.
const (
	clockConns = 8
	clockBytes = 16 << 10
)

// turn does the shard's work, each kind of it for a bounded time: events first,
// so that bytes do not wait for work that can wait; then connections that left
// bytes unread in an earlier turn; then mail; then timers and the handler's work.
//
// It waits up to wait for the first event, in whole milliseconds, and returns
// whether there was one.
func (s *Shard) turn(wait time.Duration) (served bool) {
	if s.stopped.Load() {
		return false
	}
	served, began := s.poll(wait)
	s.resumeDeferred()
	if s.inbox.called() {
		s.readMail()
	}
	if s.ticks > 0 {
		s.tick()
	}
	if s.timersDue {
		s.deadline = s.loop.clock() + s.opt.Chunk
		s.runTimers()
	}
	s.deadline = s.loop.clock() + s.opt.Chunk
	s.work = false // a panic must not come again at once: the next turn tries
	s.protect(0, func() { s.work = s.handler.OnWork() })
	s.finishTurn()
	s.retryMoves()
	s.count(began)
	if s.stopped.Load() {
		close(s.done)
		return false
	}
	if s.busy() {
		s.inbox.stayReadable()
	}
	return served
}

// count brings the counters up to date that a turn moves all the time.
func (s *Shard) count(began time.Duration) {
	s.Counters.WrittenBytes.Add(s.sender.takeWritten())
	s.Counters.ReadBytes.Add(s.received)
	s.Counters.BusyNanos.Add(uint64(max(s.loop.clock()-began, 0)))
	s.received = 0
}

// finishTurn sends what is staged, tells the handler of sends that were refused
// and closes what is to be closed. Each may lead to another: what is left after
// three rounds has to wait for the next turn.
func (s *Shard) finishTurn() {
	for range 3 {
		s.protect(0, s.Submit)
		for i := 0; i < len(s.sender.refusals); i++ { // may grow
			r := s.sender.refusals[i]
			if slot, ok := s.Lookup(r.id); ok {
				s.at(slot).flags &^= flagRefused
				s.protect(r.id, func() { s.handler.OnSendFailed(slot, r.result) })
			}
		}
		if s.sender.refusals = s.sender.refusals[:0]; cap(s.sender.refusals) > 1024 {
			s.sender.refusals = nil
		}
		s.runCloses()
		if s.Staged() == 0 {
			return
		}
	}
}

// busy says whether there is something to do without any event.
func (s *Shard) busy() bool {
	return s.work || s.timersDue || s.inbox.more || len(s.deferred) > 0 || len(s.pendingCloses) > 0 || s.Staged() > 0
}

// poll waits for the first event, for at most wait, and serves events for the
// time of a chunk. The set is level-triggered and hands its members out in turn,
// so events that are left come again. (Without that bound, thousands of
// connections that can be written to again would keep single pushes waiting for
// milliseconds.) began is when the wait was over.
func (s *Shard) poll(wait time.Duration) (some bool, began time.Duration) {
	n := 0
	if wait > 0 && (s.inbox.drained || !s.loop.spareProcs) {
		n = sysEpollWaitTold(s.epfd, s.events[:], wait)
	} else {
		n = sysEpollWait(s.epfd, s.events[:], wait)
	}
	s.inbox.drained = false
	some = n > 0
	began = s.loop.clock()
	s.deadline = began + s.opt.Chunk
	for round := 0; ; round++ {
		served, late, looked := 0, false, s.received
		for i := range s.events[:n] {
			ev := &s.events[i]
			key := ev.key()
			switch {
			case key == keyWake:
				s.inbox.readable = true
			case key == keyTimer:
				s.countTicks()
			case late:
			case uint32(key) != keyNone:
				served++
				s.connEvent(ID(key), ev.events)
				if served%clockConns == 0 || s.received-looked >= clockBytes {
					late, looked = !s.stalled && s.Expired(), s.received
				}
			default:
				s.accept(s.listeners[(key-keyListener)>>32])
				late = !s.stalled && s.Expired()
			}
		}
		if s.stalled {
			if served == 0 || round > s.slab.Len()/len(s.events)+1 {
				s.stalled = false
				return some, began
			}
		} else if late || n < len(s.events) || round >= maxRounds {
			return some, began
		}
		s.runCloses()
		n = sysEpollWait(s.epfd, s.events[:], 0)
	}
}

// connEvent serves one connection. The generation in the key tells a stale
// event, of a connection closed earlier in the same batch, from its
// successor in the slot.
func (s *Shard) connEvent(id ID, events uint32) {
	slot, ok := s.Lookup(id)
	if !ok {
		return
	}
	defer s.recoverConn(id)
	c := s.at(slot)
	if events&unix.EPOLLOUT != 0 {
		s.sender.flush(slot, c)
		if !s.alive(slot, uint32(id>>32)) {
			return
		}
	}
	switch {
	case events&unix.EPOLLIN != 0 && c.flags&(flagPaused|flagDeferred) == 0:
		s.read(slot, c)
	case events&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
		s.closeLater(slot, ReasonRead, s.sockError(c.fd))
	case events&unix.EPOLLRDHUP != 0 && c.flags&flagDeferred == 0:
		s.closeLater(slot, ReasonEOF, nil)
	}
}

// resumeDeferred shows connections what they had left unread, in their order
// and for the time of a chunk. One that defers again goes to the end.
func (s *Shard) resumeDeferred() {
	if len(s.deferred) == 0 {
		return
	}
	s.deadline = s.loop.clock() + s.opt.Chunk
	due, n := len(s.deferred), 0
	for n < due {
		id := s.deferred[n]
		n++
		if slot, ok := s.Lookup(id); ok {
			s.protect(id, func() {
				c := s.at(slot)
				c.flags &^= flagDeferred
				if s.unread(c) != nil && c.flags&flagPaused == 0 {
					s.receive(slot, c, 0)
				}
			})
		}
		if s.Expired() {
			break
		}
	}
	s.deferred = append(s.deferred[:0], s.deferred[n:]...)
	if len(s.deferred) == 0 && cap(s.deferred) > 1024 {
		s.deferred = nil
	}
}
