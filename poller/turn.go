package poller

import "time"

// turn is one iteration of the shard's event loop. Each phase takes a bounded
// time. It waits up to wait for the first event, in whole milliseconds, and
// returns whether there was one. A shard that has stopped takes no turns.
func (s *Shard) turn(wait time.Duration) (served bool) {
	if s.stopped.Load() {
		return false
	}
	n := s.waitForEvents(wait)
	began := s.chunk.begin()
	if n == 0 && wait > 0 {
		s.watchAll()
	}
	s.serveEvents(n)          // first: bytes must not wait for work that can wait
	s.receiver.readDeferred() // bytes that earlier turns had no time for
	s.readMail()              // what other goroutines posted
	s.tick()                  // seconds that have passed
	s.runTimers()             // timers that are due
	s.doWork()                // the handler's own work
	s.finishTurn()            // send what is staged, tell of refused sends, close
	s.retryMoves()            // sockets that other shards had no room for
	s.updateCounters(began)   // bytes and busy time
	if s.stopped.Load() {
		close(s.done)
		return false
	}
	if s.busy() {
		s.inbox.stayReadable() // netpoll starts the next turn at once
	}
	return n > 0
}

// doWork gives the handler a chunk for work that no event has caused.
func (s *Shard) doWork() {
	s.chunk.begin()
	s.moreWork = false // OnWork may panic, and must not be called again at once then
	s.guard.protect(0, func() { s.moreWork = s.handler.OnWork() })
}

// finishTurn sends what is staged, tells the handler about refused sends and
// closes connections. Each step may cause another. What is left after three
// rounds waits for the next turn.
func (s *Shard) finishTurn() {
	for range 3 {
		s.guard.protect(0, s.Submit)
		s.tellRefusals()
		s.closePending()
		if s.Staged() == 0 {
			return
		}
	}
}

// tellRefusals tells the handler about sends that were refused.
func (s *Shard) tellRefusals() {
	x := &s.sender
	for x.told < len(x.refusals) { // the handler may cause more
		r := x.refusals[x.told]
		x.told++
		if slot, ok := s.lookup(r.id); ok {
			s.guard.protect(r.id, func() { s.handler.OnSendFailed(slot, r.result) })
		}
	}
	x.forgetRefusals()
}

// updateCounters adds what the turn did to the counters that every turn moves.
func (s *Shard) updateCounters(began time.Duration) {
	s.Counters.WrittenBytes.Add(s.sender.takeWritten())
	s.Counters.ReadBytes.Add(s.receiver.takeReceived())
	s.Counters.BusyNanos.Add(uint64(max(s.chunk.now()-began, 0)))
}

// busy says whether there is work that no event will announce.
func (s *Shard) busy() bool {
	return s.moreWork || s.timers.due || s.inbox.more || len(s.receiver.deferred) > 0 || len(s.pendingCloses) > 0 || s.Staged() > 0
}
