package broadcast

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"belfry/message"
)

// A home takes the relays of a stream in order, and refuses all behind a hole.
func TestRelayInbox(t *testing.T) {
	in := relayInbox{make(map[uint32]*relayIn)}
	now := time.Now()
	for i, a := range []struct {
		epoch, number uint64
		later         time.Duration
		take, refuse  bool
	}{
		{5, 1, 0, true, false},
		{5, 2, 0, true, false},
		{5, 2, 0, false, false}, // a copy
		{5, 4, 0, false, true},  // 3 is missing
		{5, 5, 0, false, false}, // said already
		{5, 3, 0, false, false}, // too late
		{5, 6, refuseEvery, false, true},
		{6, 1, 0, true, false},
		{5, 3, 0, false, false}, // of a stream that has ended
		{6, 2, 0, true, false},
		{7, 2, 0, false, true}, // this process has not seen the first one
	} {
		now = now.Add(a.later)
		_, take, refuse := in.next(stamp{1, a.epoch, a.number}, now)
		if take != a.take || refuse != a.refuse {
			t.Errorf("%d: %d.%d taken %v, refused %v; want %v and %v", i, a.epoch, a.number, take, refuse, a.take, a.refuse)
		}
	}
	if in.sweep(now.Add(streamForget + time.Second)); len(in.streams) != 0 {
		t.Error("a stream is not forgotten")
	}
}

// routing is a Router of a test.
type routing struct {
	home    atomic.Uint32
	holders atomic.Pointer[[]uint32] // nil: not known
	verify  atomic.Int32
	lost    atomic.Int32
	heard   atomic.Int32
}

func (r *routing) Home(uint16) (uint32, bool) { h := r.home.Load(); return h, h != 0 }
func (r *routing) Holders(dst []uint32, _ uint16, _ []string) ([]uint32, bool) {
	p := r.holders.Load()
	if p == nil {
		return dst, true
	}
	return append(dst, *p...), false
}
func (r *routing) Verify()    { r.verify.Add(1) }
func (r *routing) Lost()      { r.lost.Add(1) }
func (r *routing) Overhears() { r.heard.Add(1) }

// routedMembers opens three nodes on one NATS server, which share a Router, and whose
// relays nobody overhears. With a ClusterListen each node has a NATS server.
func routedMembers(t *testing.T, o Options) ([]*member, *routing) {
	t.Helper()
	r := new(routing)
	embeds := o.Embedded.ClusterListen != ""
	if o.URLs == nil && !embeds {
		o.URLs = []string{external(t, 0).ClientURL()}
	}
	o.NodeOf = nodeOf
	var nodes []*member
	for _, name := range []string{"one", "two", "three"} {
		o.NodeName = name
		if embeds {
			o.Embedded.Routes = nil
			for _, other := range nodes {
				o.Embedded.Routes = append(o.Embedded.Routes, "nats://"+other.ClusterAddr())
			}
		}
		n, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		m := &member{n, new(recorder), new(shard)}
		n.Route(r)
		n.Start(m.recorder)
		nodes = append(nodes, m)
	}
	for _, n := range nodes {
		eventually(t, "relays", func() bool { return r.heard.Load() == 3 && n.nats.interest.begun.Load() != 0 })
		n.Overhear(false)
		eventually(t, "nobody overhears", func() bool { return n.Stats().Subscriptions == fixedSubscriptions+3 })
		eventually(t, "peers", func() bool { return n.Stats().Peers == 2 })
		n.user(t, "bob")
	}
	return nodes, r
}

func (r *routing) route(home *member, holders ...*member) {
	var ids []uint32
	for _, n := range holders {
		ids = append(ids, n.NodeID())
	}
	r.holders.Store(&ids)
	r.home.Store(home.NodeID())
}

// pushes publishes a number of messages and waits until nodes have them, in order.
func pushes(t *testing.T, from *member, n int, to ...*member) {
	t.Helper()
	before := make([]int, len(to))
	for i, m := range to {
		before[i] = len(m.payloads("bob"))
	}
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(i))
		from.publish(t, message.ToUsers("bob"), want[i])
	}
	for i, m := range to {
		eventually(t, "delivery on "+m.Name(), func() bool { return len(m.payloads("bob")) >= before[i]+n })
		if got := m.payloads("bob")[before[i]:]; !slices.Equal(got, want) {
			t.Errorf("%s got %q", m.Name(), got)
		}
	}
}

// A node that overhears receives the pushes of a home, too, which may not know the node's
// sessions yet; and each of them once.
func TestPushesOfAHomeAreOverheard(t *testing.T) {
	n, r := routedMembers(t, Options{})
	r.route(n[0])
	n[1].Overhear(true)
	eventually(t, "relays are overheard", func() bool { return r.heard.Load() == 4 })
	pushes(t, n[0], 100, n[1])
	r.route(n[0], n[1])
	pushes(t, n[0], 100, n[1])
	n[1].Overhear(false)
	eventually(t, "nobody overhears", func() bool { return n[1].Stats().Subscriptions == fixedSubscriptions+3 })
	pushes(t, n[0], 100, n[1])
	if got := n[2].payloads("bob"); len(got) > 0 {
		t.Errorf("a node that is neither home nor holder got %d", len(got))
	}
}

