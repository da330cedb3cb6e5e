package poller

import (
	"net"
	"testing"
	"time"
)

// A tick is left out if the shard has not caught up with its input since the tick
// before, or the handler says that peers answer late, but never two in a row.
func TestClockOfShardThatIsBehind(t *testing.T) {
	r := newRig(t, Options{Shards: 1}, func(h *echoHandler) { h.mail = runMail })
	r.on(0, func(s *Shard) {
		s.timers.lenient = true
		want := s.Now()
		for i, c := range []struct {
			caughtUp, late bool
			counts         uint32
		}{
			{true, false, 1}, {false, false, 0}, {false, false, 1}, {false, false, 0}, {true, false, 1}, {true, false, 1},
			{true, true, 0}, {true, true, 1}, {true, true, 0}, {true, false, 1}, {true, false, 1}, {false, true, 0}, {true, false, 1},
		} {
			if c.late {
				s.PeersLate()
			}
			s.timers.caughtUp, s.timers.counted = c.caughtUp, 1
			s.timers.moveClock()
			if want += c.counts; s.Now() != want || s.timers.counted != 0 {
				t.Errorf("tick %d: the clock shows %d, not %d; %d ticks left", i, s.Now(), want, s.timers.counted)
			}
		}
	})
	if st := r.Stats(); st.BehindTicks != 5 {
		t.Errorf("%d ticks left out", st.BehindTicks)
	}
}

// A shard has caught up when a turn has served all of its events, and not when a
// turn has ended because its time was over.
func TestCaughtUp(t *testing.T) {
	for _, c := range []struct {
		name  string
		chunk time.Duration
		want  bool
	}{{"time for all", time.Hour, true}, {"no time", time.Nanosecond, false}} {
		t.Run(c.name, func(t *testing.T) {
			got, told := make(chan bool, 1), true
			r := newRig(t, Options{Shards: 1, Chunk: c.chunk}, func(h *echoHandler) {
				h.mail = runMail
				h.data = func(s *Shard, _ uint32, p []byte) int {
					if !told { // mail is read in the same turn, after the events
						told = true
						s.Post(QueueControl, Mail{Ptr: func(s *Shard) { got <- s.timers.caughtUp }})
					}
					return len(p)
				}
			})
			var all []net.Conn
			for range 3 * clockConns {
				conn := r.dial()
				conn.Write([]byte("x")) // the kernel accepts a connection with its first bytes
				all = append(all, conn)
			}
			eventually(t, "open", func() bool { return r.Stats().Connections == len(all) })
			r.on(0, func(s *Shard) {
				for _, conn := range all {
					conn.Write([]byte("x"))
				}
				s.timers.caughtUp, told = false, false
			})
			if caughtUp := <-got; caughtUp != c.want {
				t.Errorf("caught up: %v", caughtUp)
			}
		})
	}
}

// ReadNow shows the handler what is in the socket, and says whether the connection
// is still open.
func TestReadNow(t *testing.T) {
	var got []byte
	r := newRig(t, Options{Shards: 1}, func(h *echoHandler) {
		h.mail = runMail
		h.data = func(_ *Shard, _ uint32, p []byte) int {
			got = append(got, p...)
			return len(p)
		}
	})
	c := r.dial()
	c.Write([]byte("x"))
	eventually(t, "open", func() bool { return r.Stats().Connections == 1 })
	r.on(0, func(s *Shard) {
		slot, _ := s.Next(0)
		got = nil
		if !s.ReadNow(slot) || len(got) > 0 {
			t.Errorf("nothing was sent: %q", got)
		}
		c.Write([]byte("here"))
		if !s.ReadNow(slot) || string(got) != "here" {
			t.Errorf("got %q", got)
		}
		s.Pause(slot)
		c.Write([]byte("later"))
		if !s.ReadNow(slot) || string(got) != "here" {
			t.Errorf("a paused connection was read: %q", got)
		}
		s.Resume(slot)
		c.Close()
		if s.ReadNow(slot); string(got) != "herelater" {
			t.Errorf("got %q", got)
		}
		if s.ReadNow(slot) {
			t.Error("open after its end was read")
		}
		if s.ReadNow(slot) {
			t.Error("open while it is being closed")
		}
	})
}
