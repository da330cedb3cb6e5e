package broadcast_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"belfry/broadcast"
	"belfry/broadcast/fakebus"
)

// node is a node on a fake bus that notes the commands that it gets.
type node struct {
	*broadcast.Node
	bus *fakebus.Bus

	mu  sync.Mutex
	got []string
	ups []string // names of peers that came up
}

func (n *node) note(list *[]string, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	*list = append(*list, text)
}

// commands returns what the node has got, and forgets it.
func (n *node) commands() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := strings.Join(n.got, " ")
	n.got = nil
	return out
}

func (n *node) seen() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := strings.Join(n.ups, " ")
	n.ups = nil
	return out
}

// join opens a node with the kinds note, fail and slow.
func join(t *testing.T, net *fakebus.Network, name string) *node {
	t.Helper()
	n := &node{bus: net.Join(name)}
	var err error
	if n.Node, err = broadcast.Open(broadcast.Options{NodeName: name, Bus: n.bus}); err != nil {
		t.Fatal(err)
	}
	c := n.Control()
	c.Handle("note", func(_ context.Context, from broadcast.Peer, body []byte) ([]byte, error) {
		n.note(&n.got, from.Name+":"+string(body))
		return []byte(name + " has " + string(body)), nil
	})
	c.Handle("fail", func(context.Context, broadcast.Peer, []byte) ([]byte, error) {
		return nil, errors.New(strings.Repeat("nö", 400))
	})
	c.Handle("slow", func(ctx context.Context, _ broadcast.Peer, body []byte) ([]byte, error) {
		n.note(&n.got, "slow "+string(body))
		time.Sleep(time.Second)
		return body, ctx.Err()
	})
	c.OnPeer(func(p broadcast.Peer) { n.note(&n.ups, p.Name) })
	n.Start(fakebus.Nowhere{})
	t.Cleanup(func() { n.Close() })
	return n
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestControlSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &fakebus.Network{Delay: 5 * time.Millisecond}
		a, b, c := join(t, net, "a"), join(t, net, "b"), join(t, net, "c")
		for i := range 5 {
			if err := a.Control().Send("note", fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Control().SendTo(c.NodeID(), "note", []byte("you\nonly")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := b.commands(); got != "a:0 a:1 a:2 a:3 a:4" {
			t.Errorf("b got %q", got)
		}
		if got := c.commands(); got != "a:0 a:1 a:2 a:3 a:4 a:you\nonly" {
			t.Errorf("c got %q", got)
		}
		if got := a.commands(); got != "" {
			t.Errorf("a got its own command: %q", got)
		}
		if sent, got := a.Stats().ControlSent, b.Stats().ControlReceived; sent != 6 || got != 5 {
			t.Errorf("%d sent, %d received", sent, got)
		}
	})
}

func TestControlAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &fakebus.Network{Delay: 5 * time.Millisecond}
		a, b := join(t, net, "a"), join(t, net, "b")
		time.Sleep(time.Second)
		begun := time.Now()
		body, err := a.Control().Ask(within(t, time.Second), b.NodeID(), "note", []byte("x"))
		if err != nil || string(body) != "b has x" || time.Since(begun) != 10*time.Millisecond {
			t.Errorf("%q %v after %v", body, err, time.Since(begun))
		}
		var refused *broadcast.RefusedError
		if _, err = a.Control().Ask(within(t, time.Second), b.NodeID(), "fail", nil); !errors.As(err, &refused) || refused.Node != "b" ||
			!strings.HasPrefix(refused.Detail, "nönö") || len(refused.Detail) > 512 || !utf8.ValidString(refused.Detail) {
			t.Errorf("%v", err)
		}
		if _, err = a.Control().Ask(within(t, time.Second), b.NodeID(), "unknown", nil); !errors.As(err, &refused) || !strings.Contains(refused.Detail, `no command "unknown"`) {
			t.Errorf("%v", err)
		}
		begun = time.Now()
		if _, err = a.Control().Ask(within(t, time.Second), 77, "note", nil); !errors.Is(err, broadcast.ErrUnanswered) || time.Since(begun) != time.Second {
			t.Errorf("a node that does not exist: %v after %v", err, time.Since(begun))
		}
		if _, err = a.Control().Ask(within(t, time.Second), b.NodeID(), "note", make([]byte, broadcast.MaxControlBody+1)); err == nil || !strings.HasPrefix(err.Error(), "control: a body of") {
			t.Errorf("a body that is too large was sent: %v", err)
		}
		if st := a.Stats(); st.ControlTimeouts != 1 {
			t.Errorf("%d timeouts", st.ControlTimeouts)
		}
	})
}

// Every node that is present is in the list of answers, also one that is silent.
func TestControlAskAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &fakebus.Network{Delay: 5 * time.Millisecond}
		a, _, c := join(t, net, "a"), join(t, net, "b"), join(t, net, "c")
		time.Sleep(time.Second)
		begun := time.Now()
		answers := a.Control().AskAll(within(t, time.Second), "note", []byte("1"))
		if len(answers) != 2 || time.Since(begun) != 10*time.Millisecond {
			t.Fatalf("%v after %v", answers, time.Since(begun))
		}
		c.bus.Cut()
		begun = time.Now()
		answers = a.Control().AskAll(within(t, time.Second), "note", []byte("2"))
		if len(answers) != 2 || answers[0].Name != "b" || string(answers[0].Body) != "b has 2" ||
			answers[1].Name != "c" || !errors.Is(answers[1].Err, broadcast.ErrUnanswered) || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", answers, time.Since(begun))
		}
		a.bus.Lose()
		if answers = a.Control().AskAll(within(t, time.Second), "note", nil); len(answers) != 0 {
			t.Errorf("%v", answers)
		}
		if err := a.Control().Send("note", nil); err == nil {
			t.Error("a command was sent without a connection")
		}
	})
}