// All that a message has survives the way over the home, and only holders get it.
func TestRelayKeepsTheMessage(t *testing.T) {
	n, r := routedMembers(t, Options{})
	r.route(n[1], n[0], n[2])
	m := &message.Message{Target: message.ToUsers("bob"), Kind: message.Binary, Key: " k%", Op: 7, Payload: []byte{0, 255}}
	m.Target.Exclude, m.Target.ExcludeTopics = sid(1, 2), []string{"a.b"}
	if err := n[0].Publish(m); err != nil {
		t.Fatal(err)
	}
	for _, at := range []*member{n[1], n[2]} {
		eventually(t, "delivery", func() bool { return len(at.messages()) == 1 })
		if got, want := fmt.Sprintf("%+v", *at.messages()[0]), fmt.Sprintf("%+v", *m); got != want {
			t.Errorf("%s got %s, want %s", at.Name(), got, want)
		}
	}
	if got := len(n[0].messages()); got != 1 {
		t.Errorf("the publishing node got %d", got)
	}
	eventually(t, "confirmation", func() bool { st := n[0].Stats(); return st.Routes.Confirmed == 1 && st.OutboxMessages == 0 })
	if st := n[1].Stats(); st.Routes.Copies != 1 || st.Gaps != 0 {
		t.Errorf("%+v", st)
	}
}

// A push whose reports are awaited goes to all nodes, in its order between pushes that go
// through the home: the question for its reports goes to all nodes directly.
func TestAwaitedReportsGoToAll(t *testing.T) {
	n, r := routedMembers(t, Options{})
	r.route(n[1], n[2])
	pushes(t, n[0], 20, n[2])
	q := message.ReportRequest{Node: n[0].NodeID(), Wait: time.Second}
	m := &message.Message{Target: message.ToUsers("bob"), Payload: []byte("reported"), Report: message.NewReport(q, nil)}
	for i := range 3 {
		n[0].publish(t, message.ToUsers("bob"), fmt.Sprint("before ", i))
	}
	if err := n[0].Publish(m); err != nil {
		t.Fatal(err)
	}
	n[0].publish(t, message.ToUsers("bob"), "behind")
	want := []string{"before 0", "before 1", "before 2", "reported", "behind"}
	eventually(t, "delivery", func() bool { return len(n[2].payloads("bob")) == 25 })
	if got := n[2].payloads("bob")[20:]; !slices.Equal(got, want) {
		t.Errorf("the holder got %q", got)
	}
	if st := n[0].Stats().Routes; st.Direct != 1 {
		t.Errorf("%d went to all: %+v", st.Direct, st)
	}
}

// A home that refuses relays is not used for a second. Nothing is lost, doubled, or out
// of order.
func TestHomeRefuses(t *testing.T) {
	n, r := routedMembers(t, Options{})
	r.route(n[1], n[2])
	pushes(t, n[0], 50, n...)
	n[1].nats.box.closeFor("full") // as if its outbox was full
	pushes(t, n[0], 50, n...)
	eventually(t, "the fallback", func() bool { return n[0].Stats().Routes.Fallbacks["refused"] == 1 })
	pushes(t, n[0], 50, n...)
	n[1].nats.box.closeFor("")
	eventually(t, "the home again", func() bool { pushes(t, n[0], 1, n...); return r.verify.Load() > 0 })
	relayed := n[0].Stats().Routes.Relayed
	eventually(t, "relays", func() bool { pushes(t, n[0], 20, n...); return n[0].Stats().Routes.Relayed > relayed+20 })
	for _, m := range n {
		if st := m.Stats(); st.Gaps+st.Malformed != 0 {
			t.Errorf("%+v", st)
		}
	}
}

// A home that does not answer is not used any more after a second, and what it passes on
// after that is dropped.
func TestHomeIsSilent(t *testing.T) {
	n, r := routedMembers(t, Options{})
	r.route(n[1], n[2])
	pushes(t, n[0], 20, n...)
	stuck := make(chan struct{})
	n[1].recorder.mu.Lock() // its receiver stops at the next message
	go func() {
		defer close(stuck)
		pushes(t, n[0], 30, n[0], n[2])
	}()
	<-stuck
	if st := n[0].Stats().Routes; st.Fallbacks["timeout"] != 1 || st.Republished == 0 {
		t.Errorf("%+v", st)
	}
	n[1].recorder.mu.Unlock()
	eventually(t, "all on the home", func() bool { return len(n[1].payloads("bob")) == 50 })
	eventually(t, "late copies", func() bool { return n[2].Stats().Routes.Dropped > 0 })
	pushes(t, n[0], 20, n...)
	if got := len(n[2].payloads("bob")); got != 70 {
		t.Errorf("the holder got %d", got)
	}
}

