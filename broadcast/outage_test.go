package broadcast

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"belfry/message"
)

// NATS dies and comes back on the same port. Local pushes continue, the messages
// in the outbox arrive afterwards in order, and the subscriptions exist again.
func TestNATSKilledAndBack(t *testing.T) {
	s := external(t, 0)
	port, url := portOf(t, s), s.ClientURL()
	n := sharing(t, url, Options{OutboxMessages: 100, ReconnectPause: 2 * time.Second})
	n[1].topic(t, "a")
	n[0].publish(t, message.ToTopics("a"), "before")
	eventually(t, "the first", func() bool { return len(n[1].messages()) == 1 })
	eventually(t, "confirmed", func() bool { return n[0].Stats().OutboxMessages == 0 })

	kill(s)
	for _, m := range n {
		eventually(t, "loss noticed", func() bool { return m.lost() })
	}
	want := []string{"before"}
	for i := range 50 {
		p := fmt.Sprint("away", i)
		n[0].publish(t, message.ToTopics("a"), p)
		want = append(want, p)
	}
	if got := n[0].payloads("a"); !slices.Equal(got, want) {
		t.Errorf("local sessions while NATS is away: %q", got)
	}
	if why := n[0].Degraded(); n[0].Ready() != nil || !strings.Contains(why[0], "50 of 100 messages") {
		t.Errorf("ready %v; the degraded reason does not show the outbox: %q", n[0].Ready(), why)
	}
	// Without a connection sessions do not wait; the topic is subscribed later.
	if !n[2].JoinTopic([]byte("a"), n[2].shard, 1) || !n[2].JoinUser([]byte("bob"), n[2].shard, 2) {
		t.Error("a session waits although there is no connection")
	}

	external(t, port)
	eventually(t, "all of it", func() bool { return len(n[1].messages()) == len(want) })
	if got := n[1].payloads("a"); !slices.Equal(got, want) {
		t.Errorf("order after the outage: %q", got)
	}
	for _, m := range n {
		eventually(t, "ready again", func() bool { return m.whole() })
	}
	n[0].publish(t, message.ToTopics("a"), "topic after")
	n[0].publish(t, message.ToUsers("bob"), "user after")
	eventually(t, "subscription of the time without NATS", func() bool {
		return slices.Contains(n[2].payloads("a"), "topic after") && slices.Contains(n[2].payloads("bob"), "user after")
	})
	st := n[0].Stats()
	if st.LostUnconfirmed != 0 || st.Reconnects != 1 || st.Published != 53 {
		t.Errorf("%+v", st)
	}
	if g := n[1].Stats().Gaps; g != 0 {
		t.Errorf("%d gaps without a loss", g)
	}
}

func TestFullOutboxRefusesBeforeDelivery(t *testing.T) {
	s := external(t, 0)
	port := portOf(t, s)
	n := open(t, Options{URLs: []string{s.ClientURL()}, OutboxMessages: 5, OutboxBytes: 10000, ReconnectPause: time.Millisecond})
	kill(s)
	eventually(t, "loss noticed", func() bool { return n.lost() })
	for range 3 {
		n.publish(t, message.ToAll(), "x")
	}
	var over *message.OverloadedError
	err := n.Publish(&message.Message{Target: message.ToTopics("a", "b", "c")})
	if !errors.As(err, &over) || over.What != "outbox" || over.RetryAfter <= 0 {
		t.Fatalf("three places of two: %v", err)
	}
	if err := n.Publish(&message.Message{Payload: make([]byte, 9500)}); !errors.As(err, &over) {
		t.Errorf("too many bytes: %v", err)
	}
	n.publish(t, message.ToTopics("a", "b"), "fits")
	if err := n.Publish(&message.Message{}); !errors.As(err, &over) {
		t.Errorf("sixth place of five: %v", err)
	}
	if got := len(n.messages()); got != 4 {
		t.Errorf("%d messages delivered: a refused one was among them", got)
	}
	if st := n.Stats(); st.RefusedOutbox != 3 || st.OutboxMessages != 5 || st.Published != 4 {
		t.Errorf("%+v", st)
	}
	// A session of this node needs no bus.
	n.publish(t, message.ToSessions(sid(n.NodeID(), 1)), "local")

	external(t, port)
	eventually(t, "the outbox empties", func() bool { return n.Stats().OutboxMessages == 0 })
	if st := n.Stats(); st.Sent != 5 || st.OutboxBytes != 0 {
		t.Errorf("%+v", st)
	}
	var large *message.TooLargeError
	if err := n.Publish(&message.Message{Target: message.ToTopics(numbered("t", 6)...)}); !errors.As(err, &large) {
		t.Errorf("a message that never fits: %v", err)
	}
}

