package broadcast

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"belfry/message"
)

func TestOneNodeWithoutAnyOption(t *testing.T) {
	n := open(t, Options{})
	first := n.publish(t, message.ToAll(), "hello")
	second := n.publish(t, message.ToTopics("news"), "hello")
	if got := n.messages(); len(got) != 2 || got[0] != first || got[1] != second {
		t.Errorf("local sessions got %v", got)
	}
	if first.ID == "" || first.ID == second.ID {
		t.Errorf("ids %q and %q", first.ID, second.ID)
	}
	if err := n.Ready(); err != nil {
		t.Error(err)
	}
	if n.NATSAddr() != "" || n.ClusterAddr() != "" {
		t.Error("a port is open without Embedded.Listen")
	}
	if s := n.Stats(); s.Published != 2 || s.Sent != 0 || s.OutboxMessages != 0 {
		t.Errorf("%+v; want nothing sent without other nodes", s)
	}
}

func TestClusterWithoutListenAdmitsNoClient(t *testing.T) {
	n := open(t, Options{Embedded: Embedded{ClusterListen: "127.0.0.1:0"}})
	if n.NATSAddr() != "" {
		t.Error("NATSAddr returns the internal client port")
	}
	if nc, err := nats.Connect("nats://" + n.nats.server.srv.Load().Addr().String()); err == nil {
		nc.Close()
		t.Error("a client without the token was admitted")
	}
}

func TestPublishRefuses(t *testing.T) {
	n := open(t, Options{MaxPayload: 10})
	for name, c := range map[string]struct {
		m     message.Message
		field string
	}{
		"names of all":    {message.Message{Target: message.Target{Names: []string{"a"}}}, "to"},
		"no topic":        {message.Message{Target: message.ToTopics()}, "topic"},
		"wildcard":        {message.Message{Target: message.ToTopics("a.*")}, "topic"},
		"empty uid":       {message.Message{Target: message.ToUsers("")}, "uid"},
		"uid with CR":     {message.Message{Target: message.ToUsers("a\rb")}, "uid"},
		"short session":   {message.Message{Target: message.ToSessions("abc")}, "session"},
		"exclude":         {message.Message{Target: message.Target{Exclude: "abc"}}, "exclude"},
		"key":             {message.Message{Key: "a\nb"}, "key"},
		"long key":        {message.Message{Key: strings.Repeat("k", message.MaxUIDLen+1)}, "key"},
		"id with space":   {message.Message{ID: "a b"}, "id"},
		"kind":            {message.Message{Kind: 7}, "kind"},
		"text not UTF-8":  {message.Message{Payload: []byte{0xff}}, "payload"},
		"far too many":    {message.Message{Target: message.ToTopics(numbered("t", message.MaxTargetNames+1)...)}, "topic"},
		"topic of 129":    {message.Message{Target: message.ToTopics(strings.Repeat("x", 129))}, "topic"},
		"dots at the end": {message.Message{Target: message.ToTopics("a.")}, "topic"},
	} {
		var field *message.FieldError
		if err := n.Publish(&c.m); !errors.As(err, &field) || field.Field != c.field {
			t.Errorf("%s: %v, want a FieldError of %q", name, err, c.field)
		}
	}
	var large *message.TooLargeError
	if err := n.Publish(&message.Message{Payload: make([]byte, 11)}); !errors.As(err, &large) || large.Max != 10 {
		t.Errorf("11 bytes: %v", err)
	}
	if err := n.Publish(&message.Message{Payload: make([]byte, 10)}); err != nil {
		t.Errorf("10 bytes: %v", err)
	}
	if got := len(n.messages()); got != 1 {
		t.Errorf("%d messages delivered, want 1", got)
	}
}

func TestBeforeStartAndAfterDrain(t *testing.T) {
	n, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	var over *message.OverloadedError
	if err := n.Publish(&message.Message{}); !errors.As(err, &over) || over.What != "starting" {
		t.Errorf("before Start: %v", err)
	}
	if n.Ready() == nil {
		t.Error("ready before Start")
	}
	n.Start(new(recorder))
	if err := n.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	if err := n.Publish(&message.Message{}); !errors.As(err, &over) || over.What != "stopping" {
		t.Errorf("after Drain: %v", err)
	}
	if first, second := n.Close(), n.Close(); first != nil || second != nil {
		t.Error("Close twice")
	}
	if n.Ready() == nil {
		t.Error("ready after Close")
	}
}

