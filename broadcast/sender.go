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
	wake      chan struct{} // capacity 1: the connection changed
	due       chan struct{} // capacity 1: a beacon is due now
	ended     chan struct{} // closed when run has ended

	connection uint64 // number of the last connection seen
	inspected  inspection
	resume     time.Time // messages are not sent before it
}

func (s *sender) run() {
	defer s.bus.wg.Done()
	defer close(s.ended)
	defer s.beaconNow() // by then it says that the node has left
	ticks, stop := s.bus.opt.clock.tick(s.bus.opt.Beacon)
	defer stop()
	s.inspect()
	for {
		s.batch = s.bus.box.take(s.batch[:0], batchMessages, batchBytes)
		if len(s.batch) > 0 {
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
		case <-s.wake:
			s.pauseLeft()
			s.inspect()
		case now := <-ticks:
			s.tick(now)
		case <-s.due:
			s.beaconNow()
		case <-s.bus.stop:
			return
		}
	}
}

func (s *sender) tick(now time.Time) {
	s.inspect()
	s.beacon(now)
	s.sendPeers()
}

// send publishes a batch. It keeps messages that nats.go refuses for want of a
// connection until there is one. It does not repeat messages whose connection
// broke after they were handed to it: they may have arrived.
func (s *sender) send(batch []part) {
	defer func() {
		if v := recover(); v != nil {
			s.bus.faults.report("send", v)
			s.bus.count.lostFault.Add(uint64(len(batch)))
			s.release(batch)
		}
	}()
	for len(batch) > 0 {
		if !s.waitConnected() {
			s.bus.count.lostShutdown.Add(uint64(len(batch)))
			s.release(batch)
			return
		}
		connection := s.bus.connection()
		done, sent, doubtful := s.publish(batch)
		if sent > 0 {
			if s.confirmed(connection) {
				s.bus.count.sent.Add(uint64(sent))
			} else {
				doubtful += sent
			}
		}
		if doubtful > 0 {
			s.bus.count.lostUnconfirmed.Add(uint64(doubtful))
			s.bus.log.Warn("connection to NATS broke: messages possibly lost", zap.Int("messages", doubtful))
		}
		s.release(batch[:done])
		batch = batch[done:]
	}
}

// publish hands messages to nats.go until one is refused for want of a
// connection. done is the number of messages that are finished. sent of these
// were accepted and doubtful may have been written in part; the remaining ones
// were refused by NATS or met a fault, and are counted here.
func (s *sender) publish(batch []part) (done, sent, doubtful int) {
	now := s.bus.opt.clock.now()
	for i := range batch {
		p := &batch[i]
		if p.subject != subjectReport && p.message.Expired() {
			s.bus.count.lostExpired.Add(1)
			continue // its number is still free
		}
		stream := s.numbers.stream(p.subject)
		m := s.encodeNext(p, stamp{node: s.bus.id, epoch: stream.epoch, number: stream.last + 1})
		if m == nil {
			s.bus.count.lostFault.Add(1)
			continue
		}
		err := s.bus.nc.PublishMsg(m)
		switch {
		case err == nil:
			sent++
			s.numbers.used(stream, now)
		case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed):
			return i, sent, doubtful // this message was not sent: its number is still free
		case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrHeadersNotSupported), errors.Is(err, nats.ErrBadSubject):
			s.bus.count.lostTooLarge.Add(1)
			s.bus.log.Error("message refused by NATS", zap.String("subject", p.subject), zap.Int("bytes", p.size), zap.Error(err))
		default: // a socket write failed; a part of the message may have been written
			doubtful++
			s.numbers.used(stream, now)
		}
	}
	return len(batch), sent, doubtful
}

// encodeNext returns the bus message of a part, nil after a fault.
func (s *sender) encodeNext(p *part, st stamp) (m *nats.Msg) {
	defer s.bus.faults.caught("encode")
	return encode(p, st)
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
	bytes := 0
	for i := range done {
		bytes += done[i].size
	}
	if len(done) > 0 {
		s.bus.box.release(len(done), bytes)
	}
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
	if s.round == 0 || s.bus.Alone() {
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
