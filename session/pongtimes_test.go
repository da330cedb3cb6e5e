package session

import (
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"
)

// Answers to pings are late from half of the pong timeout on, and many if they are a
// quarter of all and eight at least. Each tick counts anew.
func TestManyLatePongs(t *testing.T) {
	for _, c := range []struct {
		limit        uint32
		late, prompt int
		want         bool
	}{
		{5, 0, 0, false}, {5, 7, 0, false}, {5, 8, 0, true}, {5, 8, 24, true}, {5, 8, 28, false}, {5, 100, 301, false}, {0, 100, 0, false},
	} {
		p := pongTimes{limit: c.limit}
		for range c.late {
			p.count(5)
		}
		for range c.prompt {
			p.count(4)
		}
		if got := p.tick(); got != c.want {
			t.Errorf("limit %d, %d late, %d prompt: %v", c.limit, c.late, c.prompt, got)
		}
		if p.tick() {
			t.Errorf("limit %d, %d late, %d prompt: still late after a tick without pongs", c.limit, c.late, c.prompt)
		}
	}
}

// A session's answer is counted with its age; a message without a ping before is none.
func TestAgeOfPongs(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), PingInterval: 20 * time.Second, PongTimeout: 10 * time.Second})
	w := r.mustWire("/ws", "")
	counts := func() (late, seen uint32) {
		r.on(0, func(h *shard) { late, seen = h.pongs.late, h.pongs.seen })
		return late, seen
	}
	answer := func(after int) (late, seen uint32) {
		for before := r.Stats().PingsOut; r.Stats().PingsOut == before; {
			r.tick(1)
		}
		for range after {
			r.tick(1)
		}
		if op, _, err := w.frame(); op != gobwas.OpPing || err != nil {
			t.Fatalf("%v %v", op, err)
		}
		before := r.Stats().PongsIn
		w.send(gobwas.OpPong, nil)
		eventually(t, "pong read", func() bool { return r.Stats().PongsIn == before+1 })
		return counts()
	}
	if late, seen := answer(4); late != 0 || seen != 1 {
		t.Errorf("after 4 s: %d of %d late", late, seen)
	}
	if late, seen := answer(5); late != 1 || seen != 1 {
		t.Errorf("after 5 s: %d of %d late", late, seen)
	}
	before := r.Stats().PongsIn
	w.send(gobwas.OpPong, nil)
	eventually(t, "pong read", func() bool { return r.Stats().PongsIn == before+1 })
	if late, seen := counts(); late != 1 || seen != 1 {
		t.Errorf("a pong without a ping was counted: %d of %d", late, seen)
	}
}