// If the local sessions refuse a message, it is not sent to the bus either.
func TestFullLocalMailboxSendsNothing(t *testing.T) {
	n := sharing(t, external(t, 0).ClientURL(), Options{})
	n[0].setFull(errors.New("full"))
	var over *message.OverloadedError
	if err := n[0].Publish(&message.Message{Payload: []byte("no")}); !errors.As(err, &over) || over.What != "mailbox" {
		t.Fatalf("%v", err)
	}
	n[0].setFull(nil)
	n[0].publish(t, message.ToAll(), "yes")
	eventually(t, "the second", func() bool { return len(n[1].messages()) == 1 })
	if got := n[1].payloads(""); got[0] != "yes" {
		t.Errorf("the refused message was sent: %q", got)
	}
	eventually(t, "places given back", func() bool { s := n[0].Stats(); return s.OutboxMessages == 0 && s.OutboxBytes == 0 })
	if s := n[0].Stats(); s.RefusedLocal != 1 || s.Published != 1 {
		t.Errorf("%+v", s)
	}
}

// A slow shard delays the bus for a bounded time. Then messages are lost and
// counted. When the shard has recovered, messages are delivered again.
func TestSlowLocalLosesAndCounts(t *testing.T) {
	n := sharing(t, external(t, 0).ClientURL(), Options{OverloadWait: 20 * time.Millisecond})
	n[1].setFull(errors.New("full"))
	n[0].publish(t, message.ToAll(), "lost")
	eventually(t, "the loss", func() bool { return n[1].Stats().LostOverload == 1 })
	tries := n[1].tries()
	n[0].publish(t, message.ToAll(), "waits")
	eventually(t, "an attempt", func() bool { return n[1].tries() > tries })
	n[1].setFull(nil)
	eventually(t, "delivery or loss", func() bool { s := n[1].Stats(); return s.Delivered+s.LostOverload == 2 })
	n[0].publish(t, message.ToAll(), "arrives")
	eventually(t, "the third", func() bool { return slices.Contains(n[1].payloads(""), "arrives") })
	if s := n[1].Stats(); s.Gaps != 0 || s.Received != 3 {
		t.Errorf("%+v", s)
	}
}

// Any NATS client can publish.
func TestPlainPublisher(t *testing.T) {
	n := open(t, Options{Embedded: Embedded{Listen: "127.0.0.1:0"}})
	n.topic(t, "news")
	uid := uidInBucket(3, 0)
	n.user(t, uid)
	nc := client(t, "nats://"+n.NATSAddr())
	here := sid(n.NodeID(), 5)
	sent := []*nats.Msg{
		{Subject: "belfry.topic.news", Data: []byte(`{"a":1}`)},
		{Subject: "belfry.all", Data: []byte{0xff, 0}},
		{Subject: "belfry.all", Data: []byte("x"), Header: nats.Header{headerKind: {"binary"}, headerID: {"my-id"}, headerKey: {"k%25"}, headerExclude: {here}, headerExcept: {"a", "b.c"}, headerOp: {"7"}, "Other": {"y"}}},
		{Subject: "belfry.user.3", Data: []byte("u"), Header: nats.Header{headerUser: {uid}}},
		{Subject: n.nats.self, Data: []byte("s"), Header: nats.Header{headerSession: {here}}},
		{Subject: "belfry.topic.news", Data: []byte("both"), Header: nats.Header{headerTopic: {"news", "sport"}}},
	}
	for _, m := range sent {
		send(t, nc, m)
	}
	eventually(t, "all of them", func() bool { return len(n.messages()) == len(sent) })
	got := n.messages()
	ids := make(map[string]bool)
	for i, m := range got {
		if string(m.Payload) != string(sent[i].Data) {
			t.Errorf("message %d: payload %q", i, m.Payload)
		}
		if m.ID == "" || ids[m.ID] {
			t.Errorf("message %d: id %q", i, m.ID)
		}
		ids[m.ID] = true
	}
	if got[0].Kind != message.Text || got[1].Kind != message.Binary || got[2].Kind != message.Binary {
		t.Error("kinds")
	}
	if m := got[2]; m.ID != "my-id" || m.Key != "k%" || m.Target.Exclude != here || !slices.Equal(m.Target.ExcludeTopics, []string{"a", "b.c"}) || m.Op != 7 {
		t.Errorf("envelope: %+v", m)
	}
	if !slices.Equal(got[3].Target.Names, []string{uid}) || got[4].Target.Names[0] != here || len(got[5].Target.Names) != 2 {
		t.Errorf("targets: %v %v %v", got[3].Target, got[4].Target, got[5].Target)
	}
}

