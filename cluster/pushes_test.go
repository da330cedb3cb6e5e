package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"belfry/broadcast"
	"belfry/message"
)

// These tests push to users through real NATS servers, one in each node.

// real is a node with an embedded NATS server.
type real struct {
	*broadcast.Node
	t       *testing.T
	dir     *Directory
	members *Members
	cancel  context.CancelFunc
	ended   sync.WaitGroup
	keys    uint64

	mu   sync.Mutex
	held map[string]int      // sessions of each user
	got  map[string][]string // by user: payloads, while it was held
}

// Prepare implements broadcast.Local.
func (n *real) Prepare(m *message.Message) (broadcast.Prepared, error) { return taken{n, m}, nil }

// taken is a message for a real.
type taken struct {
	n *real
	m *message.Message
}

func (p taken) Await(context.Context, message.Wait) (bool, error) { return false, nil }
func (p taken) Leave()                                            {}
func (p taken) Deliver() error {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	for _, uid := range p.m.Target.Names {
		if p.n.held[uid] > 0 {
			p.n.got[uid] = append(p.n.got[uid], string(p.m.Payload))
		}
	}
	return nil
}

func startReal(t *testing.T, name string, others ...*real) *real {
	t.Helper()
	n := &real{t: t, held: make(map[string]int), got: make(map[string][]string)}
	o := broadcast.Options{NodeName: name, Beacon: 100 * time.Millisecond}
	o.Embedded.ClusterListen, o.Embedded.Listen = "127.0.0.1:0", "127.0.0.1:0"
	for _, other := range others {
		o.Embedded.Routes = append(o.Embedded.Routes, "nats://"+other.ClusterAddr())
	}
	var err error
	check := func() {
		if err != nil {
			t.Fatal(err)
		}
	}
	n.Node, err = broadcast.Open(o)
	check()
	n.members, err = NewMembers(MembersOptions{Control: n.Control(), Beacon: o.Beacon})
	check()
	n.dir, err = NewDirectory(Options{Control: n.Control(), Members: n.members, MaxSessions: 1 << 16, Overhear: n.Overhear})
	check()
	n.Route(n.dir)
	n.Start(n)
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.ended.Go(func() { n.members.Run(ctx) })
	n.ended.Go(func() { n.dir.Run(ctx) })
	t.Cleanup(n.stop)
	return n
}

// stop ends the node, once.
func (n *real) stop() {
	if n.cancel == nil {
		return
	}
	n.cancel()
	n.cancel = nil
	n.Close()
	n.ended.Wait()
	n.dir.Close()
}

// leave ends the node as a drain does.
func (n *real) leave() {
	n.dir.Leave()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := n.Drain(ctx); err != nil {
		n.t.Error(err)
	}
	n.stop()
}

// ready is a broadcast.Waiter.
type ready chan struct{}

func (r ready) UserReady(uint64) bool  { close(r); return true }
func (r ready) TopicReady(uint64) bool { return true }

// session opens a session of a user, when pushes to the user reach the node.
func (n *real) session(uid string) message.SessionKey {
	w := make(ready)
	if !n.JoinUser([]byte(uid), w, 1) {
		<-w
	} else if w := make(ready); !n.dir.JoinUser([]byte(uid), w, 1) {
		<-w
	}
	n.mu.Lock()
	n.held[uid]++
	n.keys++
	var key message.SessionKey
	binary.BigEndian.PutUint64(key[2:], n.keys)
	binary.BigEndian.PutUint32(key[12:], n.NodeID())
	n.mu.Unlock()
	n.dir.Opened([]byte(uid), Session{Key: key, Since: time.Now()})
	return key
}

func (n *real) push(uid, text string) {
	if err := n.Publish(&message.Message{Target: message.ToUsers(uid), Payload: []byte(text)}); err != nil {
		n.t.Errorf("%s pushes %s: %v", n.Name(), text, err)
	}
}

