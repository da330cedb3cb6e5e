package broadcast

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// wireTap is a ControlBus that keeps what a Control sends. The test is the other nodes.
type wireTap struct {
	peers []Peer

	mu   sync.Mutex
	sent []controlMessage
}

func (b *wireTap) StartControl(ControlReceiver) {}
func (b *wireTap) Peers() []Peer                { return b.peers }
func (b *wireTap) Alone() bool                  { return false }
func (b *wireTap) Beacon()                      {}
func (b *wireTap) Lease() time.Duration         { return time.Minute }

func (b *wireTap) PublishControl(p []byte) error {
	m, err := parseControl(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, m)
	return err
}

func (b *wireTap) SendControl(_ uint32, p []byte) error { return b.PublishControl(p) }
func (b *wireTap) PublishPlain(string, []byte) error    { return nil }

// last returns the message that was sent last.
func (b *wireTap) last() controlMessage {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent[len(b.sent)-1]
}

var self, other, third = Peer{1, "self"}, Peer{2, "other"}, Peer{3, "third"}

// tapped returns a Control of the node self that runs.
func tapped(t *testing.T, handlers map[string]Handler) (*Control, *wireTap, *counters) {
	bus, count := &wireTap{peers: []Peer{other, third}}, new(counters)
	c := newControl(bus, self, "", zap.NewNop(), newFaults(zap.NewNop(), new(atomic.Uint64)), count)
	for name, h := range handlers {
		c.Handle(name, h)
	}
	c.start()
	t.Cleanup(c.close) // a second call does nothing
	return c, bus, count
}

// Only the answer of the node that was asked, to the command that it was asked, ends a
// wait. Others are dropped.
func TestControlTakesOnlyItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, bus, count := tapped(t, nil)
		defer c.close()
		got := make(chan string, 1)
		go func() {
			body, err := c.Ask(context.Background(), other.ID, "kind", []byte("x"))
			if err != nil {
				body = []byte(err.Error())
			}
			got <- string(body)
		}()
		synctest.Wait()
		ask := bus.last()
		if ask.form != formAsk || ask.left != maxAsk || ask.from != self {
			t.Errorf("%+v", ask)
		}
		say := func(from Peer, kind string, ref uint64, body string) {
			m := controlMessage{from: from, form: formAnswer, kind: kind, ref: ref, body: []byte(body)}
			c.Received(m.append(nil))
			synctest.Wait()
		}
		say(other, "another", ask.ref, "of another kind")
		say(other, "kind", ask.ref+1, "to another ask")
		if late := count.controlLate.Load(); late != 2 {
			t.Errorf("%d late", late)
		}
		say(self, "kind", ask.ref, "of a node with the same name")
		say(third, "kind", ask.ref, "of another node")
		if len(got) != 0 {
			t.Errorf("answered with %q", <-got)
		}
		say(other, "kind", ask.ref, "the answer")
		if answer := <-got; answer != "the answer" {
			t.Errorf("got %q", answer)
		}
		say(other, "kind", ask.ref, "again")
		if late := count.controlLate.Load(); late != 3 || len(c.asked) != 0 {
			t.Errorf("%d late, %d asks are kept", late, len(c.asked))
		}
	})
}

// Without a deadline an answer is awaited for a minute, and a node that is closed waits
// for none. Nothing is kept of an ask that is over.
func TestControlWaitsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, count := tapped(t, nil)
		begun := time.Now()
		if _, err := c.Ask(context.Background(), other.ID, "kind", nil); !errors.Is(err, ErrUnanswered) || time.Since(begun) != maxAsk {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		begun = time.Now()
		all := c.AskAll(context.Background(), "kind", nil)
		if len(all) != 2 || !errors.Is(all[0].Err, ErrUnanswered) || !errors.Is(all[1].Err, ErrUnanswered) || time.Since(begun) != maxAsk {
			t.Errorf("%v after %v", all, time.Since(begun))
		}
		if n := count.controlTimeouts.Load(); n != 3 || len(c.asked) != 0 {
			t.Errorf("%d timeouts, %d asks are kept", n, len(c.asked))
		}
		time.AfterFunc(time.Second, c.close)
		begun = time.Now()
		if all = c.AskAll(context.Background(), "kind", nil); len(all) != 2 || !errors.Is(all[0].Err, errClosed) || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", all, time.Since(begun))
		}
	})
}

// What a node answers to an ask that it cannot serve, and what it counts.
func TestControlRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left time.Duration
		c, bus, count := tapped(t, map[string]Handler{
			"large": func(context.Context, Peer, []byte) ([]byte, error) { return make([]byte, MaxControlBody+1), nil },
			"fits":  func(context.Context, Peer, []byte) ([]byte, error) { return make([]byte, MaxControlBody), nil },
			"time": func(ctx context.Context, _ Peer, _ []byte) ([]byte, error) {
				deadline, _ := ctx.Deadline()
				left = time.Until(deadline)
				return nil, nil
			},
		})
		defer c.close()
		for _, tc := range []struct {
			kind string
			form form
			body string
		}{
			{"large", formRefusal, "the answer has 65537 bytes; allowed are at most 65536"},
			{"fits", formAnswer, "\x00"},
			{"time", formAnswer, ""},
			{"nothing", formRefusal, `there is no command "nothing"`},
		} {
			m := controlMessage{from: other, form: formAsk, kind: tc.kind, ref: 7, left: 3 * time.Second}
			c.Received(m.append(nil))
			synctest.Wait()
			if got := bus.last(); got.form != tc.form || got.ref != 7 || got.kind != tc.kind || !strings.HasPrefix(string(got.body), tc.body) {
				t.Errorf("%s: %s %.80q", tc.kind, got.form, got.body)
			}
		}
		if left != 3*time.Second {
			t.Errorf("the handler has %v", left)
		}
		sent := len(bus.sent)
		for _, m := range []controlMessage{{from: other, form: formTell, kind: "nothing"}, {from: self, form: formAsk, kind: "fits", left: time.Second}} {
			c.Received(m.append(nil)) // a tell has no answer, and a node answers itself nothing
			synctest.Wait()
		}
		if len(bus.sent) != sent {
			t.Errorf("answered with %+v", bus.last())
		}
		if unknown, dropped := count.controlUnknown.Load(), count.controlDropped.Load(); unknown != 2 || dropped != 0 {
			t.Errorf("%d unknown, %d dropped", unknown, dropped)
		}
	})
}

// Answers for which there is no room are dropped and counted: whoever reads from the bus
// does not wait. A question to all has room for every node, and the questions of two
// processes have numbers that differ, so that neither takes the answers of the other.
func TestControlAnswersWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, count := tapped(t, nil)
		if another, _, _ := tapped(t, nil); another.ref == c.ref {
			t.Error("two processes begin with the same number")
		}
		q, ref := c.open("note", 1)
		answer := controlMessage{from: other, form: formAnswer, kind: "note", ref: ref}
		for range 3 {
			c.Received(answer.append(nil))
		}
		if n := count.controlDropped.Load(); n != 2 || len(q.got) != 1 {
			t.Errorf("%d answers were dropped, %d wait", n, len(q.got))
		}
		c.forget(ref)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		done := make(chan []Answer)
		go func() { done <- c.AskAll(ctx, "note", nil) }()
		synctest.Wait()
		c.mu.Lock()
		for _, q := range c.asked {
			if cap(q.got) < 2 {
				t.Errorf("room for %d answers of two nodes", cap(q.got))
			}
		}
		c.mu.Unlock()
		<-done
	})
}
