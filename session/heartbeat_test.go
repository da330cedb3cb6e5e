package session

import (
	"testing"
	"time"
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
