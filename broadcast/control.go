package broadcast

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Peer is another node.
type Peer struct {
	ID   uint32
	Name string
}

// Handler runs a command that another node sent. Only an ask has its answer
// awaited, until ctx is done; the answer of a tell is ignored. A command may come
// again, or not at all: running it twice must do the same as running it once. The
// error's text goes to the other node. The handler may keep body. Commands of one
// kind are handled one after the other, in the order in which they arrived.
type Handler func(ctx context.Context, from Peer, body []byte) (answer []byte, err error)

// Control sends commands to other nodes and runs the commands that they send. A
// command has a kind, which selects its handler, and a body of at most
// MaxControlBody bytes. Commands are not kept for a node that is away: the sender
// gets an error, or does not find the node among the answers. Whoever needs a
// state to be the same on all nodes asks for it when OnPeer says that a node is
// there.
//
// Handle, OnPeer, OnBeacon and Describe are called before Node.Start, the other
// methods by any goroutine.
type Control struct {
	bus    ControlBus
	self   Peer
	log    *zap.Logger // sampled
	faults *faults
	count  *counters
	stop   context.Context // done when the node is closed
	cancel context.CancelFunc
	wg     sync.WaitGroup // goroutines of kinds

	kinds    map[string]*kind // this group is not changed after Node.Start
	onPeer   []func(Peer)
	onBeacon []func(Sighting)
	describe func(*Status) // nil: nothing
	reporter *reporterSeam
	instance atomic.Pointer[string] // of this process, or of the one before

	presence atomic.Uint32 // a Presence

	mu    sync.Mutex // guards this group; held for a few assignments
	asked map[uint64]*question
	ref   uint64 // of the last ask; begins at a random number, so that answers to an earlier process match nothing
}

// kind is a kind of commands. Each has a goroutine of its own, so that a slow
// handler delays no others.
type kind struct {
	handler Handler
	queue   chan command // nil: the handler is called at once
}

// maxQueued is the number of commands of a kind that wait for its handler.
// Further ones are dropped: an ask is then answered with a refusal.
const maxQueued = 256

// command is a control message that waits for its handler.
type command struct {
	controlMessage
	until time.Time // when its answer is not awaited any more; zero for a tell
}

// question is an ask whose answers are awaited.
type question struct {
	kind string
	got  chan Answer // has room for an answer of every node that is asked
}

// Answer is what one node answered.
type Answer struct {
	Peer
	Body []byte
	Err  error // a *RefusedError, or ErrUnanswered
}

// Errors of Control. ErrUnanswered is the error of a node that did not answer in
// time: the command may have been run or not.
var (
	ErrUnanswered = errors.New("no answer in time")
	errClosed     = errors.New("the bus is closed")
)

// RefusedError is the answer of a node that did not run a command, or whose
// handler failed.
type RefusedError struct {
	Node, Detail string
}

func (e *RefusedError) Error() string { return "node " + e.Node + ": " + e.Detail }

func newControl(bus ControlBus, self Peer, instance string, log *zap.Logger, faults *faults, count *counters) *Control {
	c := &Control{
		bus: bus, self: self, log: sampled(log), faults: faults, count: count,
		kinds: make(map[string]*kind), asked: make(map[uint64]*question), ref: rand.Uint64(),
	}
	c.instance.Store(&instance)
	c.stop, c.cancel = context.WithCancel(context.Background())
	return c
}

// Handle sets the handler of a kind: 1 to 32 of a-z, 0-9, - and dots.
func (c *Control) Handle(name string, h Handler) {
	if !validKind(name) || c.kinds[name] != nil {
		panic("broadcast: kind " + name + " is not valid or has a handler") // a fault in the program, found by every test
	}
	c.kinds[name] = &kind{handler: h, queue: make(chan command, maxQueued)}
}

// HandleAtOnce is Handle for a handler that is called where commands are received, so
// that no queue can be full. It must not block, and take microseconds.
func (c *Control) HandleAtOnce(name string, h Handler) {
	c.Handle(name, h)
	c.kinds[name].queue = nil
}

// OnPeer has f called each time when commands of another node, or to it, may have
// been lost before: the node joined, restarted or is back after silence, or this
// node's own connection is back. f must not block.
func (c *Control) OnPeer(f func(Peer)) { c.onPeer = append(c.onPeer, f) }

// Alone reports whether no other node can exist, because this one has no address
// and no NATS server outside its process.
func (c *Control) Alone() bool { return c.bus.Alone() }

// Peers returns the other nodes that are present.
func (c *Control) Peers() []Peer { return c.bus.Peers() }

