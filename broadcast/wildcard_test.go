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

// While a node goes from single buckets to the wildcard and back, several
// times, a node and a foreign publisher, whose messages have no numbers, push
// to its users without pause. Everything must arrive exactly once and in order.
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

func switching(t *testing.T, clk *fakeClock, from, to *member, foreign *nats.Conn) {
	const stayers = 3
	users := make([]string, stayers)
	for i := range users {
		users[i] = uidInBucket(uint16(i), 0)
		to.user(t, users[i])
		from.sees(t, bucketSubject(uint16(i)), 1)
	}
	if foreign.ConnectedAddr() != "" {
		settle(t, foreign, to)
	}
	base := len(to.messages())
	var stop atomic.Bool
	var sent atomic.Int64
	pace := func() { // no faster than the receiver, however slow the machine is
		sent.Add(stayers)
		for !stop.Load() && int(sent.Load())-(to.received()-base) > 300 {
			time.Sleep(50 * time.Microsecond)
		}
	}
	var publishers sync.WaitGroup
	defer publishers.Wait() // even if the test gives up
	defer stop.Store(true)
	pushed := make(chan int, 2)
	publishers.Add(2)
	go func() {
		defer publishers.Done()
		i := 0
		for ; !stop.Load(); i++ {
			for _, uid := range users {
				if err := from.Publish(&message.Message{Target: message.ToUsers(uid), Payload: strconv.AppendInt(nil, int64(i), 10)}); err != nil {
					t.Error(err)
				}
			}
			pace()
		}
		pushed <- i
	}()
	go func() {
		defer publishers.Done()
		i := 0
		for ; !stop.Load(); i++ {
			for b, uid := range users {
				m := &nats.Msg{Subject: bucketSubject(uint16(b)), Header: nats.Header{headerUser: {uid}}, Data: []byte("f" + strconv.Itoa(i))}
				if err := foreign.PublishMsg(m); err != nil {
					t.Error(err)
				}
			}
			pace()
		}
		if err := foreign.Flush(); err != nil {
			t.Error(err)
		}
		pushed <- i
	}()
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
	stop.Store(true)
	total := stayers * (<-pushed + <-pushed)
	defer func() {
		if t.Failed() {
			t.Logf("%d of %d; %+v", len(to.messages())-base, total, to.Stats())
			t.Logf("%+v", from.Stats())
		}
	}()
	eventually(t, fmt.Sprintf("all %d", total), func() bool { return len(to.messages())-base >= total })
	next := make(map[string]int)
	for _, m := range to.messages()[base:] {
		key, p := m.Target.Names[0], string(m.Payload)
		if p[0] == 'f' {
			key, p = "f"+key, p[1:]
		}
		if p != strconv.Itoa(next[key]) {
			t.Fatalf("%s: %s came where %d was due", key, p, next[key])
		}
		next[key]++
	}
	st := to.Stats()
	if st.Gaps+st.Duplicates+st.Malformed+st.LostReceive != 0 {
		t.Errorf("%+v", st)
	}
	t.Logf("%d messages through %d switches", total, st.Switches)
}

// settle waits until what the foreign client publishes reaches the node, whose
// server hears of the subscription a moment after ours, and until nothing of
// that is on its way any more.
func settle(t *testing.T, foreign *nats.Conn, to *member) {
	t.Helper()
	before := len(to.messages())
	probe := func(text string) {
		for b := range uint16(3) {
			send(t, foreign, &nats.Msg{Subject: bucketSubject(b), Header: nats.Header{headerUser: {uidInBucket(b, 0)}}, Data: []byte(text)})
		}
	}
	arrived := func(text string) bool { // in every bucket
		buckets := make(map[string]bool)
		for _, m := range to.messages()[before:] {
			if string(m.Payload) == text {
				buckets[m.Target.Names[0]] = true
			}
		}
		return len(buckets) == 3
	}
	eventually(t, "a way from the foreign publisher", func() bool {
		probe("probe")
		return arrived("probe")
	})
	probe("last") // comes after all that it has sent before
	eventually(t, "the last probe", func() bool { return arrived("last") })
}

func TestWildcardHysteresis(t *testing.T) {
	clk := newFakeClock()
	n := open(t, Options{WildcardAbove: 8, WildcardBelow: 4, Linger: 2 * time.Second, clock: clk.clock(), overlap: time.Millisecond})
	topics := 0
	advance := func(d time.Duration) { // and wait until the step is over
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
	if !n.JoinUser([]byte("anybody"), n.shard, 1) {
		t.Error("a further user waits although all buckets are subscribed")
	}
	n.LeaveUser([]byte("anybody"))
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
	n.user(t, uidInBucket(5, 0)) // in between it is worth it again
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

// Other nodes' pushes to users who are not here come over the wildcard too;
// they end at the bus.
func TestWildcardKeepsStrangersOut(t *testing.T) {
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

// A connection that breaks during a switch must not leave a subscription
// behind that nobody reads.
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
