package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"belfry/broadcast"
	"belfry/broadcast/fakebus"
	"belfry/message"
)

// rig is a cluster on a fake bus, and the truth about it.
type rig struct {
	t     testing.TB
	net   *fakebus.Network
	nodes map[string]*node
	rand  *rand.Rand
	keys  uint64
	users int
	joins int
	caps  Caps

	losing atomic.Bool // control messages get lost
	tables *tables     // nil: nobody is told who is online
}

// node is one node of a rig.
type node struct {
	*broadcast.Node
	bus     *fakebus.Bus
	members *Members
	dir     *Directory
	cancel  context.CancelFunc
	ended   sync.WaitGroup
	side    int
	listens atomic.Int32         // the same as side
	told    atomic.Pointer[told] // nil: nobody notes it

	truth map[message.SessionKey]string // uid of each session

	mu   sync.Mutex
	gone map[string][]string // by node: users of the sessions of which OnGone told

	evictions []evicted // that Options.Evict was told of
}

const beacon = 50 * time.Millisecond

func newRig(t testing.TB, seed uint64, users int) *rig {
	r := &rig{
		t: t, nodes: make(map[string]*node), users: users, rand: rand.New(rand.NewPCG(seed, 7)),
		net: &fakebus.Network{Delay: time.Millisecond, Every: beacon},
	}
	t.Cleanup(func() {
		for name := range maps.Clone(r.nodes) {
			r.stop(name, true)
		}
	})
	return r
}

func (r *rig) start(name string) *node {
	r.t.Helper()
	if r.nodes[name] != nil {
		return nil
	}
	n := &node{bus: r.net.Join(name), truth: make(map[message.SessionKey]string), gone: make(map[string][]string)}
	var err error
	check := func() {
		if err != nil {
			r.t.Fatal(err)
		}
	}
	n.Node, err = broadcast.Open(broadcast.Options{NodeName: name, Bus: n.bus})
	check()
	n.members, err = NewMembers(MembersOptions{Control: n.Control(), Beacon: beacon, GoneAfter: 500 * time.Millisecond})
	check()
	o := Options{Control: n.Control(), Members: n.members, MaxSessions: 1 << 16, AskTime: 300 * time.Millisecond, List: time.Second, Caps: r.caps, Evict: n.evict}
	if r.tables != nil {
		o.Users = teller{r.tables, n}
	}
	n.dir, err = NewDirectory(o)
	check()
	n.dir.OnGone(func(m Member, sessions []GoneSession) {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, s := range sessions {
			n.gone[m.Name] = append(n.gone[m.Name], s.UID)
		}
	})
	n.Start(fakebus.Nowhere{})
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.ended.Go(func() { n.members.Run(ctx) })
	n.ended.Go(func() { n.dir.Run(ctx) })
	r.nodes[name] = n
	return n
}

