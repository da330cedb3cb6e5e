package broadcast

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"belfry/message"
)

func loopbackPort(t testing.TB) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
}

// A node without other nodes is handed over, and each of its own messages arrives once
// and in order.
func TestHandedOverAlone(t *testing.T) {
	o := Options{NodeName: "a"}
	m := open(t, o)
	parts, own := []*member{m}, 0
	for range 10 {
		for range 20 {
			own++
			m.publish(t, message.ToAll(), fmt.Sprint("own ", own))
		}
		next := openHeld(t, o, "news")
		m.takeOver(t, next)
		m, parts = next, append(parts, next)
	}
	var got []string
	for _, p := range parts {
		got = append(got, p.payloads("")...)
	}
	if n := count(t, got, "own"); n != own {
		t.Errorf("%d of %d messages", n, own)
	}
}

// steady publishes numbered messages at 1,000 a second until it is stopped.
type steady struct {
	stop   atomic.Bool
	wg     sync.WaitGroup
	sent   []string // that NATS took
	failed int
}

func (s *steady) start(publish func(payload string) error) {
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for n := 1; !s.stop.Load(); n++ {
			<-tick.C
			payload := strconv.Itoa(n)
			if err := publish(payload); err != nil {
				s.failed++
				continue
			}
			s.sent = append(s.sent, payload)
		}
	}()
}

// missed returns how many of the messages that were taken came to none of the members,
// and fails the test if one came twice or out of order.
func (s *steady) missed(t *testing.T, name string, parts ...*member) (missed int) {
	t.Helper()
	got, last := make(map[string]bool), 0
	for _, p := range parts {
		for _, payload := range p.payloads(name) {
			n, err := strconv.Atoi(payload)
			if err != nil || n <= last {
				t.Fatalf("%q after number %d on %q", payload, last, name)
			}
			last = n
			got[payload] = true
		}
	}
	for _, payload := range s.sent {
		if !got[payload] {
			missed++
		}
	}
	return missed
}

// A node whose embedded server has ports is handed over: the successor listens at the
// same ports, and clients and nodes connect again. What is missed meanwhile is printed.
func TestHandedOverWithPorts(t *testing.T) {
	listen, routes, others := loopbackPort(t), loopbackPort(t), loopbackPort(t)
	o := Options{NodeName: "a", Beacon: 50 * time.Millisecond, ReconnectPause: 200 * time.Millisecond,
		Embedded: Embedded{Listen: listen, ClusterListen: routes, Routes: []string{"nats://" + others}}}
	m := open(t, o)
	m.topic(t, "node")
	other := open(t, Options{NodeName: "b", Beacon: 50 * time.Millisecond,
		Embedded: Embedded{ClusterListen: others, Routes: []string{"nats://" + routes}}})
	eventually(t, "peers", func() bool { return m.Stats().Peers == 1 && other.Stats().Peers == 1 })
	other.topic(t, "own")
	other.sees(t, subjectTopic+"node", 1)

	var buffered, bare, node steady
	for subject, c := range map[string]struct {
		s *steady
		o []nats.Option
	}{
		"belfry.all":        {&buffered, nil},
		"belfry.topic.bare": {&bare, []nats.Option{nats.ReconnectBufSize(-1), nats.ReconnectWait(10 * time.Millisecond), nats.ReconnectJitter(0, 0)}},
	} {
		nc, err := nats.Connect("nats://"+listen, append(c.o, nats.MaxReconnects(-1))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		c.s.start(func(payload string) error { return nc.Publish(subject, []byte(payload)) })
	}
	m.topic(t, "bare")
	node.start(func(payload string) error {
		return other.Publish(&message.Message{Target: message.ToTopics("node"), Payload: []byte(payload)})
	})
	eventually(t, "traffic", func() bool { return len(m.payloads("node")) > 100 && len(m.payloads("bare")) > 100 })
	next := openHeld(t, o, "bare", "node")
	begin := time.Now()
	m.takeOver(t, next)
	gap := time.Since(begin)
	heard := func(name string) time.Duration {
		eventually(t, "messages to "+name, func() bool { return len(next.payloads(name)) > 0 })
		return time.Since(begin)
	}
	next.publish(t, message.ToTopics("own"), "own") // waits in the outbox until the other node is there again
	bareGap, nodeGap, bufferedGap := heard("bare"), heard("node"), heard("")
	eventually(t, "a message of the successor at the other node", func() bool { return len(other.payloads("own")) > 0 })
	for _, s := range []*steady{&buffered, &bare, &node} {
		s.stop.Store(true)
		s.wg.Wait()
	}
	last := func(s *steady, name string) func() bool {
		return func() bool {
			got := next.payloads(name)
			return len(got) > 0 && got[len(got)-1] == s.sent[len(s.sent)-1]
		}
	}
	eventually(t, "the last messages", func() bool {
		return last(&buffered, "")() && last(&bare, "bare")() && last(&node, "node")()
	})
	first, _ := strconv.Atoi(m.payloads("bare")[0])
	if n := buffered.missed(t, "", m, next) + node.missed(t, "node", m, next); n > 1000 { // two seconds of one of them
		t.Errorf("%d messages missed", n)
	}
	t.Logf("no server at the ports for %v", gap)
	t.Logf("client that buffers (nats.go's defaults): %d missed, first message after %v", buffered.missed(t, "", m, next), bufferedGap)
	t.Logf("client that buffers nothing and tries every 10 ms: %d missed, %d refused to it, first message after %v",
		bare.missed(t, "bare", m, next)-(first-1), bare.failed, bareGap)
	t.Logf("node on a route: %d missed, first message after %v; %d counted as gaps", node.missed(t, "node", m, next), nodeGap, next.Stats().Gaps)
}

// A node whose embedded server has ended for a successor that does not come listens
// again at the same ports, even if they were chosen by the kernel and are not free at
// first.
func TestPortsAgain(t *testing.T) {
	m := open(t, Options{NodeName: "a", Embedded: Embedded{Listen: "127.0.0.1:0", ClusterListen: "127.0.0.1:0"}})
	address, routes := m.NATSAddr(), m.ClusterAddr()
	nc, err := nats.Connect("nats://"+address, nats.MaxReconnects(-1), nats.ReconnectWait(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	for i, taken := range []bool{false, true} {
		if _, _, err := m.HandOver(context.Background()); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatalf("the port is not free: %v", err)
		}
		if !taken {
			l.Close()
		}
		m.Resume()
		l.Close()
		eventually(t, "ready", func() bool { return m.whole() && nc.IsConnected() })
		if m.NATSAddr() != address || m.ClusterAddr() != routes {
			t.Errorf("listens at %s and %s, before at %s and %s", m.NATSAddr(), m.ClusterAddr(), address, routes)
		}
		payload := fmt.Sprint("plain ", i+1)
		send(t, nc, &nats.Msg{Subject: subjectAll, Data: []byte(payload)})
		eventually(t, "a message", func() bool { return count(t, m.payloads(""), "plain") == i+1 })
	}
	if _, _, err := m.HandOver(context.Background()); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m.Resume()
	m.Close() // while it tries on
}
