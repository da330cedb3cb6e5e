package broadcast

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"belfry/message"
)

// A node switches from single user buckets to the wildcard and back, several times.
// Meanwhile another node and a NATS client, whose messages have no numbers, push
// to its users without pause. Every message must arrive exactly once and in order.
func TestWildcardSwitchUnderTraffic(t *testing.T) {
	t.Run("routes", func(t *testing.T) {
		clk := newFakeClock()
		o := Options{WildcardAbove: 8, WildcardBelow: 4, Linger: time.Second, clock: clk.clock(), overlap: 200 * time.Millisecond}
		o.Embedded.Listen = "127.0.0.1:0"
		n := routed(t, o)
		switching(t, clk, n[0], n[1], client(t, "nats://"+n[2].NATSAddr()))
	})
	t.Run("external", func(t *testing.T) {
		clk := newFakeClock()
		s := external(t, 0)
		n := sharing(t, s.ClientURL(), Options{WildcardAbove: 8, WildcardBelow: 4, Linger: time.Second, clock: clk.clock(), overlap: 200 * time.Millisecond})
		switching(t, clk, n[0], n[1], client(t, s.ClientURL()))
	})
}

// traffic is two publishers, a node and a NATS client that is not a node, which
// push to the users of another node until they are stopped.
type traffic struct {
	users    []string // user i is in user bucket i
	from, to *member
	client   *nats.Conn
	base     int // messages of to before the traffic
	stopped  atomic.Bool
	sent     atomic.Int64 // messages
	wg       sync.WaitGroup
}

// start begins to publish; stop ends it and waits for both publishers.
func (p *traffic) start(t *testing.T) {
	p.wg.Add(2)
	go p.publish(t, func(i int) {
		for _, uid := range p.users {
			if err := p.from.Publish(&message.Message{Target: message.ToUsers(uid), Payload: strconv.AppendInt(nil, int64(i), 10)}); err != nil {
				t.Error(err)
			}
		}
	})
	go p.publish(t, func(i int) {
		for b, uid := range p.users {
			m := &nats.Msg{Subject: userBucketSubject(uint16(b)), Header: nats.Header{headerUser: {uid}}, Data: []byte("f" + strconv.Itoa(i))}
			if err := p.client.PublishMsg(m); err != nil {
				t.Error(err)
			}
		}
	})
}

// publish calls push with 0, 1, 2, …, no faster than the receiver is.
func (p *traffic) publish(t *testing.T, push func(i int)) {
	defer p.wg.Done()
	for i := 0; !p.stopped.Load(); i++ {
		push(i)
		p.sent.Add(int64(len(p.users)))
		for !p.stopped.Load() && int(p.sent.Load())-(p.to.received()-p.base) > 300 {
			time.Sleep(50 * time.Microsecond)
		}
	}
	if err := p.client.Flush(); err != nil {
		t.Error(err)
	}
}

func (p *traffic) stop() {
	p.stopped.Store(true)
	p.wg.Wait()
}

// check waits until all messages have arrived, and checks their order.
func (p *traffic) check(t *testing.T) {
	total := int(p.sent.Load())
	defer func() {
		if t.Failed() {
			t.Logf("%d of %d; %+v", len(p.to.messages())-p.base, total, p.to.Stats())
			t.Logf("%+v", p.from.Stats())
		}
	}()
	eventually(t, fmt.Sprintf("all %d", total), func() bool { return len(p.to.messages())-p.base >= total })
	next := make(map[string]int)
	for _, m := range p.to.messages()[p.base:] {
		key, payload := m.Target.Names[0], string(m.Payload)
		if payload[0] == 'f' {
			key, payload = "f"+key, payload[1:]
		}
		if payload != strconv.Itoa(next[key]) {
			t.Fatalf("%s: got %s, want %d", key, payload, next[key])
		}
		next[key]++
	}
	st := p.to.Stats()
	if st.Gaps+st.Duplicates+st.Malformed+st.LostReceive != 0 {
		t.Errorf("%+v", st)
	}
	t.Logf("%d messages through %d switches", total, st.Switches)
}

func switching(t *testing.T, clk *fakeClock, from, to *member, client *nats.Conn) {
	const stayers = 3
	p := &traffic{from: from, to: to, client: client}
	for i := range stayers {
		uid := uidInBucket(uint16(i), 0)
		p.users = append(p.users, uid)
		to.user(t, uid)
		from.sees(t, userBucketSubject(uint16(i)), 1)
	}
	awaitRoute(t, client, to)
	p.base = len(to.messages())
	p.start(t)
	defer p.stop() // also if the test fails
	const rounds = 5
	for round := range rounds {
		for i := range 10 {
			to.user(t, uidInBucket(uint16(100+i), round))
		}
		if !to.Stats().Wildcard {
			t.Error("no wildcard above the threshold")
		}
		for i := range 10 {
			to.LeaveUser([]byte(uidInBucket(uint16(100+i), round)))
		}
		for range 4 {
			clk.advance(t, time.Second)
		}
		eventually(t, "single buckets again", func() bool { return !to.Stats().Wildcard && to.Stats().Switches == uint64(2*(round+1)) })
	}
	eventually(t, "the end of the last overlap", func() bool { return to.Stats().Subscriptions == fixedSubscriptions+stayers })
	p.stop()
	p.check(t)
}

