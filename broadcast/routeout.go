package broadcast

import (
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// The sender is the outlet of its routes.

// tally counts what was published since the last confirmation of NATS.
type tally struct {
	sent     int // messages that nats.go took
	unkept   int // of these, messages that nobody repeats if the connection breaks
	doubtful int // messages that may have been written in part
	places   int // in the outbox, to be given back
	bytes    int
}

// release gives the places back.
func (t *tally) release(box *outbox) {
	if t.places > 0 {
		box.release(t.places, t.bytes)
	}
	t.places, t.bytes = 0, 0
}

// free implements outlet: the place is given back when NATS has confirmed what was
// published.
func (s *sender) free(p *part) {
	s.tally.places++
	s.tally.bytes += p.size
}

// direct implements outlet. A message that NATS refuses is counted here.
func (s *sender) direct(subject string, p *part, o origin) bool {
	stream := s.numbers.stream(subject)
	m := encode(subject, p, stamp{node: s.bus.id, epoch: stream.epoch, number: stream.last + 1}, o)
	err := s.bus.nc.PublishMsg(m)
	switch {
	case err == nil:
		s.tally.sent++
		if s.kept(o) {
			s.confirms.sync.touch(subject)
		} else {
			s.tally.unkept++
		}
		s.numbers.used(stream, s.at)
	case noConnection(err):
		return false // this message was not sent: its number is still free
	case refused(err):
		s.refused(subject, p, err)
	default: // a socket write failed; a part of the message may have been written
		if !s.kept(o) {
			s.tally.doubtful++
		} else {
			s.tally.sent++ // NATS is asked before the home confirms it
		}
		s.numbers.used(stream, s.at)
	}
	return true
}

// kept reports whether another node publishes a push again if it is lost: the one that
// sent the relay.
func (s *sender) kept(o origin) bool { return o.epoch != 0 && o.node != s.bus.id }

func noConnection(err error) bool {
	return errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrConnectionClosed)
}

// refused reports whether NATS refuses a message for good.
func refused(err error) bool {
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrHeadersNotSupported) || errors.Is(err, nats.ErrBadSubject)
}

func (s *sender) refused(subject string, p *part, err error) {
	s.bus.count.lostTooLarge.Add(1)
	s.bus.log.Error("message refused by NATS", zap.String("subject", subject), zap.Int("bytes", p.size), zap.Error(err))
}

// relay implements outlet. A relay that NATS refuses is not confirmed: it is refused and
// counted when it is published again.
func (s *sender) relay(home uint32, p *part, o origin) bool {
	err := s.bus.nc.PublishMsg(encode(relaySubject(home), p, stamp(o), origin{}))
	if err == nil {
		s.tally.sent++
	}
	return !noConnection(err)
}

// fence implements outlet.
func (s *sender) fence(publisher uint32, ref uint64) bool {
	return s.toAll(routeMessage{node: publisher, what: routeFence, epoch: ref})
}

// retire implements outlet.
func (s *sender) retire(epoch, last uint64) bool {
	return s.toAll(routeMessage{node: s.bus.id, what: routeRetire, epoch: epoch, number: last})
}

func (s *sender) toAll(m routeMessage) bool {
	err := s.bus.nc.PublishMsg(&nats.Msg{Subject: subjectFence, Data: m.append(nil)})
	if err == nil {
		s.tally.sent++
	}
	return !noConnection(err)
}

// nextEpoch implements outlet.
func (s *sender) nextEpoch() uint64 {
	s.numbers.epoch++
	return s.numbers.epoch
}

// present implements outlet.
func (s *sender) present() []Peer { return s.bus.receiver.roster.view.Load().present }

// confirm implements outlet.
func (s *sender) confirm(o origin) { s.confirms.add(o) }

// refuse implements outlet.
func (s *sender) refuse(o origin) {
	s.bus.count.routes.refused.Add(1)
	s.bus.log.Warn("relays of another node refused", zap.String("node", nodeString(o.node)), zap.Uint64("behind", o.number))
	s.bus.tellRoute(o.node, routeMessage{node: s.bus.id, what: routeRefuse, epoch: o.epoch, number: o.number})
	s.bus.tellRoute(o.node, routeMessage{node: s.bus.id, what: routePassed, epoch: o.epoch}) // the fence does not come back to this node
}

