package report

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"belfry/broadcast"
	"belfry/broadcast/fakebus"
	"belfry/message"
)

// node is a node with sessions that exist only as numbers.
type node struct {
	name     string
	bus      *fakebus.Bus
	node     *broadcast.Node
	reporter *Reporter

	mu       sync.Mutex
	sessions [message.OutcomeCount]int // by what becomes of every message
	acks     int                       // written sessions that are asked to acknowledge
	took     time.Duration             // for a message
	full     bool                      // mailboxes take nothing
	last     *message.Report
	got      []string // ids of messages
}

// cluster starts nodes named a, b, …
func cluster(t *testing.T, n int, change func(*Options)) (nodes []*node) {
	network := &fakebus.Network{Delay: time.Millisecond}
	for i := range n {
		one := &node{name: string(rune('a' + i))}
		one.bus = network.Join(one.name)
		var err error
		if one.node, err = broadcast.Open(broadcast.Options{NodeName: one.name, Bus: one.bus}); err != nil {
			t.Fatal(err)
		}
		o := Options{Self: broadcast.Peer{ID: one.node.NodeID(), Name: one.name}, Bus: one.node, Control: one.node.Control(), Degraded: one.node.Degraded}
		if change != nil {
			change(&o)
		}
		one.reporter = New(o)
		one.node.Start(one)
		nodes = append(nodes, one)
		t.Cleanup(func() { // of the last node first
			one.reporter.Close()
			if err := one.node.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	synctest.Wait()
	time.Sleep(10 * time.Millisecond) // virtual: the nodes know each other
	return nodes
}

// set changes a node.
func (n *node) set(f func(n *node)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(n)
}

// Prepare implements broadcast.Local.
func (n *node) Prepare(m *message.Message) (broadcast.Prepared, error) { return prepared{n, m}, nil }

type prepared struct {
	n *node
	m *message.Message
}

func (p prepared) Await(context.Context, message.Wait) (bool, error) { return false, nil }
func (p prepared) Leave()                                            {}

// Deliver counts as shards do: some time later.
func (p prepared) Deliver() error {
	n := p.n
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.full {
		return errors.New("full")
	}
	n.got = append(n.got, p.m.ID)
	r := p.m.Report
	if r == nil {
		return nil
	}
	n.last = r
	counts, acks := n.sessions, n.acks
	r.Begin()
	time.AfterFunc(n.took, func() {
		for o, k := range counts {
			r.Add(message.Outcome(o), k)
		}
		for range acks {
			if r.Ack {
				r.Ask()
			}
		}
		r.End()
	})
	return nil
}

// push publishes to all and waits.
func (n *node) push(t *testing.T, q Query) *Result {
	t.Helper()
	return n.pushTo(t, message.ToAll(), q)
}

func (n *node) pushTo(t *testing.T, to message.Target, q Query) *Result {
	t.Helper()
	p, _, err := n.reporter.Publish(t.Context(), &message.Message{Target: to, Payload: []byte("x")}, message.Wait{}, q)
	if err != nil {
		t.Fatal(err)
	}
	return p.Await(t.Context(), nil)
}

// kept returns how many messages the reporter remembers.
func (n *node) kept() int {
	n.reporter.mu.Lock()
	defer n.reporter.mu.Unlock()
	return len(n.reporter.pending) + len(n.reporter.counted)
}

// delivered returns how many messages came.
func (n *node) delivered() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.got)
}
