package session

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"belfry/pace"
)

// shedRig is a rig whose orders go by a clock that the test moves.
type shedRig struct {
	*rig
	now atomic.Int64
}

func newShedRig(t *testing.T, o Options) *shedRig {
	s := new(shedRig)
	o.uptime = func() time.Duration { return time.Duration(s.now.Load()) }
	s.rig = newRig(t, o)
	return s
}

// step moves the clock on, and returns how many sessions the shards have closed then.
func (s *shedRig) step(d time.Duration) (closed int) {
	s.now.Add(int64(d))
	before := s.Shedded(ReasonDrain) + s.Shedded(ReasonRebalance)
	s.each(func(h *shard) {
		for h.shedding.run() { //revive:disable-line:empty-block a chunk
		}
	})
	return int(s.Shedded(ReasonDrain) + s.Shedded(ReasonRebalance) - before)
}

func (s *shedRig) shed(o Shed) {
	s.t.Helper()
	if err := s.Shed(context.Background(), o); err != nil {
		s.t.Fatal(err)
	}
}

// A drain closes sessions evenly, at no more than its rate; each client is told 1001, why,
// and another delay, in the bye or in the text of the close frame.
func TestDrainIsPaced(t *testing.T) {
	const sessions, rate = 60, 20
	r := newShedRig(t, Options{ReconnectAfter: 2 * time.Second, ReconnectSpread: 10 * time.Second})
	var plain []*rawConn
	var v1 []*client
	for i := range sessions {
		if i%2 == 0 {
			plain = append(plain, r.mustWire(fmt.Sprint("/ws?uid=u", i), ""))
			continue
		}
		c := r.dial(fmt.Sprint("/ws?uid=u", i), "belfry.v1")
		c.object()
		v1 = append(v1, c)
	}
	r.shed(Shed{Reason: ReasonDrain, Rate: rate})
	var at []int // closed, by second
	for all := 0; all < sessions && len(at) < 10; {
		second := 0
		for range time.Second / pace.Step {
			n := r.step(pace.Step)
			if n > 3 {
				t.Errorf("%d sessions in one step", n)
			}
			second += n
		}
		all += second
		at = append(at, second)
	}
	for i, n := range at {
		if n > pace.Ceiling(rate, len(r.shards)) || i < len(at)-1 && n < rate/2 {
			t.Errorf("closed by second: %d; the rate is %d", at, rate)
		}
	}
	delays := map[string]bool{}
	for _, w := range plain {
		_, code, reason, err := w.end()
		rest, ok := strings.CutPrefix(reason, "server is drained, reconnect after ")
		if err != nil || code != 1001 || !ok {
			t.Fatalf("%d %q %v", code, reason, err)
		}
		delays[rest] = true
	}
	for _, c := range v1 {
		m := c.object()
		after := m["after"].(float64)
		if m["type"] != "bye" || m["reason"] != "drain" || m["reconnect"] != true || after < 2 || after > 12 {
			t.Errorf("bye: %v", m)
		}
		delays[fmt.Sprint(after)] = true
		c.wantClose(1001)
	}
	if len(delays) < sessions*3/4 {
		t.Errorf("only %d different delays of %d sessions", len(delays), sessions)
	}
	if n := r.Shedded(ReasonDrain); n != sessions || r.Sessions() != 0 {
		t.Errorf("%d counted, %d sessions left", n, r.Sessions())
	}
	// New sessions are closed too.
	w := r.mustWire("/ws", "")
	if n := r.step(time.Second) + r.step(time.Second); n != 1 {
		t.Errorf("%d of the sessions that came later were closed", n)
	}
	if _, code, _, err := w.end(); code != 1001 {
		t.Error(code, err)
	}
}