func (c *Control) start() {
	for _, k := range c.kinds {
		if k.queue != nil {
			c.wg.Add(1)
			go c.run(k)
		}
	}
	c.bus.StartControl(c)
}

// close ends every goroutine and every wait for an answer. The last beacon, which
// the bus sends when it closes, says that the node has left.
func (c *Control) close() {
	c.presence.Store(uint32(Left))
	c.cancel()
	c.wg.Wait()
}

// Send sends a command to all other nodes that are present now. It returns an
// error if the command left this node for none of them.
func (c *Control) Send(kind string, body []byte) error {
	return c.publish(nil, &controlMessage{form: formTell, kind: kind, body: body})
}

// SendTo sends a command to one node.
func (c *Control) SendTo(node uint32, kind string, body []byte) error {
	return c.publish(&node, &controlMessage{form: formTell, kind: kind, body: body})
}

// publish sends m to one node, or to all others if node is nil.
func (c *Control) publish(node *uint32, m *controlMessage) (err error) {
	switch {
	case !validKind(m.kind):
		return fmt.Errorf("control: %q is not valid as a kind", m.kind)
	case len(m.body) > MaxControlBody:
		return fmt.Errorf("control: a body of %d bytes; allowed are at most %d", len(m.body), MaxControlBody)
	case c.stop.Err() != nil:
		return errClosed
	}
	m.from = c.self
	p := m.append(make([]byte, 0, maxControlHead+len(m.body)))
	if node == nil {
		err = c.bus.PublishControl(p)
	} else {
		err = c.bus.SendControl(*node, p)
	}
	if err == nil {
		c.count.controlSent.Add(1)
	}
	return err
}

// Ask sends a command to one node and returns its answer. Errors: *RefusedError;
// ErrUnanswered when ctx is done, or after a minute; the error of Send.
func (c *Control) Ask(ctx context.Context, node uint32, kind string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, maxAsk)
	defer cancel()
	q, ref := c.open(kind, 1)
	defer c.forget(ref)
	if err := c.publish(&node, &controlMessage{form: formAsk, kind: kind, body: body, ref: ref, left: timeLeft(ctx)}); err != nil {
		return nil, err
	}
	for {
		select {
		case a := <-q.got:
			if a.ID != node {
				continue
			}
			return a.Body, a.Err
		case <-ctx.Done():
			c.count.controlTimeouts.Add(1)
			return nil, ErrUnanswered
		case <-c.stop.Done():
			return nil, errClosed
		}
	}
}

// AskAll sends a command to all other nodes and returns an answer for each that
// is present: what it answered, or ErrUnanswered when ctx is done, or after a
// minute. Nodes that answered although this node does not know them yet are in the
// list too. Of two answers of a node the first counts. If the command could not be sent, every answer has the error.
func (c *Control) AskAll(ctx context.Context, kind string, body []byte) []Answer {
	ctx, cancel := context.WithTimeout(ctx, maxAsk)
	defer cancel()
	peers := c.bus.Peers()
	missing := make(map[uint32]Peer, len(peers))
	for _, p := range peers {
		missing[p.ID] = p
	}
	q, ref := c.open(kind, 2*len(peers)+16)
	defer c.forget(ref)
	answers := make([]Answer, 0, len(peers))
	err := c.publish(nil, &controlMessage{form: formAsk, kind: kind, body: body, ref: ref, left: timeLeft(ctx)})
	for err == nil && len(missing) > 0 {
		select {
		case a := <-q.got:
			if slices.ContainsFunc(answers, func(had Answer) bool { return had.ID == a.ID }) {
				continue // a copy, or another process with the name of the node
			}
			answers = append(answers, a)
			delete(missing, a.ID)
		case <-ctx.Done():
			err = ErrUnanswered
		case <-c.stop.Done():
			err = errClosed
		}
	}
	for _, p := range peers {
		if _, silent := missing[p.ID]; silent {
			c.count.controlTimeouts.Add(1)
			answers = append(answers, Answer{Peer: p, Err: err})
		}
	}
	return answers
}

// open begins to wait for answers.
func (c *Control) open(kind string, answers int) (q *question, ref uint64) {
	q = &question{kind: kind, got: make(chan Answer, answers)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ref++
	c.asked[c.ref] = q
	return q, c.ref
}

// forget ends a wait.
func (c *Control) forget(ref uint64) {
	c.mu.Lock()
	delete(c.asked, ref)
	c.mu.Unlock()
}

// timeLeft returns the time until the deadline of ctx.
func timeLeft(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	return max(time.Until(deadline), 0)
}