func TestBadHeadersAreDropped(t *testing.T) {
	n := open(t, Options{MaxPayload: 100, Embedded: Embedded{Listen: "127.0.0.1:0"}})
	n.topic(t, "news")
	uid := uidInBucket(3, 0)
	n.user(t, uid)
	nc := client(t, "nats://"+n.NATSAddr())
	h := func(kv ...string) nats.Header {
		out := nats.Header{}
		for i := 0; i < len(kv); i += 2 {
			out[kv[i]] = append(out[kv[i]], kv[i+1])
		}
		return out
	}
	bad := []*nats.Msg{
		{Subject: "belfry.all", Header: h(headerKind, "txt")},
		{Subject: "belfry.all", Header: h(headerKind, "text"), Data: []byte{0xff}},
		{Subject: "belfry.all", Header: h(headerUser, uid)},
		{Subject: "belfry.all", Header: h("belfry-kind", "text")},
		{Subject: "belfry.all", Header: h("Belfry-Unknown", "1")},
		{Subject: "belfry.all", Header: h(headerID, "a", headerID, "b")},
		{Subject: "belfry.all", Header: h(headerID, "a b")},
		{Subject: "belfry.all", Header: h(headerExclude, "nobody")},
		{Subject: "belfry.all", Header: h(headerExcept, "a..b")},
		{Subject: "belfry.all", Header: h(headerSpread, "99")},
		{Subject: "belfry.all", Header: h(headerSpread, "3600001")},
		{Subject: "belfry.user.3", Header: h(headerUser, uid, headerSpread, "1000")},
		{Subject: "belfry.all", Header: h(headerTTL, "0")},
		{Subject: "belfry.all", Header: h(headerTTL, "10s")},
		{Subject: "belfry.all", Header: h(headerOp, "0")},
		{Subject: "belfry.all", Header: h(headerOp, "4294967296")},
		{Subject: "belfry.all", Header: h(headerKey, "%zz")},
		{Subject: "belfry.all", Header: h(headerNode, "xyz", headerSeq, "1.1")},
		{Subject: "belfry.all", Header: h(headerNode, "00000001")},
		{Subject: "belfry.all", Header: h(headerNode, "00000001", headerSeq, "0.1")},
		{Subject: "belfry.all", Data: make([]byte, 101)},
		{Subject: "belfry.topic.news", Header: h(headerTopic, "sport")},
		{Subject: "belfry.topic.news", Header: h(headerTopic, "news", headerTopic, "a..b")},
		{Subject: "belfry.user.3"},
		{Subject: "belfry.user.3", Header: h(headerUser, uidInBucket(4, 0))},
		{Subject: "belfry.user.3", Header: h(headerUser, uid, headerUser, "%0d")},
		{Subject: n.nats.self},
		{Subject: n.nats.self, Header: h(headerSession, sid(n.NodeID()+1, 1))},
		{Subject: subjectBeacon, Data: []byte("nonsense")},
	}
	for _, m := range bad {
		send(t, nc, m)
	}
	send(t, nc, &nats.Msg{Subject: "belfry.all", Data: []byte("good")})
	eventually(t, "the good one", func() bool { return len(n.messages()) > 0 })
	if got := n.messages(); len(got) != 1 || string(got[0].Payload) != "good" {
		t.Errorf("delivered: %v", got)
	}
	if s := n.Stats(); int(s.Malformed) != len(bad) {
		t.Errorf("%d counted, %d sent", s.Malformed, len(bad))
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]Options{
		"NodeName":               {NodeName: "a b"},
		"MaxPayload":             {MaxPayload: -1},
		"Linger":                 {Linger: time.Microsecond},
		"TLS":                    {TLS: TLS{Cert: "x"}},
		"URLs":                   {URLs: []string{"nats://a"}, Embedded: Embedded{Listen: ":1"}},
		"Embedded.Routes":        {Embedded: Embedded{Routes: []string{"nats://a:1"}}},
		"Embedded.Listen":        {Embedded: Embedded{Listen: "nowhere"}},
		"Embedded.ClusterListen": {Embedded: Embedded{ClusterListen: "a:99999"}},
	} {
		n, err := Open(o)
		if err == nil {
			n.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), "broadcast: "+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, e := range []Embedded{{Listen: l.Addr().String()}, {ClusterListen: l.Addr().String()}} {
		if n, err := Open(Options{Embedded: e}); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("%+v: %v", e, err)
			if n != nil {
				n.Close()
			}
		}
	}
}

