package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"belfry/broadcast"
	"belfry/broadcast/fakebus"
	"belfry/cluster"
	"belfry/message"
	"belfry/offheap"
)

// simFolder is the variable that names the folder for the charts of the large
// simulation. Without it the small one runs, which draws nothing.
const simFolder = "BELFRY_SIM"

// simSize is what is simulated.
type simSize struct{ nodes, sessions int } // sessions of each node

// simCluster is nodes on a bus in memory: the code of package cluster, and virtual
// time. What the processors need to compute takes no time in it.
type simCluster struct {
	t     *testing.T
	size  simSize
	net   *fakebus.Network
	nodes []*simNode
	all   map[string]*simNode // by name; not changed after the first node has started
	told  atomic.Int64        // sessions of nodes that died, of which somebody was told
}

// simNode is one node of it.
type simNode struct {
	*broadcast.Node
	bus     *fakebus.Bus
	dir     *cluster.Directory
	memory  offheap.Owners
	stop    context.CancelFunc
	ended   sync.WaitGroup
	traffic [2]simTraffic // sent, received
}

// simTraffic is what went over the bus for package cluster, without beacons and without
// what NATS adds to a message.
type simTraffic struct{ messages, bytes atomic.Int64 }

func (s *simTraffic) add(bytes int) { s.messages.Add(1); s.bytes.Add(int64(bytes)) }

// simLease is that of 100 nodes with the default of nats.beacon (Control.Lease).
const simLease = 50 * time.Second

func newSimCluster(t *testing.T, size simSize) *simCluster {
	s := &simCluster{t: t, size: size, all: make(map[string]*simNode)}
	s.net = &fakebus.Network{Delay: time.Millisecond, Every: time.Second, Drop: func(from, to string, p []byte) bool {
		s.all[from].traffic[0].add(len(p))
		s.all[to].traffic[1].add(len(p))
		return false
	}}
	for i := range size.nodes + 1 { // one of them joins later
		s.all[fmt.Sprintf("n%03d", i)] = s.newNode(i)
	}
	return s
}

// newNode makes a node that is not started.
func (s *simCluster) newNode(i int) *simNode {
	n := &simNode{bus: s.net.Join(fmt.Sprintf("n%03d", i))}
	var err error
	if n.Node, err = broadcast.Open(broadcast.Options{NodeName: fmt.Sprintf("n%03d", i), Bus: n.bus}); err != nil {
		s.t.Fatal(err)
	}
	// Tickers of one process fire together. Different intervals spread the moments at
	// which nodes look for silent ones, as in processes of their own.
	every := time.Second + time.Duration(i)*time.Millisecond
	members, err := cluster.NewMembers(cluster.MembersOptions{Control: n.Control(), Beacon: every, GoneAfter: simLease})
	if err != nil {
		s.t.Fatal(err)
	}
	n.dir, err = cluster.NewDirectory(cluster.Options{Control: n.Control(), Members: members, Memory: &n.memory})
	if err != nil {
		s.t.Fatal(err)
	}
	n.dir.OnGone(func(_ cluster.Member, sessions []cluster.GoneSession) { s.told.Add(int64(len(sessions))) })
	s.nodes = append(s.nodes, n)
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.ended.Go(func() { members.Run(ctx) })
	return n
}

// start opens the sessions of a node, and starts it.
func (s *simCluster) start(i, sessions int) {
	n := s.nodes[i]
	var key message.SessionKey
	for j := range sessions {
		number := uint64(i)<<32 | uint64(j)
		binary.BigEndian.PutUint64(key[2:], number)
		binary.BigEndian.PutUint64(key[10:], number*0x9e3779b97f4a7c15)
		n.dir.Opened(fmt.Appendf(nil, "user-%03d-%07d", i, j), cluster.Session{Key: key, Since: time.Now()})
	}
	n.Start(fakebus.Nowhere{})
	ctx, stop := context.WithCancel(context.Background())
	ends := n.stop
	n.stop = func() { stop(); ends() }
	n.ended.Go(func() { n.dir.Run(ctx) })
}

