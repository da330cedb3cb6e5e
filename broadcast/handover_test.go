package broadcast

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"belfry/broadcast/line"
	"belfry/message"
)

// homes is a Router with a home for each of some buckets; all nodes are holders.
type homes struct {
	routing
	of map[uint16]uint32
}

func (h *homes) Home(bucket uint16) (uint32, bool) { id, ok := h.of[bucket]; return id, ok }

// openHeld opens a node that waits for Take, with these topics and the user bob.
func openHeld(t testing.TB, o Options, topics ...string) *member {
	t.Helper()
	o.NodeOf, o.Held = nodeOf, true
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	m := &member{n, new(recorder), new(shard)}
	n.Start(m.recorder)
	for _, topic := range topics {
		if !m.JoinTopic([]byte(topic), m.shard, 1) {
			t.Error("a held node does not say that a topic is ready")
		}
	}
	if !m.JoinUser([]byte("bob"), m.shard, 1) {
		t.Error("a held node does not say that a user is ready")
	}
	return m
}

// takeOver makes next go on as m.
func (m *member) takeOver(t testing.TB, next *member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	h, fds, err := m.HandOver(ctx)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	h = new(Heritage)
	if err := json.Unmarshal(text, h); err != nil {
		t.Fatal(err)
	}
	m.HandedOver()
	if h.Line == nil {
		m.Close()
	}
	if err := next.Take(h, fds); err != nil {
		t.Fatal(err)
	}
	m.Close()
}

// traffic has a plain NATS client and a node publish numbered payloads to all, to a
// topic and to a user, until stop.
type traffic struct {
	stop   atomic.Bool
	wg     sync.WaitGroup
	plain  int // rounds
	ofNode int
}

func (f *traffic) start(t *testing.T, url string, other *member) {
	nc := client(t, url)
	f.wg.Add(2)
	go func() {
		defer f.wg.Done()
		for !f.stop.Load() {
			f.plain++
			data := []byte(fmt.Sprint("plain ", f.plain))
			nc.Publish("belfry.all", data)
			nc.Publish("belfry.topic.news", data)
			nc.PublishMsg(&nats.Msg{Subject: subjectUser + strconv.Itoa(int(UserBucket("bob"))), Data: data, Header: nats.Header{"Belfry-User": {"bob"}}})
			if f.plain%20 == 0 {
				nc.Flush()
				time.Sleep(100 * time.Microsecond) // leaves the processor to the nodes
			}
		}
		nc.Flush()
	}()
	go func() {
		defer f.wg.Done()
		for !f.stop.Load() {
			f.ofNode++
			for _, target := range []message.Target{
				{Scope: message.ScopeAll},
				{Scope: message.ScopeTopics, Names: []string{"news", "sport"}},
				{Scope: message.ScopeUsers, Names: []string{"bob"}},
			} {
				m := &message.Message{Target: target, Payload: []byte(fmt.Sprint("node ", f.ofNode))}
				for other.Publish(m) != nil && !f.stop.Load() {
					time.Sleep(time.Millisecond)
				}
			}
			time.Sleep(200 * time.Microsecond)
		}
	}()
}

// count returns how many numbers came of "prefix number" on a target. It fails the test
// if one is missing, doubled or out of order.
func count(t *testing.T, got []string, prefix string) (last int) {
	t.Helper()
	for _, g := range got {
		rest, ok := strings.CutPrefix(g, prefix+" ")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(rest)
		if err != nil || n != last+1 {
			t.Fatalf("%q after number %d", g, last)
		}
		last = n
	}
	return last
}

