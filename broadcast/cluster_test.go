package broadcast

import (
	"slices"
	"testing"
	"time"

	"belfry/message"
)

// routed opens three nodes whose embedded servers are joined by routes.
func routed(t *testing.T, o Options) []*member {
	t.Helper()
	var nodes []*member
	for _, name := range []string{"one", "two", "three"} {
		o := o
		o.NodeName = name
		o.Embedded.ClusterListen = "127.0.0.1:0"
		for _, other := range nodes {
			o.Embedded.Routes = append(o.Embedded.Routes, "nats://"+other.ClusterAddr())
		}
		nodes = append(nodes, open(t, o))
	}
	for _, n := range nodes {
		n.sees(t, subjectAll, 3)
	}
	return nodes
}

// sharing opens three nodes on one external server.
func sharing(t *testing.T, url string, o Options) []*member {
	t.Helper()
	var nodes []*member
	for _, name := range []string{"one", "two", "three"} {
		o := o
		o.NodeName = name
		o.URLs = []string{url}
		nodes = append(nodes, open(t, o))
	}
	return nodes
}

// sees waits until this node's server knows of n subscriptions to subject: a
// flush confirms a subscription only at the subscriber's own server.
func (m *member) sees(t *testing.T, subject string, n int) {
	t.Helper()
	if m.nats.server == nil {
		return
	}
	eventually(t, "interest in "+subject, func() bool {
		return m.nats.server.srv.Load().GlobalAccount().Interest(subject) >= n
	})
}

func TestThreeNodesByRoutes(t *testing.T) { threeNodes(t, routed(t, Options{})) }

func TestThreeNodesByExternalServer(t *testing.T) {
	threeNodes(t, sharing(t, external(t, 0).ClientURL(), Options{}))
}

// arrival is a target, and the names of it that arrive at each of three nodes;
// nil: the message does not arrive.
type arrival struct {
	name string
	to   message.Target
	want [3][]string
}

// threeNodes pushes to each kind of target and checks which node got what.
func threeNodes(t *testing.T, n []*member) {
	bob, eve := uidInBucket(7, 0), uidInBucket(9, 0)
	n[1].topic(t, "news/a:b@c")
	n[2].topic(t, "news/a:b@c")
	n[2].topic(t, "sport")
	n[1].user(t, bob)
	n[2].user(t, eve)
	n[0].sees(t, subjectTopic+"news/a:b@c", 2)
	n[0].sees(t, subjectTopic+"sport", 1)
	n[0].sees(t, userBucketSubject(7), 1)
	n[0].sees(t, userBucketSubject(9), 1)
	s0, s1, s2 := sid(n[0].NodeID(), 1), sid(n[1].NodeID(), 1), sid(n[2].NodeID(), 1)

	for _, c := range []arrival{
		{"topic", message.ToTopics("news/a:b@c"), [3][]string{{"news/a:b@c"}, {"news/a:b@c"}, {"news/a:b@c"}}},
		{"topic of one", message.ToTopics("sport"), [3][]string{{"sport"}, nil, {"sport"}}},
		{"topics once", message.ToTopics("sport", "news/a:b@c", "sport"),
			[3][]string{{"sport", "news/a:b@c", "sport"}, {"sport", "news/a:b@c"}, {"sport", "news/a:b@c"}}},
		{"user", message.ToUsers(bob), [3][]string{{bob}, {bob}, nil}},
		{"users by bucket", message.ToUsers(bob, eve), [3][]string{{bob, eve}, {bob}, {eve}}},
		{"session elsewhere", message.ToSessions(s1), [3][]string{nil, {s1}, nil}},
		{"session here", message.ToSessions(s0), [3][]string{{s0}, nil, nil}},
		{"sessions", message.ToSessions(s0, s1, s2), [3][]string{{s0}, {s1}, {s2}}},
	} {
		t.Run(c.name, func(t *testing.T) { c.push(t, n, s2) })
	}
	for i, m := range n {
		s := m.Stats()
		if s.Gaps+s.Malformed+s.LostUnconfirmed+s.LostReceive+s.LostOverload+s.DuplicateNodes != 0 {
			t.Errorf("node %d: %+v", i, s)
		}
		if err := m.Ready(); err != nil {
			t.Error(err)
		}
	}
	if err := n[0].nats.nc.Flush(); err != nil { // then an echo would have arrived
		t.Fatal(err)
	}
	if s := n[0].Stats(); s.Received != 0 {
		t.Errorf("the only publisher received %d of its own messages", s.Received)
	}
	if s := n[2].Stats(); s.Duplicates != 1 {
		t.Errorf("node 2 subscribes to both topics and dropped %d copies, want 1", s.Duplicates)
	}
}

