package idempotency

import (
	"context"
	"sync"
	"testing"
	"time"

	"belfry/broadcast"
	"belfry/broadcast/fakebus"
	"belfry/cluster"
)

// node is a node of a cluster on a fake bus.
type node struct {
	*Keys
	name string
	bus  *fakebus.Bus
	node *broadcast.Node
	stop func()
}

const beacon = 50 * time.Millisecond

// rig is a cluster.
type rig struct {
	t     *testing.T
	net   *fakebus.Network
	nodes map[string]*node
}

func newRig(t *testing.T, names ...string) *rig {
	r := &rig{t: t, net: &fakebus.Network{Delay: time.Millisecond, Every: beacon}, nodes: map[string]*node{}}
	for _, name := range names {
		r.start(name)
	}
	time.Sleep(5 * time.Second) // virtual: the nodes know each other
	t.Cleanup(func() {
		for _, n := range r.nodes {
			n.stop()
		}
	})
	return r
}

func (r *rig) start(name string) *node {
	r.t.Helper()
	n := &node{name: name, bus: r.net.Join(name)}
	var err error
	check := func() {
		if err != nil {
			r.t.Fatal(err)
		}
	}
	n.node, err = broadcast.Open(broadcast.Options{NodeName: name, Bus: n.bus})
	check()
	members, err := cluster.NewMembers(cluster.MembersOptions{Control: n.node.Control(), Beacon: beacon, GoneAfter: 500 * time.Millisecond})
	check()
	var dir *cluster.Directory
	n.Keys, err = New(Options{Control: n.node.Control(), Members: members, Homes: func() *cluster.Homes { return dir.Homes() }, Reach: n.node.Degraded})
	check()
	dir, err = cluster.NewDirectory(cluster.Options{Control: n.node.Control(), Members: members, MaxSessions: 1 << 10})
	check()
	n.node.Start(fakebus.Nowhere{})
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() { members.Run(ctx) })
	ended.Go(func() { dir.Run(ctx) })
	n.stop = sync.OnceFunc(func() {
		cancel()
		n.node.Close()
		ended.Wait()
		dir.Close()
	})
	r.nodes[name] = n
	return n
}

// kill ends a node as kill -9 does.
func (r *rig) kill(n *node) {
	n.bus.Kill()
	n.stop()
	delete(r.nodes, n.name)
}

// try claims a key with the deadline of the API.
func (n *node) try(id ID, print Print) (*Claim, *Answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return n.Claim(ctx, id, print)
}

// homed returns a key whose home is a node.
func (r *rig) homed(home *node, number byte) ID {
	for i := range uint16(cluster.Buckets) {
		id := ID{byte(i >> 8), byte(i), 2: number}
		if at, _ := home.opt.Homes().Home(bucketOf(id)); at == home.self {
			return id
		}
	}
	r.t.Fatal("no bucket")
	return ID{}
}