// An answer that comes twice counts once: callers add up what nodes answer.
func TestControlAskAllCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answered := make(chan []byte, 8)
		net := &fakebus.Network{Delay: 5 * time.Millisecond}
		a, _, c := join(t, net, "a"), join(t, net, "b"), join(t, net, "c")
		time.Sleep(time.Second)
		c.bus.Cut()
		net.Drop = func(from, to string, p []byte) bool {
			if from == "b" && to == "a" {
				answered <- slices.Clone(p)
			}
			return false
		}
		go func() {
			p := <-answered
			time.Sleep(100 * time.Millisecond) // the other one is awaited still
			a.Control().Received(p)
		}()
		answers := a.Control().AskAll(within(t, time.Second), "note", []byte("1"))
		if len(answers) != 2 || string(answers[0].Body) != "b has 1" || !errors.Is(answers[1].Err, broadcast.ErrUnanswered) {
			t.Errorf("%v", answers)
		}
	})
}

// OnPeer tells both sides of a join, and of a cut that is over.
func TestControlPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := new(fakebus.Network)
		a := join(t, net, "a")
		b := join(t, net, "b")
		synctest.Wait()
		if got, other := a.seen(), b.seen(); !strings.Contains(got, "b") || !strings.Contains(other, "a") {
			t.Errorf("a saw %q, b saw %q", got, other)
		}
		b.bus.Lose()
		b.bus.Heal()
		synctest.Wait()
		if got, other := a.seen(), b.seen(); !strings.Contains(got, "b") || !strings.Contains(other, "a") {
			t.Errorf("after a cut a saw %q, b saw %q", got, other)
		}
	})
}

// A handler that is slow delays no other kind. Commands whose asker has given up
// are not run, and those that find the queue full are refused at once.
func TestControlSlowHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := new(fakebus.Network)
		a, b := join(t, net, "a"), join(t, net, "b")
		time.Sleep(time.Second)
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				_, err := a.Control().Ask(within(t, 1500*time.Millisecond), b.NodeID(), "slow", fmt.Append(nil, i))
				if want := i > 0; errors.Is(err, broadcast.ErrUnanswered) != want {
					t.Errorf("ask %d: %v", i, err)
				}
			})
		}
		begun := time.Now()
		if _, err := a.Control().Ask(within(t, time.Second), b.NodeID(), "note", nil); err != nil || time.Since(begun) > 10*time.Millisecond {
			t.Errorf("another kind: %v after %v", err, time.Since(begun))
		}
		wg.Wait()
		time.Sleep(10 * time.Second)
		if got := b.commands(); !strings.Contains(got, "slow 0") || !strings.Contains(got, "slow 1") || strings.Contains(got, "slow 2") {
			t.Errorf("the commands run are %q", got)
		}
		// b did not run command 2, and its answer to command 1 came too late.
		if st, asked := b.Stats(), a.Stats(); st.ControlLate != 1 || asked.ControlLate != 1 || asked.ControlTimeouts != 2 {
			t.Errorf("%+v", st)
		}
		refused := 0
		for range 300 {
			wg.Go(func() {
				var r *broadcast.RefusedError
				if _, err := a.Control().Ask(within(t, 500*time.Millisecond), b.NodeID(), "slow", nil); errors.As(err, &r) && strings.Contains(r.Detail, "too many") {
					b.mu.Lock()
					refused++
					b.mu.Unlock()
				}
			})
		}
		wg.Wait()
		if refused < 43 || b.Stats().ControlDropped != uint64(refused) {
			t.Errorf("%d of 300 refused, %d counted", refused, b.Stats().ControlDropped)
		}
	})
}

// A handler that panics costs its command, and Close ends a wait for an answer.
func TestControlFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := new(fakebus.Network)
		a := join(t, net, "a")
		bus := net.Join("b")
		b, err := broadcast.Open(broadcast.Options{NodeName: "b", Bus: bus})
		if err != nil {
			t.Fatal(err)
		}
		calls := 0
		b.Control().Handle("panic", func(context.Context, broadcast.Peer, []byte) ([]byte, error) {
			if calls++; calls == 1 {
				panic("injected")
			}
			return []byte("fine"), nil
		})
		b.Start(fakebus.Nowhere{})
		synctest.Wait()
		if _, err := a.Control().Ask(within(t, time.Second), b.NodeID(), "panic", nil); err == nil || !strings.Contains(err.Error(), "a fault of belfry") {
			t.Errorf("%v", err)
		}
		if body, err := a.Control().Ask(within(t, time.Second), b.NodeID(), "panic", nil); err != nil || !bytes.Equal(body, []byte("fine")) {
			t.Errorf("after a fault: %q %v", body, err)
		}
		if b.Stats().Faults != 1 {
			t.Errorf("%d faults", b.Stats().Faults)
		}
		b.Close()
		time.AfterFunc(10*time.Millisecond, func() { a.Close() })
		begun := time.Now()
		if _, err := a.Control().Ask(within(t, time.Minute), b.NodeID(), "note", nil); err == nil || time.Since(begun) > time.Second {
			t.Errorf("Close did not end the wait: %v after %v", err, time.Since(begun))
		}
	})
}