// end ends a node without a word.
func (n *simNode) end() {
	n.bus.Kill()
	n.stop()
	n.Close()
	n.ended.Wait()
	n.dir.Close()
}

// sum adds up what some nodes know.
func (s *simCluster) sum(nodes []*simNode) (sum cluster.Stats) {
	for _, n := range nodes {
		st := n.dir.Stats()
		sum.Own += st.Own
		sum.Kept += st.Kept
		sum.Pending += st.Pending
		sum.Gone += st.Gone
	}
	return sum
}

// complete fails unless some nodes know all of their sessions.
func (s *simCluster) complete(when string, nodes []*simNode) {
	s.t.Helper()
	if sum := s.sum(nodes); sum.Kept != sum.Own || sum.Pending != 0 {
		s.t.Errorf("%s: %d sessions, of which %d have a keeper; %d buckets pending", when, sum.Own, sum.Kept, sum.Pending)
	}
}

// A node of a large cluster dies: how long it takes until each session of the others is
// known to two nodes again, and what that costs each node. Then a node joins.
func TestClusterSimulation(t *testing.T) {
	size, folder := simSize{10, 1000}, os.Getenv(simFolder)
	if folder != "" {
		size = simSize{100, 200_000}
	}
	synctest.Test(t, func(t *testing.T) {
		s := newSimCluster(t, size)
		defer func() {
			for _, n := range s.nodes {
				n.end()
			}
		}()
		var opening sync.WaitGroup
		for i := range size.nodes {
			opening.Go(func() { s.start(i, size.sessions) })
		}
		opening.Wait()
		time.Sleep(20 * time.Second)
		alive := s.nodes[:size.nodes]
		s.complete("opened", alive)
		bytes := 0.0
		for _, n := range alive {
			bytes += float64(n.memory.Bytes()["cluster"])
		}
		all := float64(size.nodes * size.sessions)
		t.Logf("%d nodes with %d sessions each: %.1f bytes for each of the %.0f sessions that a node holds or keeps", size.nodes, size.sessions, bytes/all/2, 2*all)
		if bytes/all/2 > 100 {
			t.Error("more than 100 bytes")
		}

		death := s.dies()
		s.joins()
		if folder != "" {
			death.draw(t, folder)
		}
	})
}

// dies has the first node die.
func (s *simCluster) dies() *simWatch {
	t, size, alive := s.t, s.size, s.nodes[1:s.size.nodes]
	dead, kept := s.nodes[0], s.nodes[0].dir.Stats().Kept
	dead.bus.Kill()
	dead.stop() // else it tells of all others

	// missing returns the sessions of the others without a keeper.
	missing := func() int {
		sum := s.sum(alive)
		return sum.Own - (sum.Kept - (size.sessions - int(sum.Gone)))
	}
	if got := missing(); got != kept {
		t.Errorf("%d sessions lost their keeper; want %d", got, kept)
	}
	death := s.watch(alive, simLease-time.Second, simLease+3*time.Second, 20*time.Millisecond, missing)
	s.complete("a node died", alive)
	if told := s.told.Load(); told != int64(size.sessions) {
		t.Errorf("somebody was told of %d sessions of the node that died; want %d, each once", told, size.sessions)
	}
	if took := death.report(t, "a node dies", kept); took > simLease+2*time.Second {
		t.Errorf("a node dies: all is known after %v; want the lease and 2 s", took)
	}
	return death
}

// joins has a node join the others.
func (s *simCluster) joins() {
	t, size := s.t, s.size
	s.start(size.nodes, 0)
	joined := s.nodes[1:]
	join := s.watch(joined, 0, time.Second, time.Millisecond, func() int { sum := s.sum(joined); return sum.Own - sum.Kept })
	s.complete("a node joined", joined)
	if took := join.report(t, "a node joins", s.nodes[size.nodes].dir.Stats().Kept); took > time.Second/2 {
		t.Errorf("a node joins: all is known after %v", took)
	}
}