// confirmEvery is the shortest time between two confirmations to publishing nodes. The
// first one after a pause is sent at once. It costs only places in their outboxes.
const confirmEvery = 5 * time.Millisecond

// confirms are what this node as a home has to confirm to publishing nodes.
type confirms struct {
	due    map[uint32]origin // by publishing node: the last relay of the newest stream
	safe   map[uint32]origin // NATS has the copies: may be sent
	sent   time.Time         // when the last ones were sent
	broken map[uint32]uint64 // epochs of streams of which copies may be lost: they are confirmed no more
	sync   holderSync        // with an embedded NATS server
}

func newConfirms() confirms {
	return confirms{due: make(map[uint32]origin), safe: make(map[uint32]origin), broken: make(map[uint32]uint64)}
}

func (c *confirms) add(o origin) {
	if c.broken[o.node] != o.epoch {
		c.due[o.node] = o
	}
}

// copied is called when NATS has the copies.
func (s *sender) copied() {
	if s.bus.server != nil {
		s.askHolders()
		return
	}
	s.confirms.confirmed()
}

// confirmed is called when nobody needs to send the relays again.
func (c *confirms) confirmed() {
	for node, o := range c.due {
		c.safe[node] = o
	}
	clear(c.due)
}

// drop confirms nothing more of streams whose last copies NATS has not confirmed: the
// connection broke, and they may be lost. The publishing nodes notice, and publish to
// all nodes.
func (c *confirms) drop() {
	c.lose(c.due)
	clear(c.due)
}

func (c *confirms) lose(due map[uint32]origin) {
	for node, o := range due {
		c.broken[node] = o.epoch
	}
}

// send sends them, and returns how long the next must wait; 0: there is none.
func (c *confirms) send(b *NATS, now time.Time) time.Duration {
	if len(c.safe) == 0 {
		return 0
	}
	if wait := confirmEvery - now.Sub(c.sent); wait > 0 {
		return wait
	}
	for node, o := range c.safe {
		b.tellRoute(node, routeMessage{node: b.id, what: routeConfirm, epoch: o.epoch, number: o.number})
	}
	clear(c.safe)
	c.sent = now
	return 0
}

// routeInbox has what other nodes say about routes, for the sender.
type routeInbox struct {
	wake chan struct{} // capacity 1: there is something

	mu    sync.Mutex // guards queue; held for an append
	queue []routeMessage
}

// maxRouteMessages limits routeInbox.queue. What is lost beyond it is a confirmation
// that a later one covers, or makes a fence overdue.
const maxRouteMessages = 1 << 14

// routeHeard takes a message on belfry.ctl.route.<node>.
func (b *NATS) routeHeard(m *nats.Msg) {
	r, err := parseRouteMessage(m.Data)
	if err != nil {
		b.receiver.malformed(m, err)
		return
	}
	in := &b.sender.inbox
	in.mu.Lock()
	if len(in.queue) < maxRouteMessages {
		in.queue = append(in.queue, r)
	}
	in.mu.Unlock()
	wakeUp(in.wake)
}

func (in *routeInbox) take() []routeMessage {
	in.mu.Lock()
	defer in.mu.Unlock()
	queue := in.queue
	in.queue = nil
	return queue
}

// routing reports whether there is a router.
func (s *sender) routing() bool {
	if s.routes.router == nil {
		if r := s.bus.router.Load(); r != nil {
			s.routes.use(*r)
		}
	}
	return s.routes.router != nil
}

// lookAtRoutes tells the routes what other nodes said, and what is late.
func (s *sender) lookAtRoutes() {
	if !s.routing() {
		return
	}
	defer s.bus.faults.caught("routes")
	for _, m := range s.inbox.take() {
		if m.what == routePassed {
			s.holderAnswered(m.epoch, m.node)
		}
		s.routes.heard(m)
	}
	s.routes.tick()
	s.tickHolders()
	s.tally.release(s.bus.box)
	if wait := s.confirms.send(s.bus, time.Now()); wait > 0 {
		s.lookAt.Reset(wait)
	} else if s.routes.busy() || s.confirms.sync.ref != 0 {
		s.lookAt.Reset(routeTick)
	}
}
