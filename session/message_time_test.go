package session

import (
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"
)

func (r *rig) ticks(n int) {
	r.t.Helper()
	for range n {
		r.tick(1)
	}
}

// slotOf returns the only connection of shard 0.
func (r *rig) slotOf() (slot uint32) {
	r.on(0, func(h *shard) { slot, _ = h.ps.Next(0) })
	return slot
}

// A message that is not complete in time ends its session with 4008, whatever
// part of it is missing, and whatever control frames come meanwhile.
func TestMessageTimeout(t *testing.T) {
	ping := masked(gobwas.OpPing, true, []byte("p"))
	for name, parts := range map[string][][]byte{
		"first byte only":       {{0x81}},
		"header cut":            {begun(60_000, 0)[:5]},
		"header only":           {begun(60_000, 0)},
		"payload cut":           {begun(60_000, 20_000), make([]byte, 100), make([]byte, 1)},
		"next fragment missing": {masked(gobwas.OpText, false, []byte("x"))},
		"fragments go on":       {masked(gobwas.OpText, false, []byte("x")), masked(gobwas.OpContinuation, false, []byte("y")), masked(gobwas.OpContinuation, false, nil)},
		"pings in between":      {masked(gobwas.OpText, false, []byte("x")), ping, ping, ping, ping},
		"ping cut":              {ping[:4]},
		"after a whole one":     {append(masked(gobwas.OpText, true, []byte("whole")), 0x81, 0x85)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Options{Poller: onePoller(), MessageTime: 5 * time.Second})
			w := r.mustWire("/ws", "")
			for i := range 5 {
				if i < len(parts) {
					r.sendAndWait(w, parts[i])
				}
				if n := r.Stats().Sessions; n != 1 {
					t.Fatalf("closed after %d s", i)
				}
				r.tick(1)
			}
			for {
				op, p, err := w.frame()
				if err != nil {
					t.Fatal(err)
				}
				if op == gobwas.OpClose {
					if string(p) != string(closePayload(4008, "message not complete in time")) {
						t.Fatalf("closed with %q", p)
					}
					break
				}
			}
			w.ended(t)
			w.Close()
			r.closedOnce(t, "message_timeout")
			if n := r.Stats().Limits["session.message_timeout"]; n != 1 {
				t.Errorf("limit hit %d times", n)
			}
		})
	}
}

// Each message has the whole time, and a session without one has no limit.
func TestMessageTimeoutIsPerMessage(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), MessageTime: 5 * time.Second})
	w := r.mustWire("/ws", "")
	first, last := masked(gobwas.OpBinary, false, []byte("a")), masked(gobwas.OpContinuation, true, []byte("b"))
	r.sendAndWait(w, first)
	for range 5 {
		r.ticks(4)
		r.sendAndWait(w, append(append([]byte(nil), last...), first...)) // one ends and the next begins in one read
	}
	r.ticks(4)
	r.sendAndWait(w, last)
	r.ticks(20)
	if n := r.Stats().MessagesIn; n != 6 {
		t.Errorf("%d messages, want 6", n)
	}
	if n := r.Stats().Sessions; n != 1 {
		t.Error("closed without a message on its way")
	}
	r.on(0, func(h *shard) {
		if h.assembly.oldest != nil || h.assembly.newest != nil || h.assembly.index.Len() != 0 {
			t.Error("a message is still waited for")
		}
	})
}

// The messages that began first are ended first, and the others keep their time.
func TestMessageTimeoutInOrder(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), MessageTime: 5 * time.Second})
	var all []*rawConn
	for range 10 {
		w := r.mustWire("/ws", "")
		r.sendAndWait(w, begun(100, 10))
		all = append(all, w)
		r.tick(1)
		if len(all) == 3 {
			r.sendAndWait(all[1], make([]byte, 90)) // in the middle of the list
		}
	}
	r.ticks(1)
	// Now 11 s have passed; the i-th began at i.
	for i, w := range all {
		if i == 1 || i > 11-5 {
			continue
		}
		if _, code, _, err := w.end(); err != nil || code != 4008 {
			t.Errorf("the one that began at %d: %d %v", i, code, err)
		}
	}
	if n := r.Stats().Limits["session.message_timeout"]; n != 6 {
		t.Errorf("%d ended, want 6", n)
	}
	for _, w := range all[7:] {
		r.sendAndWait(w, make([]byte, 90))
	}
	if n := r.Stats().MessagesIn; n != 4 {
		t.Errorf("%d messages complete, want 4", n)
	}
}

// Time in which a session was not read is not held against it.
func TestMessageTimeoutAndPauses(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), MessageTime: 5 * time.Second})
	w := r.mustWire("/ws", "")
	slot := r.slotOf()
	r.sendAndWait(w, begun(60_000, 100))
	r.on(0, func(h *shard) { h.ps.Pause(slot) })
	r.ticks(12)
	if r.Stats().Sessions != 1 {
		t.Fatal("closed while it was paused")
	}
	r.on(0, func(h *shard) { h.ps.Resume(slot) })
	r.ticks(3)
	r.on(0, func(h *shard) { h.ps.Pause(slot); h.ps.Resume(slot) }) // for an instant, at 15
	r.ticks(4)
	if r.Stats().Sessions != 1 {
		t.Fatal("closed less than 5 s after it was read again")
	}
	r.ticks(6)
	if _, code, _, err := w.end(); err != nil || code != 4008 {
		t.Errorf("%d %v, want 4008", code, err)
	}
}

// A client that is paused again and again does not keep its message for ever.
func TestMessageTimeoutIsNotRenewedForEver(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), MessageTime: 5 * time.Second})
	w := r.mustWire("/ws", "")
	slot := r.slotOf()
	r.sendAndWait(w, begun(60_000, 100))
	for i := 0; r.Stats().Sessions == 1; i++ {
		if i > 30 {
			t.Fatal("still there")
		}
		r.on(0, func(h *shard) { h.ps.Pause(slot); h.ps.Resume(slot) })
		r.ticks(1)
	}
	if _, code, _, err := w.end(); err != nil || code != 4008 {
		t.Errorf("%d %v, want 4008", code, err)
	}
}

// Where there is no limit a message may take any time.
func TestNoMessageTimeout(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller()})
	w := r.mustWire("/ws", "")
	r.sendAndWait(w, begun(60_000, 100))
	r.sendAndWait(w, []byte{1})
	r.ticks(50)
	w.Write(make([]byte, 60_000-101))
	eventually(t, "the message", func() bool { return r.Stats().MessagesIn == 1 })
}