// The outbox waits after a reconnect: otherwise it would be sent before the other
// nodes are connected again.
func TestReconnectPause(t *testing.T) {
	s := external(t, 0)
	port, url := portOf(t, s), s.ClientURL()
	n := sharing(t, url, Options{ReconnectPause: time.Hour})
	kill(s)
	eventually(t, "loss noticed", func() bool { return n[0].lost() })
	n[0].publish(t, message.ToAll(), "held")
	external(t, port)
	for _, m := range n {
		eventually(t, "ready", func() bool { return m.whole() })
	}
	for i := range 5 { // the bus works meanwhile
		send(t, client(t, url), &nats.Msg{Subject: subjectAll, Data: []byte("x")})
		eventually(t, "a foreign message", func() bool { return len(n[1].messages()) == i+1 })
	}
	if st := n[0].Stats(); st.OutboxMessages != 1 || st.Sent != 0 || len(n[1].payloads("")) != 5 {
		t.Errorf("%+v", st)
	}
}

func TestOpenBeforeNATS(t *testing.T) {
	s := external(t, 0)
	port, url := portOf(t, s), s.ClientURL()
	kill(s)
	n := sharing(t, url, Options{})
	for _, m := range n {
		if m.Ready() == nil {
			t.Error("ready without NATS")
		}
	}
	n[0].publish(t, message.ToAll(), "early")
	external(t, port)
	for _, m := range n {
		eventually(t, "ready", func() bool { return m.whole() })
	}
	n[0].publish(t, message.ToAll(), "late")
	eventually(t, "the second", func() bool { return slices.Contains(n[1].payloads(""), "late") })
}

// Messages that were handed to a connection before it broke are not sent again.
// They are counted.
func TestUnconfirmedIsCounted(t *testing.T) {
	s := external(t, 0)
	port := portOf(t, s)
	n := sharing(t, s.ClientURL(), Options{ReconnectPause: time.Millisecond})
	sent := 0
	for range 2000 {
		n[0].publish(t, message.ToAll(), "x")
		sent++
		if sent == 1000 {
			kill(s)
		}
	}
	external(t, port)
	eventually(t, "the outbox empties", func() bool { return n[0].Stats().OutboxMessages == 0 })
	st := n[0].Stats()
	if int(st.Sent+st.LostUnconfirmed) != sent {
		t.Errorf("%d sent, %d confirmed and %d in doubt", sent, st.Sent, st.LostUnconfirmed)
	}
	seen := make(map[string]bool)
	for _, m := range n[1].messages() {
		if seen[m.ID] {
			t.Fatalf("%s came twice", m.ID)
		}
		seen[m.ID] = true
	}
}

func TestDrain(t *testing.T) {
	s := external(t, 0)
	port := portOf(t, s)
	n := open(t, Options{URLs: []string{s.ClientURL()}, ReconnectPause: time.Millisecond})
	kill(s)
	eventually(t, "loss noticed", func() bool { return n.lost() })
	for range 7 {
		n.publish(t, message.ToAll(), "x")
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n.Drain(ended); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "7 messages") {
		t.Errorf("drain without NATS: %v", err)
	}
	external(t, port)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Drain(ctx); err != nil {
		t.Error(err)
	}
	n.Close()
	if st := n.Stats(); st.Sent != 7 || st.LostShutdown != 0 {
		t.Errorf("%+v", st)
	}
}

func TestCloseCountsWhatIsLeft(t *testing.T) {
	s := external(t, 0)
	n := open(t, Options{URLs: []string{s.ClientURL()}})
	kill(s)
	eventually(t, "loss noticed", func() bool { return n.lost() })
	for range 7 {
		n.publish(t, message.ToAll(), "x")
	}
	n.Close()
	if st := n.Stats(); st.LostShutdown != 7 {
		t.Errorf("%d counted, 7 left", st.LostShutdown)
	}
}