// A node that overhears gets pushes that the home does not send to it, and none twice.
func TestOverhear(t *testing.T) {
	n, r := routedMembers(t, Options{})
	r.route(n[1]) // the home knows nobody
	pushes(t, n[0], 10, n[0], n[1])
	n[2].Overhear(true)
	eventually(t, "all relays", func() bool { return r.heard.Load() == 4 })
	pushes(t, n[0], 50, n...)
	r.route(n[1], n[2])
	pushes(t, n[0], 50, n...)
	n[2].Overhear(false)
	eventually(t, "the end", func() bool { return n[2].Stats().Subscriptions == fixedSubscriptions+3 })
	pushes(t, n[0], 50, n...)
	if st := n[2].Stats().Routes; st.Overheard == 0 || len(n[2].payloads("bob")) != 150 {
		t.Errorf("%d, %+v", len(n[2].payloads("bob")), st)
	}
	n[1].Overhear(true) // the home gets its own relays once
	eventually(t, "all relays", func() bool { return r.heard.Load() == 5 })
	pushes(t, n[0], 50, n...)
	if st := n[1].Stats().Routes; st.Overheard != 0 || st.Refused != 0 {
		t.Errorf("%+v", st)
	}
}

// Other NATS clients cannot send what only nodes send.
func TestForeignRoutes(t *testing.T) {
	n, _ := routedMembers(t, Options{})
	nc := client(t, n[0].opt.URLs[0])
	bob := []string{"bob"}
	bad := []*nats.Msg{
		{Subject: n[0].nats.relaySubject, Header: nats.Header{headerUser: bob}},
		{Subject: n[0].nats.relaySubject, Header: nats.Header{headerUser: bob, headerNode: {"00000001"}, headerSeq: {"5"}}},
		{Subject: n[0].nats.relaySubject, Header: nats.Header{headerNode: {"00000001"}, headerSeq: {"5.1"}, headerRelay: {"now"}}},
		{Subject: n[0].nats.relaySubject, Header: nats.Header{headerUser: {"bob", uidInBucket(9, 0)}, headerNode: {"00000001"}, headerSeq: {"5.2"}}},
		{Subject: n[0].nats.self, Header: nats.Header{headerUser: bob, headerOrigin: {"00000002 7.1"}}},
		{Subject: n[0].nats.self, Header: nats.Header{headerUser: bob, headerNode: {"00000002"}, headerSeq: {"7.1"}, headerOrigin: {"7.1"}}},
		{Subject: subjectFence, Data: []byte("belfry 1 00000001 now 1 1\n")},
		{Subject: routeSubject(n[0].NodeID()), Data: []byte("belfry 2\n")},
	}
	before := n[0].Stats().Malformed
	for _, m := range bad {
		send(t, nc, m)
	}
	eventually(t, "all refused", func() bool { return n[0].Stats().Malformed == before+uint64(len(bad)) })
	if got := len(n[0].messages()); got != 0 {
		t.Errorf("%d delivered", got)
	}
}

// The connection of the publishing node breaks while relays are not confirmed. It waits for
// the default ReconnectPause: the others must be connected again, or NATS has nobody to
// give the messages to.
func TestRelaysOverAReconnect(t *testing.T) {
	s := external(t, 0)
	port := portOf(t, s)
	n, r := routedMembers(t, Options{URLs: []string{s.ClientURL()}})
	r.route(n[1], n[2])
	pushes(t, n[0], 50, n...)
	kill(s)
	for _, m := range n {
		eventually(t, "the loss", m.lost)
	}
	for i := range 30 {
		n[0].publish(t, message.ToUsers("bob"), fmt.Sprint("later ", i))
	}
	external(t, port)
	for _, m := range n {
		eventually(t, "the rest on "+m.Name(), func() bool { return len(m.payloads("bob")) == 80 })
		for i, text := range m.payloads("bob")[50:] {
			if text != fmt.Sprint("later ", i) {
				t.Errorf("%s: %q as number %d", m.Name(), text, i)
			}
		}
	}
	if r.lost.Load() < 3 {
		t.Errorf("the router was told %d times of a lost connection", r.lost.Load())
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n[0].Drain(ctx); err != nil {
		t.Error(err)
	}
}

func FuzzRouteMessage(f *testing.F) {
	for _, what := range []string{routeFence, routeRetire, routeConfirm, routeRefuse, routePassed} {
		f.Add(routeMessage{node: 7, what: what, epoch: 8, number: 9}.append(nil))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := parseRouteMessage(p)
		if err != nil {
			return
		}
		again, err := parseRouteMessage(m.append(nil))
		if err != nil || again != m {
			t.Errorf("%q became %+v, then %+v (%v)", p, m, again, err)
		}
	})
}

func FuzzOrigin(f *testing.F) {
	f.Add(origin{7, 8, 9}.String())
	f.Add("00000007 8.")
	f.Fuzz(func(t *testing.T, s string) {
		o, ok := parseOrigin(s)
		if !ok {
			return
		}
		if again, ok := parseOrigin(o.String()); !ok || again != o {
			t.Errorf("%q became %+v", s, o)
		}
		if len(headerOrigin)+4+len(o.String()) > originSize {
			t.Errorf("%d bytes", len(o.String()))
		}
		if ref, ok := parseRelay(s); ok && ref != 0 && !strings.HasPrefix(s, relayFence) {
			t.Errorf("%q is fence %d", s, ref)
		}
	})
}