// A node is handed over again and again while a plain client, another node and the node
// itself publish. Each message arrives once and in order, and the other node notices
// nothing.
func TestNodeHandedOver(t *testing.T) {
	url := "nats://" + external(t, 0).Addr().String()
	core, logs := observer.New(zap.InfoLevel)
	other := open(t, Options{NodeName: "other", URLs: []string{url}, Beacon: 20 * time.Millisecond, Log: zap.New(core)})
	o := Options{NodeName: "a", URLs: []string{url}, Beacon: 20 * time.Millisecond}
	m := open(t, o)
	topics := []string{"news", "sport"}
	for _, topic := range topics {
		m.topic(t, topic)
	}
	m.user(t, "bob")
	eventually(t, "peers", func() bool { return m.Stats().Peers == 1 && other.Stats().Peers == 1 && m.whole() })
	instance := m.control.Self().Instance
	var f traffic
	f.start(t, url, other)
	defer func() { f.stop.Store(true); f.wg.Wait() }()

	parts := []*member{m}
	own := 0
	for range 10 {
		for range 20 {
			own++
			m.publish(t, message.Target{Scope: message.ScopeAll}, fmt.Sprint("own ", own))
		}
		next := openHeld(t, o, topics...)
		m.takeOver(t, next)
		if next.Ready() != nil || next.away() || next.Stats().Peers != 1 || next.control.Self().Instance != instance {
			t.Errorf("the next node is not ready, knows no peer, or is another one: %v", next.Ready())
		}
		m = next
		parts = append(parts, m)
	}
	f.stop.Store(true)
	f.wg.Wait()
	got := func(name string) (out []string) {
		for _, p := range parts {
			out = append(out, p.payloads(name)...)
		}
		return out
	}
	for _, name := range []string{"", "news", "bob"} {
		eventually(t, "all messages to "+name, func() bool {
			return count(t, got(name), "node") == f.ofNode && count(t, got(name), "plain") == f.plain
		})
	}
	eventually(t, "all own messages", func() bool {
		return count(t, other.payloads(""), "own") == own && count(t, got(""), "own") == own
	})
	for i, p := range parts {
		if s := p.Stats(); s.Gaps+s.LostShutdown+s.LostUnconfirmed+s.DuplicateNodes+s.Reconnects+s.Malformed+s.Faults != 0 {
			t.Errorf("process %d: %+v", i, s)
		}
	}
	if s := other.Stats(); s.Gaps+s.DuplicateNodes+s.Duplicates+s.Faults != 0 {
		t.Errorf("the other node: %+v", s)
	}
	for _, line := range logs.FilterFieldKey("peer").All() {
		if line.Message != "peer joined" {
			t.Errorf("the other node says: %s", line.Message)
		}
	}
	t.Logf("%d messages of a plain client, %d of a node, %d own", f.plain*3, f.ofNode*3, own)
}

// A node that was stopped for a successor that did not come goes on: nothing is lost.
func TestHandOverResumed(t *testing.T) {
	url := "nats://" + external(t, 0).Addr().String()
	other := open(t, Options{NodeName: "other", URLs: []string{url}, Beacon: 20 * time.Millisecond})
	m := open(t, Options{NodeName: "a", URLs: []string{url}, Beacon: 20 * time.Millisecond})
	for _, topic := range []string{"news", "sport"} {
		m.topic(t, topic)
	}
	m.user(t, "bob")
	eventually(t, "ready", func() bool { return m.whole() && other.whole() })
	var f traffic
	f.start(t, url, other)
	defer func() { f.stop.Store(true); f.wg.Wait() }()
	own := 0
	for range 10 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		_, fds, err := m.HandOver(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if m.Publish(&message.Message{Target: message.Target{Scope: message.ScopeAll}, Payload: []byte("x")}) == nil {
			t.Error("a stopped node publishes")
		}
		n := len(m.messages())
		if _, _, err := m.HandOver(context.Background()); err == nil || len(m.messages()) != n {
			t.Error("handed over twice, or it still receives")
		}
		line.CloseAll(fds)
		m.Resume()
		own++
		m.publish(t, message.Target{Scope: message.ScopeAll}, fmt.Sprint("own ", own))
	}
	f.stop.Store(true)
	f.wg.Wait()
	eventually(t, "the last messages", func() bool {
		return count(t, m.payloads("bob"), "node") == f.ofNode && count(t, m.payloads("news"), "plain") == f.plain &&
			count(t, other.payloads(""), "own") == own
	})
	if s := m.Stats(); s.Gaps+s.LostReceive+s.Reconnects != 0 {
		t.Errorf("%+v", s)
	}
}