// stop ends a node: gracefully, or as kill -9 does.
func (r *rig) stop(name string, kill bool) {
	n := r.nodes[name]
	delete(r.nodes, name)
	if kill {
		n.bus.Kill()
	} else {
		n.dir.Leave()
		for key, uid := range n.truth {
			n.dir.Closed([]byte(uid), key)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := n.dir.Flush(ctx); err != nil && n.side == 0 {
			r.t.Error(err)
		}
	}
	n.cancel()
	n.Close()
	n.ended.Wait()
	n.dir.Close()
}

// open opens sessions of random users.
func (r *rig) open(n *node, sessions int) {
	for range sessions {
		uid := fmt.Sprint("user-", r.rand.IntN(r.users))
		r.openFor(n, uid)
	}
}

func (r *rig) openFor(n *node, uid string) message.SessionKey {
	var key message.SessionKey
	r.keys++
	binary.BigEndian.PutUint64(key[2:], r.keys)
	binary.BigEndian.PutUint64(key[10:], mix(r.keys))
	n.truth[key] = uid
	n.dir.Opened([]byte(uid), Session{Key: key, Since: time.Now(), Class: "phone"})
	return key
}

// shut closes random sessions.
func (r *rig) shut(n *node, sessions int) {
	keys := slices.SortedFunc(maps.Keys(n.truth), func(a, b message.SessionKey) int { return slices.Compare(a[:], b[:]) })
	r.rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	for _, key := range keys[:min(sessions, len(keys))] {
		n.dir.Closed([]byte(n.truth[key]), key)
		delete(n.truth, key)
	}
}

// expect returns the holders of uid on one side, as Where should return them.
func (r *rig) expect(uid string, side int) string {
	var all []string
	for name, n := range r.nodes {
		count := 0
		for _, u := range n.truth {
			if u == uid {
				count++
			}
		}
		if count > 0 && n.side == side {
			all = append(all, fmt.Sprint(name, ":", count))
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func show(holders []Holder) string {
	var all []string
	for _, h := range holders {
		all = append(all, fmt.Sprint(h.Name, ":", h.Count))
	}
	return strings.Join(all, " ")
}

// names returns the nodes in order.
func (r *rig) names() []string { return slices.Sorted(maps.Keys(r.nodes)) }

// check compares what every node finds about users with the truth.
func (r *rig) check(when string, users int) {
	r.t.Helper()
	for range users {
		name := r.names()[r.rand.IntN(len(r.nodes))]
		uid := fmt.Sprint("user-", r.rand.IntN(r.users))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		got, err := r.nodes[name].dir.Where(ctx, uid)
		cancel()
		if want := r.expect(uid, r.nodes[name].side); err != nil || show(got) != want {
			r.t.Errorf("%s: %s finds %s at %q (%v); want %q", when, name, uid, show(got), err, want)
		}
	}
	r.checkKept(when)
}

// checkKept compares what every node has in its store with the truth of its side: its
// own sessions, and those of the holders that it keeps, once each.
func (r *rig) checkKept(when string) {
	r.t.Helper()
	for name, n := range r.nodes {
		own, kept := len(n.truth), 0
		homes := n.dir.Homes()
		for _, other := range r.nodes {
			if other == n || other.side != n.side {
				continue
			}
			for _, uid := range other.truth {
				if keeper, ok := homes.Keeper(broadcast.UserBucket(uid), other.NodeID()); ok && keeper == n.NodeID() {
					kept++
				}
			}
		}
		s := n.dir.Stats()
		if s.Own != own || s.Kept != kept || s.Pending != 0 {
			r.t.Errorf("%s: %s has %d own sessions and keeps %d, %d buckets pending; want %d and %d, 0", when, name, s.Own, s.Kept, s.Pending, own, kept)
		}
	}
}

// tables are what somebody knows of a side of the network who only listens: the users of
// each bucket that are online, by side.
type tables struct {
	mu    sync.Mutex
	sides map[int]map[uint16]map[string]bool
}

// of returns the users of a bucket. tables.mu is held.
func (t *tables) of(side int, bucket uint16) map[string]bool {
	if t.sides[side] == nil {
		t.sides[side] = make(map[uint16]map[string]bool)
	}
	if t.sides[side][bucket] == nil {
		t.sides[side][bucket] = make(map[string]bool)
	}
	return t.sides[side][bucket]
}

// teller is a Users that tells those who listen on the side of its node.
type teller struct {
	*tables
	n *node
}

func (t teller) Online(uid string) { t.set(uid, true) }

func (t teller) Offline(uid string) { t.set(uid, false) }

func (t teller) set(uid string, online bool) {
	t.n.told.Load().set(uid, online)
	t.mu.Lock()
	defer t.mu.Unlock()
	if users := t.of(int(t.n.listens.Load()), broadcast.UserBucket(uid)); online {
		users[uid] = true
	} else {
		delete(users, uid)
	}
}

func (t teller) List(bucket uint16, uids []string) {
	t.n.told.Load().list(bucket, uids)
	t.mu.Lock()
	defer t.mu.Unlock()
	users := t.of(int(t.n.listens.Load()), bucket)
	clear(users)
	for _, uid := range uids {
		users[uid] = true
	}
}

// checkTables compares what those know who listen with the truth of each side.
func (r *rig) checkTables(when string) {
	r.t.Helper()
	sides := make(map[int]map[string]bool)
	for _, n := range r.nodes {
		if sides[n.side] == nil {
			sides[n.side] = make(map[string]bool)
		}
		for _, uid := range n.truth {
			sides[n.side][uid] = true
		}
	}
	r.tables.mu.Lock()
	defer r.tables.mu.Unlock()
	for side, want := range sides {
		got := make(map[string]bool)
		for _, users := range r.tables.sides[side] {
			maps.Copy(got, users)
		}
		if !maps.Equal(got, want) {
			r.t.Errorf("%s: on side %d a table has %d users online, want %d", when, side, len(got), len(want))
		}
	}
}
