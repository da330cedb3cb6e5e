package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
)

// pausing is a recorder that pauses every session after each message.
func pausing() *recorder {
	return &recorder{received: func(*Client, *Inbound) bool { return true }}
}

// While a session is paused nothing of it is decoded, whatever it sends, and the
// client is slowed down by its socket. Each Resume lets one message in, in order.
func TestPause(t *testing.T) {
	e := pausing()
	r := newRig(t, Options{Events: e, Poller: onePoller()})
	w := r.mustWire("/ws", "")
	want := []string{"opened"}
	var burst []byte
	for i := range 20 {
		burst = append(burst, masked(gobwas.OpText, true, fmt.Appendf(nil, "m%d", i))...)
	}
	w.Write(burst)
	for i := range 20 {
		want = append(want, fmt.Sprintf("received m%d", i))
		e.awaits(t, want...)
		for range 5 { // turns in which the shard could read on
			r.on(0, func(h *shard) { h.ps.ReadNow(0) })
		}
		e.awaits(t, want...)
		if err := r.Resume(e.client().SID); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.Stats().Paused; n != 20 {
		t.Errorf("%d pauses are counted", n)
	}
	w.Close()
	e.check(t)
}

// A paused client that sends on and on fills its socket and has to wait. The node
// holds at most what was received with the paused message.
func TestPausedClientIsSlowedDown(t *testing.T) {
	e := pausing()
	r := newRig(t, Options{Events: e, Poller: onePoller()})
	w := r.mustWire("/ws", "")
	frame := masked(gobwas.OpBinary, true, make([]byte, 32<<10))
	sent := 0
	for ; sent < 64<<20; sent += len(frame) {
		w.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		if _, err := w.TCPConn.Write(frame); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			break
		}
	}
	if sent >= 64<<20 {
		t.Errorf("the client could send %d bytes", sent)
	}
	if got := e.told(); len(got) != 2 {
		t.Errorf("%d calls", len(got))
	}
	if n := r.loop.Stats().InboundBytes; n > 80<<10 {
		t.Errorf("%d bytes of a paused session are held", n)
	}
	w.SetLinger(0) // otherwise the end waits in the client's kernel behind what it has sent
	w.Close()
	e.check(t)
}

// Resume may come before Received has returned, twice, for sessions that are gone,
// and for ids that are none.
func TestResume(t *testing.T) {
	var server atomic.Pointer[Server]
	e := &recorder{received: func(c *Client, _ *Inbound) bool {
		for range 2 {
			if err := server.Load().Resume(c.SID); err != nil {
				t.Error(err)
			}
		}
		return true
	}}
	r := newRig(t, Options{Events: e, Poller: onePoller()})
	server.Store(r.Server)
	w := r.mustWire("/ws", "")
	for range 50 {
		w.send(gobwas.OpText, []byte("x"))
	}
	eventually(t, "all", func() bool { return len(e.told()) == 51 })
	w.Close()
	e.check(t)
	if err := r.Resume(e.client().SID); err != nil {
		t.Errorf("a session that has ended: %v", err)
	}
	for _, sid := range []string{"", "x", "AAAAB3NzaC1yc2EAAAADAQABAAABgQ"} {
		if err := r.Resume(sid); !errors.Is(err, ErrNoSession) {
			t.Errorf("%q: %v", sid, err)
		}
	}
}

// Resume needs no place in a mailbox: a shard that is behind reads its paused
// sessions again all the same.
func TestResumeNeedsNoPlace(t *testing.T) {
	e := pausing()
	r := newRig(t, Options{Events: e, Poller: poller.Options{Shards: 1, Mailbox: 16}})
	w := r.mustWire("/ws", "")
	w.send(gobwas.OpText, []byte("a"))
	e.awaits(t, "opened", "received a")
	release := r.block(0)
	for r.shards[0].ps.Post(poller.QueueSingle, poller.Mail{Kind: mailCall, Ptr: func(*shard) {}}) {
	}
	w.send(gobwas.OpText, []byte("b"))
	if err := r.Resume(e.client().SID); err != nil {
		t.Error(err)
	}
	release()
	e.awaits(t, "opened", "received a", "received b")
}

// A paused session is pinged, and closed neither for a pong that nobody reads nor for
// its silence. Afterwards its time begins anew.
func TestPausedSessionIsNotSilent(t *testing.T) {
	e := pausing()
	r := newRig(t, Options{Events: e, Poller: onePoller(), PingInterval: 10 * time.Second, PongTimeout: 5 * time.Second,
		IdleRead: 30 * time.Second, Idle: 40 * time.Second, IdleWrite: 50 * time.Second})
	w := r.mustWire("/ws", "")
	w.send(gobwas.OpText, []byte("a"))
	e.awaits(t, "opened", "received a")
	for i := range 20 {
		r.ticks(10)
		if op, _, err := w.frame(); op != gobwas.OpPing || err != nil {
			t.Fatalf("round %d: %v, %v; want a ping", i, op, err)
		}
	}
	r.resume(e)
	r.ticks(8) // within the interval of pings
	if n := r.Stats().Sessions; n != 1 {
		t.Fatalf("%d sessions after the pause", n)
	}
	r.ticks(20)
	if _, code, _, err := w.end(); code != 4000 || err != nil { // nothing answers the next ping
		t.Errorf("close code %d, %v", code, err)
	}
	w.Close()
	r.closedOnce(t, "pong_timeout")
	e.check(t)
}

// resume ends the pause of the session that was told of last, and waits for that.
func (r *rig) resume(e *recorder) {
	r.t.Helper()
	if err := r.Resume(e.client().SID); err != nil {
		r.t.Fatal(err)
	}
	r.ordersDone()
}