// push publishes to the target on the first node, and checks what arrives. A push
// to all follows: a message that did not arrive before it does not arrive at all.
func (c *arrival) push(t *testing.T, n []*member, exclude string) {
	var before [3]int
	for i, m := range n {
		before[i] = len(m.messages())
	}
	msg := &message.Message{Target: c.to, Kind: message.Binary, Key: " a%b ", Payload: []byte{0, 255}}
	msg.Target.Exclude = exclude
	if err := n[0].Publish(msg); err != nil {
		t.Fatal(err)
	}
	n[0].publish(t, message.ToAll(), c.name)
	for i, m := range n {
		eventually(t, "the push to all", func() bool { return slices.Contains(m.payloads(""), c.name) })
		got := m.messages()[before[i]:]
		got = got[:len(got)-1]
		if c.want[i] == nil {
			if len(got) != 0 {
				t.Errorf("node %d got %+v", i, got[0])
			}
			continue
		}
		if len(got) != 1 {
			t.Fatalf("node %d got %d messages, want 1", i, len(got))
		}
		g := got[0]
		if !slices.Equal(g.Target.Names, c.want[i]) || g.Target.Scope != c.to.Scope {
			t.Errorf("node %d: target %v, want %v", i, g.Target, c.want[i])
		}
		if g.ID != msg.ID || g.Kind != message.Binary || g.Target.Exclude != exclude || g.Key != " a%b " || string(g.Payload) != "\x00\xff" {
			t.Errorf("node %d: %+v is not %+v", i, g, msg)
		}
	}
}

// Messages to one target arrive in the order in which the publishing node
// delivered them to its own sessions, even if several publishers publish at the
// same time.
func TestOrderIsThatOfTheLocalSessions(t *testing.T) {
	for name, nodes := range map[string]func(*testing.T) []*member{
		"routes":   func(t *testing.T) []*member { return routed(t, Options{}) },
		"external": func(t *testing.T) []*member { return sharing(t, external(t, 0).ClientURL(), Options{}) },
	} {
		t.Run(name, func(t *testing.T) { orderHolds(t, nodes(t)) })
	}
}

func orderHolds(t *testing.T, n []*member) {
	const publishers, each = 8, 150
	uid := uidInBucket(1, 0)
	n[1].topic(t, "a")
	n[1].topic(t, "b")
	n[1].user(t, uid)
	n[0].sees(t, subjectTopic+"a", 1)
	n[0].sees(t, subjectTopic+"b", 1)
	n[0].sees(t, userBucketSubject(1), 1)
	targets := []message.Target{message.ToAll(), message.ToTopics("a"), message.ToUsers(uid), message.ToTopics("a", "b"), message.ToTopics("b")}
	done := make(chan error, publishers)
	for p := range publishers {
		go func() {
			var err error
			for i := range each {
				if e := n[0].Publish(&message.Message{Target: targets[(p+i)%len(targets)], Payload: []byte("x")}); e != nil {
					err = e
				}
			}
			done <- err
		}()
	}
	for range publishers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "everything arrived", func() bool { return len(n[1].messages()) == publishers*each })
	for _, name := range []string{"", "a", "b", uid} {
		if here, there := idsFor(n[0], name), idsFor(n[1], name); !slices.Equal(here, there) {
			t.Errorf("target %q: order differs", name)
		}
	}
	eventually(t, "the count", func() bool { return n[1].Stats().Delivered == publishers*each })
	if s := n[1].Stats(); s.Gaps != 0 {
		t.Errorf("%+v", s)
	}
}

func idsFor(m *member, name string) (ids []string) {
	for _, msg := range m.messages() {
		if name == "" && msg.Target.Scope == message.ScopeAll || slices.Contains(msg.Target.Names, name) {
			ids = append(ids, msg.ID)
		}
	}
	return ids
}

func TestDuplicateNodeIsNoticed(t *testing.T) {
	clk := newFakeClock()
	url := external(t, 0).ClientURL()
	a := open(t, Options{NodeName: "same", URLs: []string{url}, clock: clk.clock()})
	b := open(t, Options{NodeName: "same", URLs: []string{url}, clock: clk.clock()})
	clk.advance(t, time.Second)
	for _, n := range []*member{a, b} {
		eventually(t, "the duplicate node", func() bool { return n.Stats().DuplicateNodes == 1 })
	}
	clk.advance(t, time.Second)
	clk.advance(t, time.Second)
	if got := a.Stats().DuplicateNodes; got != 1 {
		t.Errorf("one other process counted %d times", got)
	}
}