// awaitRoute waits until messages of the client reach the node in every user bucket: its
// server may learn of the subscriptions later than others. When awaitRoute returns,
// no message of it is under way.
func awaitRoute(t *testing.T, foreign *nats.Conn, to *member) {
	t.Helper()
	before := len(to.messages())
	probe := func(text string) {
		for b := range uint16(3) {
			send(t, foreign, &nats.Msg{Subject: userBucketSubject(b), Header: nats.Header{headerUser: {uidInBucket(b, 0)}}, Data: []byte(text)})
		}
	}
	arrived := func(text string) bool { // reports whether text came in every user bucket
		buckets := make(map[string]bool)
		for _, m := range to.messages()[before:] {
			if string(m.Payload) == text {
				buckets[m.Target.Names[0]] = true
			}
		}
		return len(buckets) == 3
	}
	eventually(t, "a route from the client", func() bool {
		probe("probe")
		return arrived("probe")
	})
	probe("last") // arrives after all probes before it
	eventually(t, "the last probe", func() bool { return arrived("last") })
}

func TestWildcardHysteresis(t *testing.T) {
	clk := newFakeClock()
	n := open(t, Options{WildcardAbove: 8, WildcardBelow: 4, Linger: 2 * time.Second, clock: clk.clock(), overlap: time.Millisecond})
	topics := 0
	advance := func(d time.Duration) { // also waits until the periodic step is over
		clk.advance(t, d)
		n.topic(t, fmt.Sprint("t", topics))
		topics++
	}
	for i := range 8 {
		n.user(t, uidInBucket(uint16(i), 0))
	}
	if st := n.Stats(); st.Wildcard || st.Subscriptions != fixedSubscriptions+8 {
		t.Fatalf("at the threshold: %+v", st)
	}
	n.user(t, uidInBucket(8, 0))
	eventually(t, "one subscription", func() bool { st := n.Stats(); return st.Wildcard && st.Subscriptions == fixedSubscriptions+1 })
	if !n.JoinUser([]byte("another"), n.shard, 1) {
		t.Error("a further user waits although all buckets are subscribed")
	}
	n.LeaveUser([]byte("another"))
	for i := range 5 {
		n.LeaveUser([]byte(uidInBucket(uint16(i), 0)))
	}
	for range 5 { // 4 left: not below the lower threshold
		advance(time.Second)
	}
	if !n.Stats().Wildcard {
		t.Fatal("back too early")
	}
	n.LeaveUser([]byte(uidInBucket(5, 0)))
	advance(time.Second)
	n.user(t, uidInBucket(5, 0)) // four user buckets again: the time starts again
	advance(time.Second)
	n.LeaveUser([]byte(uidInBucket(5, 0)))
	advance(time.Second)
	advance(time.Second)
	if !n.Stats().Wildcard {
		t.Fatal("did not linger")
	}
	advance(2 * time.Second)
	if st := n.Stats(); st.Wildcard || st.Switches != 2 || st.Buckets != 3 {
		t.Errorf("%+v", st)
	}
	eventually(t, "single subscriptions", func() bool { return n.Stats().Subscriptions == fixedSubscriptions+3+topics })
}

// Pushes to users without a session on this node also come over the wildcard. The
// receiver drops them.
func TestWildcardDropsOtherUsers(t *testing.T) {
	n := sharing(t, external(t, 0).ClientURL(), Options{WildcardAbove: 1})
	n[1].user(t, uidInBucket(1, 0))
	n[1].user(t, uidInBucket(2, 0))
	n[0].publish(t, message.ToUsers(uidInBucket(3, 0)), "stranger")
	n[0].publish(t, message.ToUsers(uidInBucket(2, 0)), "here")
	eventually(t, "the second", func() bool { return n[1].Stats().Delivered == 1 })
	if st := n[1].Stats(); len(n[1].messages()) != 1 || st.Received != 2 || st.Delivered != 1 || !st.Wildcard {
		t.Errorf("%+v", st)
	}
}

// If the connection breaks during a switch, no subscription may remain that is
// not read.
func TestSwitchWhileNATSDies(t *testing.T) {
	s := external(t, 0)
	port := portOf(t, s)
	n := sharing(t, s.ClientURL(), Options{WildcardAbove: 8, ReconnectPause: time.Millisecond, overlap: time.Millisecond})
	for i := range 8 {
		n[1].user(t, uidInBucket(uint16(i), 0))
	}
	killed := make(chan struct{})
	go func() { defer close(killed); kill(s) }()
	n[1].JoinUser([]byte(uidInBucket(8, 0)), n[1].shard, 1)
	eventually(t, "switched", func() bool { return n[1].Stats().Wildcard })
	<-killed
	s = external(t, port)
	for _, m := range n {
		eventually(t, "ready", func() bool { return m.Ready() == nil })
	}
	eventually(t, "the wildcard alone", func() bool {
		return n[1].Stats().Subscriptions == fixedSubscriptions+1 && s.GlobalAccount().Interest("belfry.user.3") == 1
	})
	for i := range 9 {
		uid := uidInBucket(uint16(i), 0)
		n[0].publish(t, message.ToUsers(uid), uid)
		eventually(t, "delivery in bucket "+strconv.Itoa(i), func() bool { return len(n[1].payloads(uid)) == 1 })
	}
}