// After StopShedding no session is closed, and after another Shed the rest is.
func TestStopShedding(t *testing.T) {
	r := newShedRig(t, Options{Poller: onePoller()})
	for range 10 {
		r.mustWire("/ws", "")
	}
	r.shed(Shed{Reason: ReasonDrain, Rate: 10})
	if n := r.step(200 * time.Millisecond); n == 0 || n > 3 {
		t.Fatalf("%d closed", n)
	}
	if err := r.StopShedding(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := r.step(time.Minute); n != 0 {
		t.Errorf("%d closed after the stop", n)
	}
	left := r.Sessions()
	r.shed(Shed{Reason: ReasonRebalance, Rate: 1000, Most: 3})
	n := 0
	for range 20 {
		n += r.step(pace.Step)
	}
	if n != 3 || r.Sessions() != left-3 || r.Shedded(ReasonRebalance) != 3 {
		t.Errorf("%d closed, %d of %d left; 3 were to be closed", n, r.Sessions(), left)
	}
}

// A session in the middle of a message is not shed; when it has come to its end, it is.
// A drain loses its patience.
func TestShedSparesBusySessions(t *testing.T) {
	whole := masked(gobwas.OpText, true, make([]byte, 1000))
	parts := map[string][2][]byte{
		"frame":     {whole[:500], whole[500:]},
		"head":      {whole[:3], whole[3:]},
		"fragments": {masked(gobwas.OpText, false, []byte("a")), masked(gobwas.OpContinuation, true, []byte("b"))},
	}
	for name, part := range parts {
		t.Run(name, func(t *testing.T) {
			r := newShedRig(t, Options{Poller: onePoller()})
			idle, busy := r.mustWire("/ws?uid=i", ""), r.mustWire("/ws?uid=b", "")
			begins := func() {
				busy.Write(part[0])
				eventually(t, "the session is busy", func() (is bool) {
					r.on(0, func(h *shard) {
						for s, ok := h.ps.Next(0); ok; s, ok = h.ps.Next(s + 1) {
							is = is || h.busy(s, h.rec(s)) && h.rec(s).state == stateOpen
						}
					})
					return is
				})
			}
			begins()
			r.shed(Shed{Reason: ReasonRebalance, Rate: 100})
			n := 0
			for range 1000 {
				n += r.step(pace.Step)
			}
			if n != 1 {
				t.Errorf("%d were closed; want only the one without a message", n)
			}
			if _, code, _, err := idle.end(); code != 1001 {
				t.Error(code, err)
			}
			busy.Write(part[1])
			eventually(t, "the session is closed", func() bool { return r.step(pace.Step) == 1 })
			if _, code, reason, err := busy.end(); code != 1001 || !strings.HasPrefix(reason, ReasonRebalance.Text()) {
				t.Error(code, reason, err)
			}
			busy = r.mustWire("/ws?uid=b", "")
			begins()
			r.shed(Shed{Reason: ReasonDrain, Rate: 100})
			for at := pace.Step; at < drainPatience; at += pace.Step {
				if n := r.step(pace.Step); n != 0 {
					t.Fatalf("a drain closed it after %v", at)
				}
			}
			for range 4 {
				r.step(pace.Step)
			}
			if _, code, _, err := busy.end(); code != 1001 {
				t.Error(code, err)
			}
		})
	}
}

// Orders are divided without a rest, and refused if they make no sense.
func TestShedParts(t *testing.T) {
	for _, connections := range [][]int{{0}, {5, 5}, {0, 10, 1000, 3}, make([]int, 64)} {
		for _, most := range []int{0, 1, 7, 1000} {
			rate, sum := 0.0, 0
			for _, p := range (Shed{ReasonRebalance, 100, most}).parts(connections) {
				if rate += p.rate; p.most >= 0 {
					sum += p.most
				} else if most > 0 {
					t.Errorf("%v, most %d: a shard without a limit", connections, most)
				}
			}
			if rate > 100.001 || most == 0 && rate < 99.999 || sum != most {
				t.Errorf("%v, most %d: a rate of %v, %d sessions", connections, most, rate, sum)
			}
		}
	}
	r := newRig(t, Options{Poller: onePoller()})
	for _, o := range []Shed{{}, {Reason: ReasonDrain}, {Reason: ReasonSlow, Rate: 1}, {Reason: ReasonDrain, Rate: 1, Most: -1}} {
		if r.Shed(context.Background(), o) == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