func TestExternalCredentials(t *testing.T) {
	n := open(t, Options{Token: "secret", Embedded: Embedded{Listen: "127.0.0.1:0"}})
	url := "nats://" + n.NATSAddr()
	if nc, err := nats.Connect(url); err == nil {
		nc.Close()
		t.Error("admitted without token")
	}
	m := open(t, Options{NodeName: "m", URLs: []string{url}, Token: "secret"})
	n.publish(t, message.ToAll(), "x")
	eventually(t, "delivery", func() bool { return len(m.messages()) == 1 })
	wrong := open(t, Options{NodeName: "w", URLs: []string{url}, Token: "wrong"})
	eventually(t, "the reason", func() bool {
		err := wrong.Ready()
		return err != nil && strings.Contains(err.Error(), "uthoriz")
	})
}

// Node works with a Bus that is not NATS.
type stubBus struct {
	mu sync.Mutex
	noWait
	kept []string
}

type noWait struct{}

func (noWait) JoinUser([]byte, Waiter, uint64) bool  { return true }
func (noWait) LeaveUser([]byte)                      {}
func (noWait) JoinTopic([]byte, Waiter, uint64) bool { return true }
func (noWait) LeaveTopic([]byte)                     {}

type stubPlace struct {
	b  *stubBus
	id string
}

func (p stubPlace) Commit() { p.b.mu.Lock(); p.b.kept = append(p.b.kept, p.id); p.b.mu.Unlock() }
func (p stubPlace) Cancel() {}

func (b *stubBus) Reserve(m *message.Message) (Reservation, error) { return stubPlace{b, m.ID}, nil }
func (b *stubBus) Start(func(*message.Message))                    {}
func (b *stubBus) Condition() Condition                            { return Condition{} }
func (b *stubBus) Stats(*Stats)                                    {}
func (b *stubBus) Drain(context.Context) error                     { return nil }
func (b *stubBus) Close() error                                    { return nil }

func (b *stubBus) StartControl(ControlReceiver)      {}
func (b *stubBus) PublishControl([]byte) error       { return nil }
func (b *stubBus) SendControl(uint32, []byte) error  { return nil }
func (b *stubBus) PublishPlain(string, []byte) error { return nil }
func (b *stubBus) Peers() []Peer                     { return nil }
func (b *stubBus) Alone() bool                       { return true }
func (b *stubBus) Beacon()                           {}
func (b *stubBus) Lease() time.Duration              { return time.Second }

// For every target, the local sessions and the bus see the same order, whatever
// the interleaving.
func TestCommitOrderIsDeliveryOrder(t *testing.T) {
	bus := new(stubBus)
	n, err := Open(Options{Bus: bus})
	if err != nil {
		t.Fatal(err)
	}
	rec := new(recorder)
	n.Start(rec)
	var wg sync.WaitGroup
	for p := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 500 {
				to := message.ToTopics([]string{"a", "b"}[(p+i)%2])
				if i%5 == 0 {
					to = message.ToTopics("b", "a")
				}
				if err := n.Publish(&message.Message{Target: to}); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	place := make(map[string]int)
	for i, id := range bus.kept {
		place[id] = i
	}
	for _, topic := range []string{"a", "b"} {
		last := -1
		for _, id := range idsFor(&member{n, rec, nil}, topic) {
			if place[id] < last {
				t.Fatalf("topic %s: the bus has another order", topic)
			}
			last = place[id]
		}
	}
}