func (n *real) texts(uid string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.got[uid])
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// settled waits until pushes to users go to the nodes that have them and to no others.
func settled(t *testing.T, nodes ...*real) {
	t.Helper()
	for _, n := range nodes {
		until(t, n.Name()+" knows all", func() bool {
			st := n.dir.Stats()
			return st.Holders == len(nodes)-1 && st.Pending == 0 && !st.Overhearing
		})
		until(t, n.Name()+" is sure", func() bool {
			n.dir.mu.Lock()
			defer n.dir.mu.Unlock()
			return time.Now().After(n.dir.unsure)
		})
	}
}

// userOf returns a user whose home is a node, a different one for each number.
func userOf(n *real, number int) string {
	for i := 0; ; i++ {
		uid := fmt.Sprint("u", i)
		if home, _ := n.dir.Homes().Home(broadcast.UserBucket(uid)); home == n.NodeID() {
			if number == 0 {
				return uid
			}
			number--
		}
	}
}

// A push goes to the nodes that have the user, and to the home: to no other node.
func TestPushesGoToHolders(t *testing.T) {
	a := startReal(t, "a")
	b := startReal(t, "b", a)
	c := startReal(t, "c", a, b)
	nodes := []*real{a, b, c}
	settled(t, nodes...)
	const pushes = 50
	for _, tc := range []struct {
		name             string
		home, from, hold *real
		want             [3]uint64 // messages received by a, b, c for each push
	}{
		{"home publishes", a, a, b, [3]uint64{0, 1, 0}},
		{"holder publishes", a, b, b, [3]uint64{1, 0, 0}},
		{"home holds", a, b, a, [3]uint64{1, 0, 0}},
		{"by the home", a, b, c, [3]uint64{1, 0, 1}},
		{"by the other home", b, a, c, [3]uint64{0, 1, 1}},
		{"nobody holds", a, b, nil, [3]uint64{1, 0, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			uid := userOf(tc.home, len(tc.name)) // a user of its own
			if tc.hold != nil {
				tc.hold.session(uid)
			}
			var before [3]uint64
			for i, n := range nodes {
				before[i] = n.Stats().Received
			}
			for i := range pushes {
				tc.from.push(uid, fmt.Sprint(i))
			}
			until(t, "delivery", func() bool { return tc.hold == nil || len(tc.hold.texts(uid)) == pushes })
			until(t, "confirmation", func() bool {
				st := tc.from.Stats()
				return st.Routes.Relayed == st.Routes.Confirmed && st.OutboxMessages == 0
			})
			for i, n := range nodes {
				if got := n.Stats().Received - before[i]; got != tc.want[i]*pushes {
					t.Errorf("%s received %d messages for %d pushes, want %d", n.Name(), got, pushes, tc.want[i]*pushes)
				}
			}
			if tc.hold != nil {
				inOrder(t, tc.hold.Name(), tc.hold.texts(uid), pushes)
			}
		})
	}
	for _, n := range nodes {
		if st := n.Stats(); st.Gaps+st.Malformed+st.Routes.Dropped+st.Routes.Republished+st.Routes.Overdue != 0 {
			t.Errorf("%s: %+v", n.Name(), st)
		}
	}
}

// inOrder checks that texts are 0, 1, 2, …
func inOrder(t *testing.T, name string, texts []string, n int) {
	t.Helper()
	for i, text := range texts {
		if text != fmt.Sprint(i) {
			t.Fatalf("%s: got %q as number %d", name, text, i)
		}
	}
	if len(texts) != n {
		t.Fatalf("%s: got %d of %d", name, len(texts), n)
	}
}

// A session that opens gets every push that is published from then on.
func TestSessionOpensWhenTheHomeExpectsIt(t *testing.T) {
	a := startReal(t, "a")
	b := startReal(t, "b", a)
	c := startReal(t, "c", a, b)
	settled(t, a, b, c)
	for i := range 200 {
		uid := userOf(a, i)
		b.session(uid)
		c.push(uid, "0")
		until(t, "the push to "+uid, func() bool { return len(b.texts(uid)) == 1 })
	}
	if st := b.dir.Stats(); st.Expected != 200 || st.Overheard != 0 || st.Overhearing {
		t.Errorf("%+v", st)
	}
}

// writer pushes to users on a node until it is stopped.
type writer struct {
	n     *real
	stop  chan struct{}
	ended sync.WaitGroup
	count map[string]int
}

