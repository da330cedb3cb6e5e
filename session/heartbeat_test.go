package session

import (
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"
)

// A ping comes early, but never so early that its timer would not be set.
func TestPingsComeEarly(t *testing.T) {
	for s := 1; s <= 600; s++ {
		o := Options{PingInterval: time.Duration(s) * time.Second}
		if b := o.intervals(); b.jitter >= b.ping || s >= 10 && b.jitter == 0 {
			t.Errorf("pings every %d s: up to %d early", b.ping, b.jitter)
		}
	}
}

// Every session with a ping interval of a second is pinged, whatever its luck.
func TestPingEverySecond(t *testing.T) {
	r := newRig(t, Options{PingInterval: time.Second, Poller: onePoller()})
	for range 20 {
		s := r.seat(upgrade{})
		before := r.Stats().PingsOut
		eventually(t, "a ping", func() bool { r.tick(1); return r.Stats().PingsOut > before })
		r.on(0, func(h *shard) { h.ps.Close(s.slot) })
		eventually(t, "gone", func() bool { return r.Stats().Sessions == 0 })
	}
}

// A ping waits for a fan-out run, but not for more than a quarter of its interval.
func TestPingsGiveWayToFanout(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), PingInterval: 8 * time.Second})
	r.mustWire("/ws", "")
	look := func(active bool) (pings uint64) {
		r.on(0, func(h *shard) {
			slot, _ := h.ps.Next(0)
			h.fanout.active = active
			h.heartbeats.check(slot, h.rec(slot))
			h.fanout.active = false
			h.ps.StopTimer(slot) // this test looks at the session, not the timer
			pings = h.counters.pingsOut.Load()
		})
		return pings
	}
	look(false)
	for tick, want := range []uint64{0, 0, 0, 0, 0, 0, 0, 0, 0, 1} { // from tick 1 on: due at 8, late at 10
		r.tick(1)
		if got := look(true); got != want {
			t.Errorf("tick %d, during a run: %d pings", tick+1, got)
		}
	}
	for range 8 {
		r.tick(1)
	}
	r.on(0, func(h *shard) { slot, _ := h.ps.Next(0); h.rec(slot).flags &^= flagPinged })
	if got := look(false); got != 2 {
		t.Errorf("without a run: %d pings", got)
	}
}

// A client that answers is pinged every interval, also if a pong may take longer
// than that.
func TestPingIntervalBelowPongTimeout(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), PingInterval: 2 * time.Second, PongTimeout: 9 * time.Second})
	w := r.mustWire("/ws", "")
	for range 3 {
		before := r.Stats().PongsIn
		for range 2 {
			r.tick(1)
		}
		if op, _, err := w.frame(); op != gobwas.OpPing || err != nil {
			t.Fatalf("%v %v", op, err)
		}
		w.send(gobwas.OpPong, nil)
		eventually(t, "pong read", func() bool { return r.Stats().PongsIn == before+1 })
	}
}
