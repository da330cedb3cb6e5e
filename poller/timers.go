package poller

import (
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// stallTicks is how many ticks at once make a stall: the process or the machine
// was stopped, or had no CPU. A stall counts as one tick, because peers could
// not be heard meanwhile and must not be closed for their silence.
const stallTicks = 3

// timers are a shard's clock and the timers of its connections. All fields but
// last belong to the shard's goroutine.
type timers struct {
	conns    *conns // whose clock it moves on
	chunk    *chunk
	counters *Counters

	wheel    *wheel
	fd       int32  // a timerfd that expires once a second, or an eventfd that Loop.Tick writes
	counted  uint32 // ticks that are not handled yet
	caughtUp bool   // since the last tick, everything that had arrived was read
	late     bool   // since the last tick, the handler has called PeersLate
	skipped  bool   // the last tick was not counted
	lenient  bool   // ticks may be left out; not with Options.ManualTicks, where tests count them
	due      bool   // the wheel may have timers that are due

	last atomic.Int64 // time of the last tick on the loop's clock, in ns; other goroutines read it
}

// openFD makes the descriptor that counts ticks.
func (t *timers) openFD(manual bool) (err error) {
	var fd int
	if manual {
		fd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	} else {
		fd, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	}
	if err != nil {
		return fmt.Errorf("poller: timer: %w", err)
	}
	t.fd, t.lenient = int32(fd), !manual
	return nil
}

// start starts the timerfd, which first expires after the given time.
func (t *timers) start(first time.Duration) error {
	spec := unix.ItimerSpec{
		Interval: unix.NsecToTimespec(int64(time.Second)),
		Value:    unix.NsecToTimespec(int64(first)),
	}
	return unix.TimerfdSettime(int(t.fd), 0, &spec, nil)
}

// count reads how often the timer has expired since it was last read (man 2
// timerfd_create).
func (t *timers) count() {
	n := readCount(t.fd)
	switch {
	case n == 0:
	case n >= stallTicks:
		t.counters.Stalls.Add(1)
		t.counters.StalledTicks.Add(n - 1)
		t.chunk.stalled = true
		t.counted++
	default:
		t.counted += uint32(n)
	}
}

// moveClock adds the counted ticks to the shard's clock. A tick is left out if
// the shard is behind: since the tick before there was no moment at which
// everything that had arrived was read, or the handler said that peers answer late.
// So clients have more time while the host has too little, and the shard sends
// fewer pings. Two ticks in a row are never left out, so that a flood slows the
// clock down at most by half.
func (t *timers) moveClock() {
	if t.lenient && (!t.caughtUp || t.late) && !t.skipped {
		t.counters.BehindTicks.Add(1)
		t.counted--
		t.skipped = true
	} else {
		t.skipped = false
	}
	t.caughtUp, t.late = false, false
	t.conns.now += t.counted
	t.counted = 0
	t.last.Store(int64(t.chunk.now()))
}

// advance moves the wheel on to the shard's clock.
func (t *timers) advance() {
	t.wheel.advance(t.conns.now)
	t.due = true
}

// run calls expired for each timer that is due, until the chunk is over.
func (t *timers) run(expired func(slot uint32)) {
	for n := 1; ; n++ {
		slot, ok := t.wheel.nextDue()
		if !ok {
			t.due = false
			return
		}
		expired(slot)
		if n%16 == 0 && t.chunk.over() {
			return
		}
	}
}

// maxTrims is how often a tick gives memory back: 4 MiB and 250 µs at most each
// time.
const maxTrims = 4

// tick handles the ticks that were counted, if any.
func (s *Shard) tick() {
	if s.timers.counted == 0 {
		return
	}
	s.timers.moveClock()
	s.watchAll()
	s.guard.protect(0, s.handler.OnTick)
	s.timers.advance()
	for range maxTrims {
		if s.slab.Trim() == 0 {
			break
		}
	}
	s.acceptor.retry()
}

// runTimers calls OnTimer for timers that are due, for a chunk.
func (s *Shard) runTimers() {
	if !s.timers.due {
		return
	}
	s.chunk.begin()
	s.timers.run(func(slot uint32) {
		if s.at(slot).flags&flagClosing == 0 {
			s.guard.protect(s.id(slot), func() { s.handler.OnTimer(slot) })
		}
	})
}

// tickAge returns how long ago the shard's last tick was. Any goroutine.
func (s *Shard) tickAge() time.Duration {
	if s.opt.ManualTicks || s.stopped.Load() {
		return 0
	}
	return s.loop.clock() - time.Duration(s.timers.last.Load())
}
