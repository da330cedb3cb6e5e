package broadcast

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// commanded is a member whose control messages a test can see.
type commanded struct {
	*member
	got atomic.Int64 // commands run
	ups atomic.Int64 // calls of OnPeer
}

// openCommanded opens a node with the kind echo.
func openCommanded(t *testing.T, o Options) *commanded {
	t.Helper()
	o.NodeOf = nodeOf
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	m := &commanded{member: &member{n, new(recorder), new(shard)}}
	n.Control().Handle("echo", func(_ context.Context, _ Peer, body []byte) ([]byte, error) {
		m.got.Add(1)
		return body, nil
	})
	n.Control().OnPeer(func(Peer) { m.ups.Add(1) })
	n.Start(m.recorder)
	return m
}

// Commands pass through real NATS, in full size, and a node whose connection is
// back says so.
func TestControlOverNATS(t *testing.T) {
	s := external(t, 0)
	o := Options{URLs: []string{s.ClientURL()}, Beacon: 20 * time.Millisecond}
	o.NodeName = "a"
	a := openCommanded(t, o)
	o.NodeName = "b"
	b := openCommanded(t, o)
	eventually(t, "peers", func() bool { return len(a.Control().Peers()) == 1 && len(b.Control().Peers()) == 1 })
	if a.ups.Load() == 0 || b.ups.Load() == 0 {
		t.Errorf("OnPeer was called %d and %d times", a.ups.Load(), b.ups.Load())
	}
	large := bytes.Repeat([]byte("x"), MaxControlBody)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if got, err := a.Control().Ask(ctx, b.NodeID(), "echo", large); err != nil || !bytes.Equal(got, large) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if answers := b.Control().AskAll(ctx, "echo", []byte("hi")); len(answers) != 1 || answers[0].Name != "a" || string(answers[0].Body) != "hi" {
		t.Fatalf("%+v", answers)
	}
	if a.Control().Alone() {
		t.Error("a node with an external NATS says that it is alone")
	}

	// Other NATS clients cannot disturb it.
	nc := client(t, s.ClientURL())
	send(t, nc, &nats.Msg{Subject: subjectEvery, Data: []byte("nonsense")})
	eventually(t, "malformed", func() bool { return a.Stats().Malformed == 1 && b.Stats().Malformed == 1 })

	port, before := portOf(t, s), a.ups.Load()
	kill(s)
	eventually(t, "connection lost", func() bool { return a.lost() && b.lost() })
	if err := a.Control().Send("echo", nil); err == nil {
		t.Error("a command was sent without a connection")
	}
	if answers := a.Control().AskAll(ctx, "echo", nil); len(answers) != 1 || answers[0].Err == nil || errors.Is(answers[0].Err, ErrUnanswered) {
		t.Errorf("without a connection the answers are %+v", answers)
	}
	external(t, port)
	eventually(t, "OnPeer after the reconnect", func() bool { return a.ups.Load() > before })
	eventually(t, "a command after the reconnect", func() bool {
		short, end := context.WithTimeout(ctx, time.Second)
		defer end()
		_, err := a.Control().Ask(short, b.NodeID(), "echo", nil)
		return err == nil
	})
}

// Embedded servers carry commands too. A node without ports is alone.
func TestControlEmbedded(t *testing.T) {
	port := freePort(t)
	first := fmt.Sprintf("127.0.0.1:%d", port)
	a := openCommanded(t, Options{NodeName: "a", Beacon: 20 * time.Millisecond, Embedded: Embedded{ClusterListen: first}})
	b := openCommanded(t, Options{NodeName: "b", Beacon: 20 * time.Millisecond,
		Embedded: Embedded{ClusterListen: "127.0.0.1:0", Routes: []string{"nats://" + first}}})
	eventually(t, "peers", func() bool { return len(a.Control().Peers()) == 1 && len(b.Control().Peers()) == 1 })
	if err := b.Control().Send("echo", nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command", func() bool { return a.got.Load() == 1 })
	if b.got.Load() != 0 {
		t.Error("a node got its own command")
	}
	alone := openCommanded(t, Options{NodeName: "c"})
	if !alone.Control().Alone() || alone.Control().Send("echo", nil) != nil {
		t.Error("a node without ports is not alone, or cannot send")
	}
}

// A full channel of control messages is counted, and does not count as pushes lost.
func TestControlFlood(t *testing.T) {
	clk := newFakeClock()
	s := external(t, 0)
	held := make(chan struct{})
	n, err := Open(Options{URLs: []string{s.ClientURL()}, clock: clk.clock(), NodeName: "a"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	n.Start(new(recorder))
	eventually(t, "subscriptions", func() bool { return n.nats.interest.begun.Load() != 0 })
	n.control.mu.Lock() // answers wait for it, so the channel fills
	go func() { <-held; n.control.mu.Unlock() }()
	nc := client(t, s.ClientURL())
	m := controlMessage{from: Peer{9, "z"}, form: formAnswer, kind: "k", ref: 1}
	const extra = 500
	for range maxCommands + extra {
		if err := nc.Publish(subjectEvery, m.append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	nc.Flush()
	eventually(t, "drops", func() bool {
		clk.advance(t, time.Second)
		return n.Stats().ControlDropped >= extra-1
	})
	close(held)
	if st := n.Stats(); st.LostReceive != 0 {
		t.Errorf("%d lost as pushes", st.LostReceive)
	}
	eventually(t, "the rest", func() bool { return n.Stats().ControlLate >= maxCommands })
}
