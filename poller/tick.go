package poller

import "time"

// stallTicks is how many seconds at once mean that the shard did not live
// through them: the process or the machine was stopped, or starved. Such
// seconds do not count. Peers could not be heard while nobody listened, so
// nobody may be judged by them.
const stallTicks = 3

// maxTrims is how often a tick returns memory, a few MiB and 250 µs a time.
const maxTrims = 4

// countTicks reads the timer. A timerfd tells how often it has expired since
// it was read last (man 2 timerfd_create).
func (s *Shard) countTicks() {
	n := readCount(s.timerFD)
	switch {
	case n == 0:
	case n >= stallTicks:
		s.Counters.Stalls.Add(1)
		s.Counters.StalledTicks.Add(n - 1)
		s.stalled = true
		s.ticks++
	default:
		s.ticks += uint32(n)
	}
}

// tick moves the clock on by what was counted.
func (s *Shard) tick() {
	s.now += s.ticks
	s.ticks = 0
	s.lastTick.Store(int64(s.loop.clock()))
	s.protect(0, s.handler.OnTick)
	s.wheel.Advance(s.now)
	s.timersDue = true
	for range maxTrims {
		if s.slab.Trim() == 0 {
			break
		}
	}
	s.resumeAccept(resumeTick)
}

// runTimers calls OnTimer for what is due, for the time of a chunk.
func (s *Shard) runTimers() {
	for n := 1; ; n++ {
		slot, ok := s.wheel.NextDue()
		if !ok {
			s.timersDue = false
			return
		}
		c := s.at(slot)
		if c.flags&flagClosing == 0 {
			s.protect(s.ID(slot), func() { s.handler.OnTimer(slot) })
		}
		if n%16 == 0 && s.Expired() {
			return
		}
	}
}

// tickAge returns how long ago the shard's last tick was. Any goroutine.
func (s *Shard) tickAge() time.Duration {
	if s.opt.ManualTicks || s.stopped.Load() {
		return 0
	}
	return s.loop.clock() - time.Duration(s.lastTick.Load())
}