// ordersDone waits until what other goroutines want done with sessions is done.
func (r *rig) ordersDone() {
	r.t.Helper()
	eventually(r.t, "orders done", func() bool {
		left := 0
		r.each(func(h *shard) {
			h.orders.mu.Lock()
			defer h.orders.mu.Unlock()
			left += len(h.orders.queue) + len(h.orders.todo) - h.orders.next
		})
		return left == 0
	})
}

// A session that is both paused and out of tokens is read again when neither holds
// any more.
func TestPausedAndSlowedDown(t *testing.T) {
	for _, first := range []string{"tokens", "resume"} {
		t.Run(first, func(t *testing.T) {
			e := pausing()
			r := newRig(t, Options{Events: e, Poller: onePoller(), Rates: Rates{Messages: 1, MessageBurst: 1, Grace: time.Hour}})
			w := r.mustWire("/ws", "")
			w.Write(append(masked(gobwas.OpText, true, []byte("a")), masked(gobwas.OpText, true, []byte("b"))...))
			e.awaits(t, "opened", "received a")
			slowed := func() (is bool) {
				r.on(0, func(h *shard) { is = h.rec(0).flags&flagSlowed != 0 })
				return is
			}
			if first == "resume" {
				r.resume(e) // b is decoded, and there is no token for it
				if !slowed() {
					t.Fatal("not slowed down")
				}
				e.awaits(t, "opened", "received a")
				r.ticks(2)
				e.awaits(t, "opened", "received a", "received b")
				return
			}
			r.on(0, func(h *shard) {
				h.buckets.charge(0, h.rec(0), [rateCount]int32{})
				h.buckets.overrun(0, h.rec(0), rateMessages)
			})
			r.ticks(3)
			if slowed() {
				t.Fatal("still slowed down")
			}
			e.awaits(t, "opened", "received a")
			r.resume(e)
			e.awaits(t, "opened", "received a", "received b")
		})
	}
}

// A paused session ends like any other, and its client is told.
func TestPausedSessionEnds(t *testing.T) {
	closeFrame := func(code uint16) func(*testing.T, *rawConn) {
		return func(t *testing.T, w *rawConn) {
			if _, got, _, err := w.end(); got != code || err != nil {
				t.Errorf("close code %d, %v; want %d", got, err, code)
			}
			w.Write(masked(gobwas.OpClose, true, closePayload(code, "")))
			w.ended(t)
		}
	}
	for name, c := range map[string]struct {
		end    func(r *rig, e *recorder, w *rawConn)
		told   func(t *testing.T, w *rawConn)
		reason string
	}{
		"shutdown": {func(r *rig, _ *recorder, _ *rawConn) {
			go r.Shutdown(context.Background(), 0, 0)
		}, closeFrame(1001), "shutdown"},
		"a backend": {func(r *rig, e *recorder, _ *rawConn) {
			if err := r.Close(e.client().SID, 4123, "enough"); err != nil {
				t.Error(err)
			}
		}, closeFrame(4123), "backend"},
		"expiry": {func(r *rig, e *recorder, _ *rawConn) {
			if met, err := r.Expire(context.Background(), e.client().SID); !met || err != nil {
				t.Error(met, err)
			}
		}, closeFrame(4010), "expired"},
		"the client is gone": {func(_ *rig, _ *recorder, w *rawConn) { w.Close() }, func(*testing.T, *rawConn) {}, "gone"},
		"a reset": {func(_ *rig, _ *recorder, w *rawConn) {
			w.SetLinger(0)
			w.Close()
		}, func(*testing.T, *rawConn) {}, "read_error"},
	} {
		t.Run(name, func(t *testing.T) {
			e := pausing()
			r := newRig(t, Options{Events: e, Poller: onePoller()})
			w := r.mustWire("/ws", "")
			frame := masked(gobwas.OpText, true, bytes.Repeat([]byte("x"), 1000))
			w.Write(bytes.Repeat(frame, 5))
			eventually(t, "paused", func() bool { return len(e.told()) == 2 })
			c.end(r, e, w)
			c.told(t, w)
			eventually(t, "closed", func() bool { return len(e.told()) == 3 })
			if got := e.told(); got[2] != "closed "+c.reason {
				t.Errorf("told %.100q; want closed %s", got[2:], c.reason)
			}
			e.check(t)
		})
	}
}

// sendingLines is lines with the command send.
type sendingLines struct{ lines }

func (e sendingLines) Command(p []byte, kind message.Kind) (c wire.Command, rest []byte, err error) {
	line, after, _ := strings.Cut(string(p), "\n")
	if args, ok := strings.CutPrefix(line, "send "); ok {
		ref, text, _ := strings.Cut(args, " ")
		return wire.Command{Op: wire.OpSend, Ref: ref, Kind: kind, Payload: []byte(text)}, []byte(after), nil
	}
	return e.lines.Command(p, kind)
}

// Commands of one payload are not taken back: Received is called for all of them.
func TestPauseWithinAPayload(t *testing.T) {
	e := pausing()
	r := newRig(t, Options{Events: e, Poller: onePoller(), Endpoints: []wire.Endpoint{new(byPath).add("/lines", prefixed{name: "prefixed"}, sendingLines{lines{"lines"}})}})
	c, _ := r.lp("/lines")
	c.want("thello   []")
	c.say(prefixedText, "send 1 a\nsend 2 b")
	c.say(prefixedText, "send 3 c")
	e.awaits(t, "opened", "received a", "received b")
	if err := r.Resume(e.client().SID); err != nil {
		t.Fatal(err)
	}
	e.awaits(t, "opened", "received a", "received b", "received c")
}
