package session

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"belfry/message"
	"belfry/poller"
)

// spreadCrowd counts what clients get while a spread runs.
type spreadCrowd struct {
	mu  sync.Mutex
	got map[int][]string // by client
}

// client opens a client that notes what it gets until its connection ends.
func (c *spreadCrowd) client(r *rig, i int, path string) *rawConn {
	w := r.mustWire(path, "")
	go func() {
		for {
			op, p, err := w.frame()
			if err != nil || op == gobwas.OpClose {
				return
			}
			c.mu.Lock()
			c.got[i] = append(c.got[i], string(p))
			c.mu.Unlock()
		}
	}()
	return w
}

// count returns how many clients have got a text, and fails if one has it twice.
func (c *spreadCrowd) count(t *testing.T, text string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, all := range c.got {
		switch k := len(slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s != text })); {
		case k > 1:
			t.Errorf("client %d got %q %d times", i, text, k)
		case k == 1:
			n++
		}
	}
	return n
}

// step takes a step of every shard at a time after the beginning of its spreads.
func (r *rig) spreadTo(after time.Duration) {
	r.t.Helper()
	for i := range r.shards {
		for more := true; more; {
			r.on(i, func(h *shard) {
				more = false
				if list := h.spreads.list; len(list) > 0 {
					h.spreads.next = time.Time{}
					more = h.spreads.runAt(list[0].begun.Add(after))
				}
			})
		}
	}
}

func (r *rig) spread(t *testing.T, to message.Target, text string, over time.Duration) {
	t.Helper()
	if err := r.push(&message.Message{Target: to, Payload: []byte(text), Spread: over}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "begun", func() bool {
		n := 0
		for i := range r.shards {
			r.on(i, func(h *shard) { n += len(h.spreads.list) })
		}
		return n == len(r.shards)
	})
}

// A spread reaches the same number of sessions in each tenth of its time. Sessions that
// close do not get it, sessions that open meanwhile neither, all others get it once; other
// messages are not delayed and keep their order.
func TestSpreadIsEven(t *testing.T) {
	for _, to := range []message.Target{message.ToAll(), message.ToTopics("a", "b")} {
		t.Run(to.Scope.String(), func(t *testing.T) {
			r := newRig(t, Options{Poller: poller.Options{Shards: 2}})
			c := &spreadCrowd{got: map[int][]string{}}
			const clients, closing = 400, 40
			var wires []*rawConn
			for i := range clients {
				wires = append(wires, c.client(r, i, "/ws?topic=a"+fmt.Sprint("&topic=", string('b'+rune(i%2)))))
			}
			c.client(r, 9000, "/ws?topic=other")
			all := clients
			if to.Scope == message.ScopeAll {
				all++
			}
			const hour = time.Hour // the shards' own steps send nothing
			r.spread(t, to, "spread", hour)
			for i := range r.shards {
				r.on(i, func(h *shard) { h.spreads.list[0].opened = uint32(time.Now().Unix()) })
			}
			before, lastOther, there := 0, 0, clients+1
			var tenths []int
			for tenth := 1; tenth <= 10; tenth++ {
				r.spreadTo(hour * time.Duration(tenth) / 10)
				lastOther = tenth
				r.deliver(message.ToAll(), fmt.Sprint(tenth))
				want := fmt.Sprint(tenth)
				eventually(t, "another message", func() bool { return c.count(t, want) >= there })
				now := c.count(t, "spread")
				tenths = append(tenths, now-before)
				before = now
				if tenth == 5 { // those that have it, and those that have not
					for i := range closing {
						wires[i*10].Close()
					}
					there -= closing
				}
			}
			eventually(t, "ended", func() bool { return r.spreading.Load() == 0 })
			eventually(t, "all have it", func() bool { return c.count(t, "spread") >= all-closing })
			if to.Scope == message.ScopeAll {
				for i, n := range tenths[:5] {
					if n < all/10-4 || n > all/10+4 {
						t.Errorf("tenth %d: %d of %d", i, n, all)
					}
				}
			}
			for i, n := range tenths {
				if n > all/10*2 {
					t.Errorf("tenth %d: %d of %d: %v", i, n, all, tenths)
				}
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			for i, got := range c.got {
				others := slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s == "spread" })
				for k, text := range others {
					if text != fmt.Sprint(k+1) {
						t.Errorf("client %d got %q", i, others)
						break
					}
				}
				if gone := i < clients && i%10 == 0; !gone && len(others) != lastOther {
					t.Errorf("client %d got %q", i, others)
				}
			}
		})
	}
}

// Sessions that open during a spread do not get it, those that leave the topic neither.
func TestSpreadIsForWhoWasThere(t *testing.T) {
	r := newRig(t, Options{})
	c := &spreadCrowd{got: map[int][]string{}}
	c.client(r, 1, "/ws?topic=a")
	r.spread(t, message.ToTopics("a"), "spread", time.Hour)
	r.each(func(h *shard) { h.spreads.list[0].opened -= 10 })
	r.spreadTo(time.Hour)
	r.deliver(message.ToAll(), "end")
	eventually(t, "end", func() bool { return c.count(t, "end") == 1 })
	if n := c.count(t, "spread"); n != 0 {
		t.Error("a session that opened later got it")
	}
	if r.spreading.Load() != 0 {
		t.Error("not ended")
	}
}

// Only so many spreads are under way; a spread that dies ends; a node that stops sends what
// is left.
func TestSpreadEnds(t *testing.T) {
	r := newRig(t, Options{MaxSpreads: 2})
	c := &spreadCrowd{got: map[int][]string{}}
	for i := range 50 {
		c.client(r, i, "/ws")
	}
	r.spread(t, message.ToAll(), "one", time.Hour)
	two := &message.Message{Target: message.ToAll(), Payload: []byte("two"), Spread: time.Hour, Expires: time.Now().Add(200 * time.Millisecond)}
	if err := r.push(two); err != nil {
		t.Fatal(err)
	}
	var full *message.OverloadedError
	if err := r.push(&message.Message{Target: message.ToAll(), Spread: time.Hour}); !errors.As(err, &full) {
		t.Errorf("%v", err)
	}
	if st := r.Stats(); st.Spreading != 2 || st.Limits["fanout.max_spreads"] != 1 {
		t.Errorf("%d, %v", st.Spreading, st.Limits)
	}
	eventually(t, "begun", func() bool {
		n := 0
		for i := range r.shards {
			r.on(i, func(h *shard) { n += len(h.spreads.list) })
		}
		return n == 2*len(r.shards)
	})
	time.Sleep(time.Until(two.Expires)) // it dies
	r.spreadTo(time.Minute)
	if n := r.Stats().Spreading; n != 1 {
		t.Errorf("%d after one has died", n)
	}
	if n := c.count(t, "one"); n > 2 {
		t.Errorf("%d have it after a minute of an hour", n)
	}
	r.each(func(h *shard) {
		h.OnMail(poller.Mail{Kind: mailClose, Ptr: closeOrder{reason: ReasonShutdown}})
		h.ps.Wake()
	})
	eventually(t, "all have it", func() bool { return c.count(t, "one") == 50 })
	if n := c.count(t, "two"); n > 0 {
		t.Errorf("%d got what was dead", n)
	}
	if st := r.Stats(); st.Spreading != 0 || st.SpreadLost != 0 {
		t.Errorf("%d %d", st.Spreading, st.SpreadLost)
	}
}
