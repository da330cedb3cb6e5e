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

// Node connects the sessions of this process to the bus. It implements Interest
// for the server to whose sessions it delivers. Its methods may be called from
// any goroutine.
type Node struct {
	opt     Options
	id      uint32
	log     *zap.Logger
	bus     Bus
	nats    *NATS // the same as bus; nil with Options.Bus
	ids     *identity
	stripes *stripes
	count   counters
	faults  *faults
	local   atomic.Pointer[Local]
	control *Control

	reporter reporterSeam // see report.go

	closing   chan struct{}
	closeOnce sync.Once
	closeErr  error

	// Owned by the goroutine that calls receive (see deliver.go).
	overloadWait time.Duration
}

// Open starts the embedded NATS server or begins to connect to an external one.
// It may return before an external server is reachable: Ready says when it is.
// The node receives nothing before Start. Open returns an error if an option is
// out of range, an address is in use, or a certificate or credentials file cannot
// be read.
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
	instance := newInstance()
	if n.bus = o.Bus; n.bus == nil {
		bus, err := openNATS(o, id, instance, start, n.ids)
		if err != nil {
			return nil, err
		}
		n.bus, n.nats = bus, bus
	}
	n.control = newControl(n.bus, Peer{id, o.NodeName}, instance, o.Log, n.faults, &n.count)
	n.control.reporter = &n.reporter
	return n, nil
}

// Start begins to receive. The messages of Publish and of the bus go to local.
// Start is called once, before anything is published.
func (n *Node) Start(local Local) {
	n.local.Store(&local)
	n.control.start()
	n.bus.Start(n.receive)
}

// Route has pushes to users go through the homes that r knows, if the bus is NATS. It is
// called before Start.
func (n *Node) Route(r Router) {
	if n.nats != nil && !n.nats.Alone() {
		n.nats.router.Store(&r)
	}
}

// Overhear has the relays of all nodes to all homes reach this node too, or ends that.
// A node wants it while homes may not know all of its users. Router.Overhears is called
// when they do.
func (n *Node) Overhear(on bool) {
	if n.nats != nil {
		n.nats.interest.overhearRelays(on)
	}
}

// Control returns what sends commands to other nodes.
func (n *Node) Control() *Control { return n.control }

// NodeID returns this node's id, which session ids carry.
func (n *Node) NodeID() uint32 { return n.id }

// Name returns this node's name.
func (n *Node) Name() string { return n.opt.NodeName }

// NATSAddr returns the address at which the embedded server accepts clients, ""
// if it accepts none.
func (n *Node) NATSAddr() string {
	if n.nats == nil {
		return ""
	}
	return n.nats.server.clientAddr()
}

// ClusterAddr returns the address at which the embedded server accepts routes of
// other nodes, "" if it accepts none.
func (n *Node) ClusterAddr() string {
	if n.nats == nil {
		return ""
	}
	return n.nats.server.clusterAddr()
}

// Ready returns nil, or an error with the reasons why this node should get no
// traffic. The node serves its own clients in either case.
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

// Degraded returns the reasons why messages of a ready node do not reach some
// other nodes. With Options.Required it returns nil: these reasons are in the
// error of Ready then.
func (n *Node) Degraded() []string {
	if n.opt.Required {
		return nil
	}
	return n.bus.Condition().Degraded
}

// Stats returns the counters. LostReceive is up to a second old.
func (n *Node) Stats() Stats {
	var s Stats
	n.count.fill(&s)
	n.bus.Stats(&s)
	return s
}

// OutboxTaken returns the fraction of the outbox that is taken, 0 to 1.
func (n *Node) OutboxTaken() float64 {
	if n.nats == nil {
		return 0
	}
	return n.nats.box.taken()
}

// Drain refuses further messages and waits until the outbox is empty. If ctx is
// done first, Drain returns an error that says how much is left.
func (n *Node) Drain(ctx context.Context) error { return n.bus.Drain(ctx) }

// Close ends every goroutine of the node and its embedded server. It counts the
// messages in the outbox as lost. It may be called more than once.
func (n *Node) Close() error {
	n.closeOnce.Do(func() {
		close(n.closing)
		n.control.close()
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
