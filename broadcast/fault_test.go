package broadcast

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"belfry/message"
)

// faulty is a Local that panics where the payload of a message tells it to.
type faulty struct{ recorder }

func (f *faulty) Prepare(m *message.Message) (Prepared, error) {
	if string(m.Payload) == "prepare" {
		panic("injected")
	}
	return faultyDelivery{recorded{&f.recorder, m}}, nil
}

type faultyDelivery struct{ recorded }

func (d faultyDelivery) Deliver() error {
	if string(d.m.Payload) == "deliver" {
		panic("injected")
	}
	return d.recorded.Deliver()
}

// faultyBus is a Bus that panics where the payload of a message tells it to.
type faultyBus struct {
	stubBus
	taken int // places taken
}

type faultyPlace struct {
	b *faultyBus
	m *message.Message
}

func (b *faultyBus) Reserve(m *message.Message) (Reservation, error) {
	if string(m.Payload) == "reserve" {
		panic("injected")
	}
	b.taken++
	return faultyPlace{b, m}, nil
}

func (p faultyPlace) Commit() {
	if string(p.m.Payload) == "commit" {
		panic("injected")
	}
	p.b.taken--
}
func (p faultyPlace) Cancel() { p.b.taken-- }

// A panic anywhere in Publish costs only that message: no stripe stays locked, no
// place stays taken, and the next message to the same target is delivered.
func TestFaultWhilePublishing(t *testing.T) {
	bus, local := new(faultyBus), new(faulty)
	core, lines := observer.New(zap.ErrorLevel)
	n, err := Open(Options{Bus: bus, Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	n.Start(local)
	publish := func(text string) error {
		return n.Publish(&message.Message{Target: message.ToTopics("a", "b"), Payload: []byte(text)})
	}
	for _, c := range []struct {
		at        string
		fails     bool
		uncertain bool
	}{{"prepare", true, false}, {"reserve", true, false}, {"deliver", true, true}, {"commit", false, false}} {
		var fault *message.FaultError
		err := publish(c.at)
		if errors.As(err, &fault) != c.fails || c.fails && fault.Uncertain != c.uncertain || !c.fails && err != nil {
			t.Errorf("fault in %s: %v", c.at, err)
		}
		if bus.taken != 0 {
			t.Fatalf("fault in %s: %d places stay taken", c.at, bus.taken)
		}
		for i := range n.stripes.mu {
			if !n.stripes.mu[i].TryLock() {
				t.Fatalf("fault in %s: a stripe stays locked", c.at)
			}
			n.stripes.mu[i].Unlock()
		}
		if err := publish("after " + c.at); err != nil {
			t.Errorf("after a fault in %s: %v", c.at, err)
		}
	}
	st := n.Stats()
	if st.Faults != 4 || st.LostFault != 1 || st.Published != 5 {
		t.Errorf("%d faults, %d messages lost by a fault, %d published", st.Faults, st.LostFault, st.Published)
	}
	if got := lines.FilterMessageSnippet("fault of belfry").All(); len(got) != 1 {
		t.Errorf("%d lines for 4 faults", len(got))
	} else if f := got[0].ContextMap(); f["panic"] != "injected" || !strings.Contains(f["stack"].(string), "(*faulty).Prepare") {
		t.Errorf("the line does not say where: %v", f)
	}
}

// A received message that triggers a panic is lost. The node stays alive: such a
// message reaches every node of the cluster.
func TestFaultWhileReceiving(t *testing.T) {
	clk := newFakeClock()
	var armed armedClock
	local := new(faulty)
	n, err := Open(Options{
		Embedded: Embedded{Listen: "127.0.0.1:0"}, clock: armed.over(clk.clock()),
		NodeOf: func(sid string) (uint32, error) { panic("injected") },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	n.Start(local)
	eventually(t, "fixed subscriptions", func() bool { return n.nats.interest.begun.Load() != 0 })
	nc := client(t, "nats://"+n.NATSAddr())
	here := sid(n.NodeID(), 5)
	for i, c := range []struct {
		what string
		m    *nats.Msg
		arm  bool
	}{
		{"prepare", &nats.Msg{Subject: subjectAll, Data: []byte("prepare")}, false},
		{"deliver", &nats.Msg{Subject: subjectAll, Data: []byte("deliver")}, false},
		{"open", &nats.Msg{Subject: n.nats.self, Header: nats.Header{headerSession: {here}}}, false},
		{"take", &nats.Msg{Subject: subjectAll}, true},
		{"beacon", &nats.Msg{Subject: subjectBeacon, Data: []byte("belfry 1 00000001 x i 1 1\n")}, true},
	} {
		armed.set(c.arm)
		send(t, nc, c.m)
		eventually(t, "the fault in "+c.what, func() bool { return n.Stats().Faults == uint64(i+1) })
		send(t, nc, &nats.Msg{Subject: subjectAll, Data: []byte("after")})
		eventually(t, "the message after "+c.what, func() bool { return len(local.payloads("")) == i+1 })
	}
	if st := n.Stats(); st.LostFault != 4 || st.Delivered != 5 {
		t.Errorf("%d lost, %d delivered", st.LostFault, st.Delivered)
	}
}

// A message that triggers a panic in the sender is lost. The messages around it
// arrive, and its place is free again.
func TestFaultWhileSending(t *testing.T) {
	n := sharing(t, external(t, 0).ClientURL(), Options{})
	box := n[0].nats.box
	if err := box.reserve(3, 300); err != nil {
		t.Fatal(err)
	}
	good := func(text string) part {
		return part{subject: subjectAll, message: &message.Message{ID: text, Payload: []byte(text)}, size: 100}
	}
	box.commit([]part{good("before"), {subject: subjectAll, message: nil, size: 100}, good("after")})
	eventually(t, "both", func() bool { return len(n[1].messages()) == 2 })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n[0].Drain(ctx); err != nil {
		t.Error(err)
	}
	if st := n[0].Stats(); st.LostFault != 1 || st.Faults != 1 || st.Sent != 2 || st.OutboxBytes != 0 {
		t.Errorf("%+v", st)
	}
	if st := n[1].Stats(); st.Gaps != 0 {
		t.Errorf("%d gaps for a message that was never numbered", st.Gaps)
	}
}

// After a fault between taking a batch and confirming it, its places are free.
func TestFaultInTheSender(t *testing.T) {
	clk := newFakeClock()
	var armed armedClock
	n := open(t, Options{URLs: []string{external(t, 0).ClientURL()}, clock: armed.over(clk.clock())})
	armed.set(true)
	n.publish(t, message.ToAll(), "lost")
	eventually(t, "the fault", func() bool { return n.Stats().LostFault == 1 })
	n.publish(t, message.ToAll(), "sent")
	eventually(t, "the next", func() bool { st := n.Stats(); return st.Sent == 1 && st.OutboxMessages == 0 && st.OutboxBytes == 0 })

	broken := &sender{bus: n.nats} // without numbers
	broken.beacon(time.Now())
	n.nats.up(nil, false)
	if st := n.Stats(); st.Faults != 3 {
		t.Errorf("%d faults counted, want 3", st.Faults)
	}
}

// A Waiter that panics does not keep other shards from being notified, and a fault
// while subscribing is repaired by the next tick.
func TestFaultWhileSubscribing(t *testing.T) {
	clk := newFakeClock()
	var armed armedClock
	s := external(t, 0)
	n := open(t, Options{URLs: []string{s.ClientURL()}, clock: armed.over(clk.clock())})
	n.JoinTopic([]byte("a"), panicking{}, 1)
	n.topic(t, "b")
	n.JoinTopic([]byte("d"), panicking{}, 1)
	eventually(t, "both faults", func() bool { return n.Stats().Faults == 2 })

	armed.set(true)
	n.JoinTopic([]byte("c"), n.shard, 7)
	eventually(t, "the third", func() bool { return n.Stats().Faults == 3 })
	clk.advance(t, time.Second)
	eventually(t, "ready", func() bool { return n.shard.count(7) == 1 })
	if got := s.GlobalAccount().Interest("belfry.topic.c"); got != 1 {
		t.Errorf("%d subscriptions", got)
	}
}

// panicking is a Waiter that panics.
type panicking struct{}

func (panicking) UserReady(uint64) bool  { panic("injected") }
func (panicking) TopicReady(uint64) bool { panic("injected") }