func (n *real) write(uids ...string) *writer {
	w := &writer{n: n, stop: make(chan struct{}), count: make(map[string]int)}
	w.ended.Go(func() {
		for {
			for n.Stats().OutboxMessages > 2000 { // on a busy machine the sender is slower
				time.Sleep(time.Millisecond)
			}
			for _, uid := range uids {
				n.push(uid, fmt.Sprint(n.Name(), " ", w.count[uid]))
				w.count[uid]++
			}
			select {
			case <-w.stop:
				return
			case <-time.After(2 * time.Millisecond): // or slow nodes answer no question in time
			}
		}
	})
	return w
}

func (w *writer) end() {
	close(w.stop)
	w.ended.Wait()
}

// ofPublisher returns the numbers of one publisher in texts.
func ofPublisher(texts []string, name string) (numbers []string) {
	for _, text := range texts {
		if from, number, _ := strings.Cut(text, " "); from == name {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// Homes move while two nodes and a NATS client push without a pause: nodes join, one
// leaves, one is killed. Every push arrives once and in order per publisher.
func TestPushesWhileHomesMove(t *testing.T) {
	a := startReal(t, "a")
	b := startReal(t, "b", a)
	settled(t, a, b)
	var uids []string
	for i := range 12 {
		uids = append(uids, fmt.Sprint("user-", i))
		a.session(uids[i])
		b.session(uids[i])
	}
	foreign, err := nats.Connect("nats://" + b.NATSAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	awaitForeign(t, foreign, a, b)
	writers := []*writer{a.write(uids...), b.write(uids...)}
	stop, ended, sent := make(chan struct{}), make(chan struct{}), 0
	go func() {
		defer close(ended)
		for ; ; sent++ {
			for _, uid := range uids {
				m := &nats.Msg{Subject: fmt.Sprint("belfry.user.", broadcast.UserBucket(uid)), Header: nats.Header{"Belfry-User": {uid}}, Data: fmt.Append(nil, "foreign ", sent)}
				if err := foreign.PublishMsg(m); err != nil {
					t.Error(err)
				}
			}
			select {
			case <-stop:
				sent++
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	c := startReal(t, "c", a, b)
	settled(t, a, b, c)
	d := startReal(t, "d", a, b, c)
	settled(t, a, b, c, d)
	c.leave()
	settled(t, a, b, d)
	d.stop() // without a word: its homes go when the others miss it
	until(t, "d is missed", func() bool { return a.dir.Stats().Holders == 1 && b.dir.Stats().Holders == 1 })
	time.Sleep(200 * time.Millisecond)
	for _, w := range writers {
		w.end()
	}
	close(stop)
	<-ended
	foreign.Flush()
	for _, n := range []*real{a, b} {
		for _, uid := range uids {
			for name, want := range map[string]int{"a": writers[0].count[uid], "b": writers[1].count[uid], "foreign": sent} {
				until(t, fmt.Sprintf("%s has all of %s for %s", n.Name(), name, uid), func() bool { return len(ofPublisher(n.texts(uid), name)) >= want })
				inOrder(t, n.Name()+" of "+name, ofPublisher(n.texts(uid), name), want)
			}
		}
		t.Logf("%s: %+v", n.Name(), n.Stats().Routes)
	}
	if st := a.Stats().Routes; st.Relayed == 0 || st.Held == 0 || st.Copies == 0 {
		t.Errorf("homes did not move: %+v", st)
	}
}

// awaitForeign waits until messages of a NATS client reach nodes.
func awaitForeign(t *testing.T, foreign *nats.Conn, nodes ...*real) {
	t.Helper()
	uid := "probe"
	for _, n := range nodes {
		n.session(uid)
	}
	until(t, "a route from the client", func() bool {
		foreign.PublishMsg(&nats.Msg{Subject: fmt.Sprint("belfry.user.", broadcast.UserBucket(uid)), Header: nats.Header{"Belfry-User": {uid}}})
		return !slices.ContainsFunc(nodes, func(n *real) bool { return len(n.texts(uid)) == 0 })
	})
}
