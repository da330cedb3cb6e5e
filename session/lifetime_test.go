package session

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"
)

// Lifetimes are spread over the whole of the spread, and those of a session never change.
func TestLifetimeSpread(t *testing.T) {
	o := Options{Lifetime: time.Hour, LifetimeSpread: 10 * time.Minute}
	var counts [20]int
	const sessions = 20_000
	for id := range uint64(sessions) {
		life := o.lifetimeOf(id)
		if life != o.lifetimeOf(id) || life < 3000 || life > 4200 {
			t.Fatal(life)
		}
		counts[min((life-3000)/60, 19)]++
	}
	for minute, n := range counts {
		if n < sessions/20*8/10 || n > sessions/20*12/10 {
			t.Errorf("%d of %d sessions in minute %d of 20", n, sessions, minute)
		}
	}
	o.LifetimeSpread = 0
	if life := o.lifetimeOf(7); life != 3600 {
		t.Error(life)
	}
}

// A session ends when it has its lifetime, not earlier, without any other timer, and not
// in the middle of a message.
func TestLifetime(t *testing.T) {
	var ahead atomic.Int64
	r := newRig(t, Options{Poller: onePoller(), Lifetime: 100 * time.Second,
		clock: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	w, busy := r.mustWire("/ws?uid=a", ""), r.mustWire("/ws?uid=b", "")
	whole := masked(gobwas.OpText, true, make([]byte, 100))
	busy.Write(whole[:50])
	eventually(t, "message begun", func() (is bool) {
		r.on(0, func(h *shard) {
			for s, ok := h.ps.Next(0); ok; s, ok = h.ps.Next(s + 1) {
				is = is || h.busy(s, h.rec(s))
			}
		})
		return is
	})
	age := func(seconds int) {
		for range seconds {
			ahead.Add(int64(time.Second))
			r.tick(1)
		}
	}
	age(90)
	if n := r.Sessions(); n != 2 {
		t.Fatalf("%d sessions after 90 s of 100", n)
	}
	age(15)
	if n := r.Sessions(); n != 1 {
		t.Fatalf("%d sessions after 105 s; want the one with a message", n)
	}
	_, code, reason, err := w.end()
	if err != nil || code != 1001 || !strings.HasPrefix(reason, "session is old, reconnect after 1.0 s") {
		t.Errorf("%d %q %v", code, reason, err)
	}
	busy.Write(whole[50:])
	eventually(t, "the other is closed", func() bool {
		r.tick(1)
		return r.Sessions() == 0
	})
	if _, code, _, err := busy.end(); code != 1001 {
		t.Error(code, err)
	}
}

// Without a lifetime a session has no timer for it.
func TestNoLifetime(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller()})
	r.mustWire("/ws", "")
	r.on(0, func(h *shard) {
		slot, _ := h.ps.Next(0)
		if left, ok := h.heartbeats.untilOld(slot, h.rec(slot)); ok {
			t.Errorf("old in %d s", left)
		}
		if h.shedding.wake != nil {
			t.Error("a timer without an order")
		}
	})
	for name, o := range map[string]Options{
		"spread of the whole": {Lifetime: time.Minute, LifetimeSpread: time.Minute},
	} {
		if s, err := New(o); err == nil {
			s.loop.Discard()
			t.Errorf("%s is taken", name)
		}
	}
}
