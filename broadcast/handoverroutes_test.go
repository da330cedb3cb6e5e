package broadcast

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"belfry/message"
)

// Without NATS, a node whose outbox is empty can be handed over. With messages in it,
// HandOver says at once what to do, and the node goes on.
func TestHandOverWithoutNATS(t *testing.T) {
	port := freePort(t)
	s := external(t, port)
	m := open(t, Options{NodeName: "a", URLs: []string{"nats://" + s.Addr().String()}, ReconnectPause: time.Millisecond})
	eventually(t, "ready", m.whole)
	kill(s)
	eventually(t, "lost", m.lost)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if h, fds, err := m.HandOver(ctx); err != nil || h.Line != nil || len(fds) > 0 {
		t.Fatalf("with an empty outbox: %v, %d descriptors", err, len(fds))
	}
	m.Resume()
	m.publish(t, message.ToAll(), "own 1")
	if _, _, err := m.HandOver(ctx); err == nil || !strings.Contains(err.Error(), "1 messages") || !strings.Contains(err.Error(), "try again") {
		t.Fatalf("with a message in the outbox: %v", err)
	}
	m.publish(t, message.ToAll(), "own 2")
	external(t, port)
	eventually(t, "the outbox is empty", func() bool { return m.Stats().Sent == 2 })
}

// routed opens a node with a Router and the users bob and carol.
func (h *homes) open(t *testing.T, o Options) *member {
	t.Helper()
	o.NodeOf = nodeOf
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	m := &member{n, new(recorder), new(shard)}
	n.Route(h)
	n.Start(m.recorder)
	for _, uid := range []string{"bob", "carol"} {
		if m.JoinUser([]byte(uid), m.shard, 1); o.Held {
			continue
		}
		eventually(t, "user ready", func() bool { return n.nats.interest.begun.Load() != 0 })
	}
	return m
}

// A node is handed over again and again while pushes to users go through it as their
// home, and its own pushes through another home. Each push comes once and in order to
// every node.
func TestHandedOverWithPushes(t *testing.T) {
	url := "nats://" + external(t, 0).Addr().String()
	h := &homes{of: map[uint16]uint32{UserBucket("bob"): NodeID("one"), UserBucket("carol"): NodeID("two")}}
	holders := []uint32{NodeID("one"), NodeID("two"), NodeID("three")}
	h.holders.Store(&holders)
	o := func(name string) Options {
		return Options{NodeName: name, URLs: []string{url}, Beacon: 20 * time.Millisecond}
	}
	one, two, three := h.open(t, o("one")), h.open(t, o("two")), h.open(t, o("three"))
	for _, m := range []*member{one, two, three} {
		eventually(t, "peers", func() bool { return m.Stats().Peers == 2 && m.whole() })
		m.Overhear(false)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	sent := make(map[string]*int)
	for _, uid := range []string{"bob", "carol"} {
		n := new(int)
		sent[uid] = n
		wg.Add(1)
		go func() {
			defer wg.Done()
			for !stop.Load() {
				*n++
				m := &message.Message{Target: message.ToUsers(uid), Payload: []byte(fmt.Sprint("two ", *n))}
				for two.Publish(m) != nil && !stop.Load() {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(200 * time.Microsecond)
			}
		}()
	}
	defer func() { stop.Store(true); wg.Wait() }()
	parts, own := []*member{one}, 0
	next := o("one")
	next.Held = true
	for i := range 20 {
		if i%7 == 6 { // the other hand-overs come while pushes are direct, because a home was away
			relayed := two.Stats().Routes.Relayed
			eventually(t, "relays again", func() bool { return two.Stats().Routes.Relayed > relayed+20 })
		}
		for range 20 {
			own++
			for _, uid := range []string{"bob", "carol"} {
				one.publish(t, message.ToUsers(uid), fmt.Sprint("own ", own))
			}
		}
		m := h.open(t, next)
		one.takeOver(t, m)
		m.Overhear(false)
		one, parts = m, append(parts, m)
	}
	stop.Store(true)
	wg.Wait()
	for _, uid := range []string{"bob", "carol"} {
		for name, members := range map[string][]*member{"one": parts, "two": {two}, "three": {three}} {
			eventually(t, "all pushes to "+uid+" on "+name, func() bool {
				var got []string
				for _, p := range members {
					got = append(got, p.payloads(uid)...)
				}
				return count(t, got, "two") == *sent[uid] && count(t, got, "own") == own
			})
		}
	}
	for i, p := range append(parts, two, three) {
		if s := p.Stats(); s.Routes.Late+s.Gaps+s.LostReceive+s.LostUnconfirmed+s.Malformed+s.Faults != 0 {
			t.Errorf("process %d: %+v", i, s)
		}
	}
	if h.heard.Load() != int32(3+20) {
		t.Errorf("%d routers were told that they overhear, of %d", h.heard.Load(), 3+20)
	}
	t.Logf("%d pushes to bob, %d to carol, %d own to each; %+v", *sent["bob"], *sent["carol"], own, two.Stats().Routes)
}

// The successor refuses the relays that the process before refused, at once: their
// publishing node may not have heard it.
func TestRefusedAgain(t *testing.T) {
	url := "nats://" + external(t, 0).Addr().String()
	o := Options{NodeName: "a", URLs: []string{url}}
	m := open(t, o)
	eventually(t, "ready", m.whole)
	nc := client(t, url)
	said, err := nc.SubscribeSync(routeSubject(7))
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	next := openHeld(t, o)
	h, fds, err := m.HandOver(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	h.Relays = append(h.Relays, relayState{Node: 7, Epoch: 5, Last: 3, Refused: true, At: micros(time.Now())})
	m.HandedOver()
	if err := next.Take(h, fds); err != nil {
		t.Fatal(err)
	}
	msg, err := said.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := parseRouteMessage(msg.Data); err != nil || r.what != routeRefuse || r.epoch != 5 || r.number != 3 {
		t.Errorf("%q: %v", msg.Data, err)
	}
}
