package broadcast

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Node is this process on the bus. Its methods may be called from any
// goroutine. It is the Interest of the server whose sessions it
// delivers to.
type Node struct {
	opt     Options
	id      uint32
	log     *zap.Logger
	bus     Bus
	nats    *NATS // the bus, if it is NATS
	ids     *identity
	stripes *stripes
	count   counters
	faults  *faults
	local   atomic.Pointer[Local]

	closing   chan struct{}
	closeOnce sync.Once
	closeErr  error

	// Owned by the goroutine that receives (see deliver.go).
	overloadWait time.Duration
}

// Open starts the embedded NATS server or begins to connect to an external
// one. It returns before an external one is reachable: Ready tells. Nothing is
// received before Start. Errors: *message.FieldError for an option out of
// range, otherwise what was tried and why it failed (an address in use, a
// certificate file that cannot be read).
func Open(o Options) (*Node, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	id := NodeID(o.NodeName)
	start := o.clock.now()
	n := &Node{
		opt:          o,
		id:           id,
		log:          o.Log,
		ids:          newIdentity(id, start),
		stripes:      newStripes(),
		closing:      make(chan struct{}),
		overloadWait: o.OverloadWait,
	}
	n.faults = newFaults(o.Log, &n.count.faults)
	if o.Bus != nil {
		n.bus = o.Bus
		return n, nil
	}
	bus, err := openNATS(o, id, start, n.ids)
	if err != nil {
		return nil, err
	}
	n.bus, n.nats = bus, bus
	return n, nil
}

// Start begins to receive; local gets what Publish and the bus bring. It is
// called once, before anything is published.
func (n *Node) Start(local Local) {
	n.local.Store(&local)
	n.bus.Start(n.receive)
}

// NodeID returns this node's id, which session ids carry.
func (n *Node) NodeID() uint32 { return n.id }

// Name returns this node's name.
func (n *Node) Name() string { return n.opt.NodeName }

// NATSAddr returns the address the embedded server listens on for clients, ""
// if it does not.
func (n *Node) NATSAddr() string {
	if n.nats == nil {
		return ""
	}
	return n.nats.server.clientAddr()
}

// ClusterAddr returns the address the embedded server listens on for routes,
// "" if it does not.
func (n *Node) ClusterAddr() string {
	if n.nats == nil {
		return ""
	}
	return n.nats.server.clusterAddr()
}

// Ready returns nil, or why this node should get no traffic. What it has
// without other nodes goes on regardless.
func (n *Node) Ready() error {
	if n.local.Load() == nil {
		return errors.New("bus: not started")
	}
	c := n.bus.Condition()
	reasons := c.Unready
	if n.opt.Required {
		reasons = append(reasons, c.Degraded...)
	}
	if len(reasons) == 0 {
		return nil
	}
	return errors.New(strings.Join(reasons, "; "))
}

// Degraded returns what a node that is ready has lost of the others: with
// Options.Required nothing, since it is not ready then.
func (n *Node) Degraded() []string {
	if n.opt.Required {
		return nil
	}
	return n.bus.Condition().Degraded
}

// Stats returns what was counted. Losses inside nats.go are a second behind.
func (n *Node) Stats() Stats {
	var s Stats
	n.count.fill(&s)
	n.bus.Stats(&s)
	return s
}

// OutboxTaken returns which part of the outbox is taken, 0 to 1.
func (n *Node) OutboxTaken() float64 {
	if n.nats == nil {
		return 0
	}
	return n.nats.box.taken()
}

// Drain refuses further messages and waits until the outbox is empty. When
// ctx ends first it returns an error that says how much was left.
func (n *Node) Drain(ctx context.Context) error { return n.bus.Drain(ctx) }

// Close ends every goroutine of the node and its embedded server, and counts
// what was still in the outbox as lost. It may be called more than once.
func (n *Node) Close() error {
	n.closeOnce.Do(func() {
		close(n.closing)
		n.closeErr = n.bus.Close()
	})
	return n.closeErr
}

// JoinUser implements Interest.
func (n *Node) JoinUser(uid []byte, w Waiter, token uint64) bool {
	return n.bus.JoinUser(uid, w, token)
}

// LeaveUser implements Interest.
func (n *Node) LeaveUser(uid []byte) { n.bus.LeaveUser(uid) }

// JoinTopic implements Interest.
func (n *Node) JoinTopic(topic []byte, w Waiter, token uint64) bool {
	return n.bus.JoinTopic(topic, w, token)
}

// LeaveTopic implements Interest.
func (n *Node) LeaveTopic(topic []byte) { n.bus.LeaveTopic(topic) }
