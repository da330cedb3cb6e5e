package broadcast

import (
	"errors"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// Limits of a batch: the messages that are published between two confirmations.
// A batch is small, so that a broken connection leaves few messages unconfirmed.
// It is large enough that the round trip of a confirmation does not limit the
// rate.
const (
	batchMessages = 512
	batchBytes    = 1 << 20
)

// flushWait is how long one wait for the NATS server's PONG lasts. After it the
// sender checks whether the connection still exists, and waits again.
const flushWait = 2 * time.Second

// sender moves messages from the outbox to NATS, in order, and publishes beacons.
// Everything in it is owned by its goroutine, run.
type sender struct {
	bus       *NATS
	numbers   *numbers
	instance  string
	round     uint64 // of the last beacon
	idle      int    // intervals without a beacon since the last one
	sinceList int    // intervals since the last list of peers
	batch     []part
	routes    *routes
	inbox     routeInbox // what other nodes say about routes
	confirms  confirms
	tally     tally
	at        time.Time     // when the messages are sent that publish publishes
	lookAt    *time.Timer   // when routes are looked at
	wake      chan struct{} // capacity 1: the connection changed
	due       chan struct{} // capacity 1: a beacon is due now
	ended     chan struct{} // closed when run has ended

	connection uint64 // number of the last connection seen
	inspected  inspection
	resume     time.Time // messages are not sent before it
}

func newSender(b *NATS, instance string, start time.Time) *sender {
	s := &sender{
		bus: b, numbers: newNumbers(start), instance: instance, lookAt: time.NewTimer(time.Hour),
		wake: make(chan struct{}, 1), due: make(chan struct{}, 1), ended: make(chan struct{}),
		inbox: routeInbox{wake: make(chan struct{}, 1)}, confirms: newConfirms(),
	}
	s.routes = newRoutes(b.id, s, b.opt.clock.now, &b.count.routes, b.log)
	s.routes.most, s.routes.bytes = max(b.opt.OutboxMessages/2, 1), b.opt.OutboxBytes/2
	return s
}

func (s *sender) run() {
	defer s.bus.wg.Done()
	defer close(s.ended)
	defer s.beaconNow() // by then it says that the node has left
	defer func() { s.confirms.send(s.bus, time.Now().Add(confirmEvery)) }()
	ticks, stop := s.bus.opt.clock.tick(s.bus.opt.Beacon)
	defer stop()
	s.inspect()
	for {
		s.lookAtRoutes()
		s.batch = s.bus.box.take(s.batch[:0], batchMessages, batchBytes)
		if len(s.batch) > 0 || len(s.routes.urgent) > 0 {
			s.send(s.batch)
			clear(s.batch)
		}
		select {
		case <-s.bus.stop:
			return
		case now := <-ticks:
			s.tick(now)
			continue
		case <-s.due:
			s.beaconNow()
			continue
		default:
		}
		if len(s.batch) > 0 {
			continue
		}
		select {
		case <-s.bus.box.more:
		case <-s.inbox.wake:
		case <-s.lookAt.C:
		case <-s.wake:
			s.pauseLeft()
			s.inspect()
		case now := <-ticks:
			s.tick(now)
		case <-s.due:
			s.beaconNow()
		case p := <-s.bus.pauses.sender:
			if !p.run(s.bus.stop) {
				return
			}
		case <-s.bus.stop:
			return
		}
	}
}

func (s *sender) tick(now time.Time) {
	s.inspect()
	s.beacon(now)
	s.sendPeers()
	s.routes.sweep()
}

// send publishes a batch, and what routes has to send before it. It keeps messages
// that nats.go refuses for want of a connection until there is one. It does not repeat
// messages whose connection broke after they were handed to it: they may have arrived.
// (Relays are repeated by routes.)
func (s *sender) send(batch []part) {
	left := batch
	defer func() {
		if v := recover(); v != nil {
			s.bus.faults.report("send", v)
			s.bus.count.lostFault.Add(uint64(len(left)))
			s.release(left)
			s.tally.release(s.bus.box)
		}
	}()
	for len(left) > 0 || len(s.routes.urgent) > 0 {
		if !s.waitConnected() {
			s.bus.count.lostShutdown.Add(uint64(len(left) + len(s.routes.urgent)))
			s.release(left)
			return
		}
		connection := s.bus.connection()
		s.at = s.bus.opt.clock.now()
		left = s.publish(left)
		t := s.tally
		s.tally.sent, s.tally.doubtful, s.tally.unkept = 0, 0, 0
		switch {
		case t.sent == 0 || s.confirmed(connection):
			s.bus.count.sent.Add(uint64(t.sent))
			s.copied()
		default:
			s.confirms.drop()
			t.doubtful += t.unkept
		}
		if t.doubtful > 0 {
			s.bus.count.lostUnconfirmed.Add(uint64(t.doubtful))
			s.bus.log.Warn("connection to NATS broke: messages possibly lost", zap.Int("messages", t.doubtful))
		}
		s.tally.release(s.bus.box)
	}
}

// publish hands messages to nats.go until one is refused for want of a connection, and
// returns that one and those behind it.
func (s *sender) publish(batch []part) (left []part) {
	for {
		if u := s.routes.urgent; len(u) > 0 {
			p := u[0] // first: sending it may put more in front of the others
			if s.routes.urgent = u[1:]; !s.publishPart(&p) {
				s.routes.urgent = append([]part{p}, s.routes.urgent...)
				return batch
			}
			continue
		}
		if len(batch) == 0 {
			s.routes.urgent = nil
			return nil
		}
		if !s.publishPart(&batch[0]) {
			return batch
		}
		batch = batch[1:]
	}
}

// publishPart publishes one part on its path. It returns false if there is no
// connection.
func (s *sender) publishPart(p *part) (sent bool) {
	defer func() {
		if v := recover(); v != nil {
			s.bus.faults.report("encode", v)
			s.bus.count.lostFault.Add(1)
			s.free(p)
			sent = true
		}
	}()
	switch {
	case s.expired(p):
		s.bus.count.lostExpired.Add(1)
		s.free(p)
		return true
	case p.forward:
		return s.routes.forward(p)
	case p.retire.epoch != 0:
		return s.retire(p.retire.epoch, p.retire.number)
	case p.again:
		return s.routes.republish(p)
	case p.users && s.routing():
		return s.routes.send(p)
	}
	if !s.direct(p.subject, p, origin{}) {
		return false
	}
	s.free(p)
	return true
}

// expired reports whether a message that was not sent yet has waited longer than it may.
// It takes no number.
func (s *sender) expired(p *part) bool {
	return !p.forward && !p.again && p.retire.epoch == 0 && p.special == "" && p.subject != subjectReport && p.message.Expired()
}

// confirmed waits until the NATS server has confirmed everything that was
// published on this connection. It returns false if the connection broke first.
func (s *sender) confirmed(connection uint64) bool {
	for {
		err := s.bus.nc.FlushTimeout(flushWait)
		switch {
		case s.bus.connection() != connection:
			return false // if there was a PONG, it came over another connection
		case err == nil:
			return true
		case !errors.Is(err, nats.ErrTimeout), !s.bus.nc.IsConnected():
			return false
		}
		select {
		case <-s.bus.stop:
			return false
		default: // the server is slow; if it is dead, nats.go's pings end the connection
		}
	}
}

// waitConnected returns true when there is a connection that carries messages;
// after a reconnect, this is ReconnectPause later. It returns false if the bus
// closes.
func (s *sender) waitConnected() bool {
	for {
		var pause <-chan time.Time
		if s.bus.nc.IsConnected() {
			left := s.pauseLeft()
			switch {
			case !s.inspect():
				pause = time.After(time.Second)
			case s.bus.cannotPublish() != "":
				pause = time.After(inspectAgain)
			case left <= 0:
				return !s.bus.stopped()
			default:
				pause = time.After(left)
			}
		}
		select {
		case <-s.wake:
		case <-pause:
		case <-s.bus.stop:
			return false
		}
	}
}

// pauseLeft returns the time until messages may be sent. It starts the pause when
// it sees a new connection.
func (s *sender) pauseLeft() time.Duration {
	if now := s.bus.connection(); now != s.connection {
		s.connection, s.resume = now, time.Now().Add(s.bus.opt.ReconnectPause)
	}
	return time.Until(s.resume)
}

func (s *sender) release(done []part) {
	for i := range done {
		if !done[i].refuse { // it has no place
			s.free(&done[i])
		}
	}
	s.tally.release(s.bus.box)
}

// idleBeacons returns the number of intervals between the beacons of a node that
// sends nothing. It grows with the number of peers, because every node receives
// the beacons of every other: with 53 nodes, one beacon a second from each would
// take a third of a core in total.
func idleBeacons(peers int64) int { return 5 + int(peers/5) }

// missingFor is how long nodes send a beacon in each interval after one of them was
// lost, so that the end of a split is noticed within an interval and not only with
// the next idle beacon.
const missingFor = 10 * time.Minute

// quiet reports whether no beacon is due at this tick.
func (s *sender) quiet(now time.Time) bool {
	return len(s.numbers.fresh) == 0 && s.round > 0 && s.idle < idleBeacons(s.bus.count.peers.Load()) &&
		now.Sub(s.bus.receiver.roster.view.Load().lost) > missingFor
}

// beaconNow publishes a beacon at once.
func (s *sender) beaconNow() {
	if s.round == 0 || s.bus.Alone() || s.bus.passing.over.Load() {
		return // the first one comes with the first tick
	}
	s.idle = math.MaxInt32
	s.beacon(s.bus.opt.clock.now())
}

// beacon publishes a beacon with the streams that have messages since the last
// one. Without a connection it does nothing: the next beacon has these streams.
func (s *sender) beacon(now time.Time) {
	defer s.bus.faults.caught("beacon")
	s.numbers.sweep(now)
	if !s.bus.nc.IsConnected() {
		return
	}
	if s.idle++; s.quiet(now) {
		return
	}
	s.idle = 0
	b := beacon{
		node: s.bus.id, name: s.bus.opt.NodeName, instance: s.instance,
		round: s.round + 1, maxEpoch: s.numbers.epoch,
	}
	s.round++
	part, header := b.appendHead(nil), s.statusHeader()
	head := len(part)
	for _, st := range s.numbers.fresh {
		if len(part) > beaconPart {
			if s.bus.nc.PublishMsg(&nats.Msg{Subject: subjectBeacon, Header: header, Data: part}) != nil {
				return
			}
			part = append([]byte(nil), part[:head]...)
		}
		part = appendEntry(part, beaconEntry{st.subject, st.epoch, st.announced, st.last})
	}
	if s.bus.nc.PublishMsg(&nats.Msg{Subject: subjectBeacon, Header: header, Data: part}) == nil {
		s.numbers.announced()
	}
}

// statusHeader returns the headers of a beacon, nil if NATS does not support any or
// the node has not started.
func (s *sender) statusHeader() nats.Header {
	control := s.bus.started.Load()
	if control == nil || !s.bus.nc.HeadersSupported() {
		return nil
	}
	status := (*control).Status()
	return status.header()
}

// sendPeers publishes the list of nodes that this node hears, if it can together
// with a beacon: then the other nodes wake once for both.
func (s *sender) sendPeers() {
	defer s.bus.faults.caught("peers")
	present := s.bus.receiver.roster.view.Load().present
	s.sinceList++
	due := idleBeacons(int64(len(present)))
	if s.idle > 0 { // no beacon in this interval: the list can wait for the next, but not for long
		due += due / 4
	}
	if len(present) == 0 || s.sinceList < due || !s.bus.nc.IsConnected() {
		return
	}
	l := peerList{node: s.bus.id, name: s.bus.opt.NodeName, peers: present}
	if s.bus.nc.Publish(subjectPeers, l.append(nil)) == nil {
		s.sinceList = 0
	}
}
