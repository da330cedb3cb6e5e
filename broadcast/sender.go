package broadcast

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// A batch is what is published between two confirmations. Small enough that
// little is in doubt when a connection breaks, large enough that the round
// trip of a confirmation does not bound the rate.
const (
	batchMessages = 512
	batchBytes    = 1 << 20
)

// flushWait is how long one wait for the NATS server's PONG lasts before the
// connection is looked at again.
const flushWait = 2 * time.Second

// sender moves parcels from the outbox to NATS, in order, and announces the
// numbers. Everything in it is owned by its goroutine, run.
type sender struct {
	bus       *NATS
	numbers   *numbers
	instance  string
	round     uint64 // of the last beacon
	idle      int    // intervals since then in which nothing was sent
	sinceList int    // intervals since the last list of peers
	batch     []part
	wake      chan struct{} // 1 deep: the connection changed

	connection uint64 // the one seen last
	inspected  inspection
	resume     time.Time // not to be used before
}

func (s *sender) run() {
	defer s.bus.wg.Done()
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

// send publishes a batch. What the connection refuses is kept until there is
// one again; what was handed to a connection that then broke is not sent
// again, for it may have arrived.
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

// publish hands parcels to nats.go until one is refused for want of a
// connection. done of them need no further thought: sent were accepted,
// doubtful may be partly written, the rest are too large for this server.
func (s *sender) publish(batch []part) (done, sent, doubtful int) {
	now := s.bus.opt.clock.now()
	for i := range batch {
		p := &batch[i]
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
			return i, sent, doubtful // certainly not sent: the number is still free
		case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrHeadersNotSupported), errors.Is(err, nats.ErrBadSubject):
			s.bus.count.lostTooLarge.Add(1)
			s.bus.log.Error("message refused by NATS", zap.String("subject", p.subject), zap.Int("bytes", p.size), zap.Error(err))
		default: // a socket write failed, perhaps half way
			doubtful++
			s.numbers.used(stream, now)
		}
	}
	return len(batch), sent, doubtful
}

// encodeNext makes the bus message of a parcel, nil if that meets a fault.
func (s *sender) encodeNext(p *part, st stamp) (m *nats.Msg) {
	defer s.bus.faults.caught("encode")
	return encode(p, st)
}

// confirmed waits until the NATS server has taken everything published on
// this connection; false if it broke first.
func (s *sender) confirmed(connection uint64) bool {
	for {
		err := s.bus.nc.FlushTimeout(flushWait)
		switch {
		case s.bus.connection() != connection:
			return false // a PONG, if there was one, came over another connection
		case err == nil:
			return true
		case !errors.Is(err, nats.ErrTimeout), !s.bus.nc.IsConnected():
			return false
		}
		select {
		case <-s.bus.stop:
			return false
		default: // the server is slow; nats.go's own pings decide whether it is gone
		}
	}
}

// waitConnected returns when there is a connection that carries messages, and
// has been for ReconnectPause if it is not the first; false if the bus closes.
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

// pauseLeft starts the pause when it sees a new connection.
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

// idleBeacons is how many intervals may pass between beacons that have nothing
// to tell but that their node is there, among so many peers. Every node hears
// every other: 53 of them at one a second would cost a third of a core between
// them.
func idleBeacons(peers int64) int { return 5 + int(peers/5) }

// beacon announces this node and the streams sent on since the last one.
// Without a connection it is put off: the next covers the time.
func (s *sender) beacon(now time.Time) {
	defer s.bus.faults.caught("beacon")
	s.numbers.sweep(now)
	if !s.bus.nc.IsConnected() {
		return
	}
	if s.idle++; len(s.numbers.fresh) == 0 && s.idle < idleBeacons(s.bus.count.peers.Load()) && s.round > 0 {
		return
	}
	s.idle = 0
	b := beacon{
		node: s.bus.id, name: s.bus.opt.NodeName, instance: s.instance,
		round: s.round + 1, maxEpoch: s.numbers.epoch,
	}
	s.round++
	part := b.appendHead(nil)
	head := len(part)
	for _, st := range s.numbers.fresh {
		if len(part) > beaconPart {
			if s.bus.nc.Publish(subjectBeacon, part) != nil {
				return
			}
			part = append([]byte(nil), part[:head]...)
		}
		part = appendEntry(part, beaconEntry{st.subject, st.epoch, st.announced, st.last})
	}
	if s.bus.nc.Publish(subjectBeacon, part) == nil {
		s.numbers.announced()
	}
}

// sendPeers tells the others whom this node hears.
func (s *sender) sendPeers() {
	defer s.bus.faults.caught("peers")
	present := s.bus.receiver.roster.view.Load().present
	if s.sinceList++; len(present) == 0 || s.sinceList < idleBeacons(int64(len(present))) || !s.bus.nc.IsConnected() {
		return
	}
	l := peerList{node: s.bus.id, name: s.bus.opt.NodeName, peers: present}
	if s.bus.nc.Publish(subjectPeers, l.append(nil)) == nil {
		s.sinceList = 0
	}
}
