package broadcast

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// gapTracker watches the numbers of other nodes' messages: it recognizes copies
// and counts what never came. Owned by the receiver's goroutine.
//
// A gap is counted when the next message or a beacon shows it, once. A
// message that arrives after a beacon counted it is delivered all the same:
// the beacon decides what is counted, never what is delivered.
type gapTracker struct {
	// since returns from when on this node has been subscribed to subject
	// without interruption (a broken connection is none: what is missed then
	// is lost); false if it is not now.
	since  func(subject string) (time.Time, bool)
	beacon time.Duration // interval
	log    *zap.Logger

	nodes map[uint32]*peerStreams
	swept time.Time
	gaps  *atomic.Uint64
}

// peerStreams is another node.
type peerStreams struct {
	instance string
	round    uint64    // of the last beacon
	roundAt  time.Time // when it came
	maxEpoch uint64    // its floor
	prevAt   time.Time // when the round before came; zero if that got lost
	heard    time.Time
	streams  map[string]inStream
}

// inStream is what is known of another node's stream.
type inStream struct {
	epoch   uint64
	last    uint64 // number of the last message that came
	counted uint64 // all missing numbers up to here are counted
	suspect uint64 // the last number that no node could have come to, see missed
	at      time.Time
}

func (s inStream) known() uint64 { return max(s.last, s.counted) }

// peer returns the record of a node, nil if there are too many.
func (o *gapTracker) peer(node uint32, now time.Time) *peerStreams {
	g := o.nodes[node]
	if g == nil {
		if len(o.nodes) >= maxPeers {
			return nil
		}
		g = &peerStreams{streams: make(map[string]inStream)}
		o.nodes[node] = g
	}
	g.heard = now
	return g
}

// steady says that at the time at this node had been subscribed for long
// enough to have received everything that was sent from then on. The margin
// covers the way of a subscription to the other NATS servers.
func (o *gapTracker) steady(since, at time.Time) bool {
	return !at.IsZero() && at.Sub(since) >= 2*o.beacon
}

// lookup returns what is known of a stream, unless the subscription lapsed
// since it was learnt.
func (g *peerStreams) lookup(subject string, since time.Time) (inStream, bool) {
	s, ok := g.streams[subject]
	return s, ok && !s.at.Before(since)
}

// store keeps s, unless that node's streams are too many.
func (g *peerStreams) store(subject string, s inStream) {
	if _, ok := g.streams[subject]; ok || len(g.streams) < maxPeerStreams {
		g.streams[subject] = s
	}
}

// accept takes note of a numbered message. False: it is a copy of one that came
// before.
func (o *gapTracker) accept(st stamp, subject string, now time.Time) bool {
	g := o.peer(st.node, now)
	if g == nil {
		return true
	}
	since, subscribed := o.since(subject)
	if !subscribed {
		since = now // on its way when the subscription ended
	}
	s, ok := g.lookup(subject, since)
	switch {
	case ok && st.epoch == s.epoch:
		if st.number <= s.last {
			return false
		}
		if top := s.known(); st.number > top+1 && !o.countGap(&s, subject, st, st.number-top-1, s.at, now) {
			g.store(subject, s)
			return true
		}
	case ok && st.epoch > s.epoch: // begun anew while we listened
		o.countStart(subject, st, s.at, now)
		s.counted, s.suspect = 0, 0
	case !ok && st.epoch > g.maxEpoch && o.steady(since, g.roundAt):
		o.countStart(subject, st, g.roundAt, now)
		s.counted, s.suspect = 0, 0
	default: // nothing to compare with
		s.counted, s.suspect = 0, 0
	}
	s.epoch, s.last, s.at = st.epoch, st.number, now
	g.store(subject, s)
	return true
}

// countStart counts what is missing before the first message of a stream.
func (o *gapTracker) countStart(subject string, st stamp, at, now time.Time) {
	if st.number > 1 {
		o.countGap(&inStream{}, subject, st, st.number-1, at, now)
	}
}

// onBeacon takes note of a beacon.
func (o *gapTracker) onBeacon(b *beacon, now time.Time) {
	g := o.peer(b.node, now)
	if g == nil {
		return
	}
	if b.instance != g.instance { // new, or restarted
		g.instance, g.round, g.roundAt = b.instance, 0, time.Time{}
	}
	if b.round != g.round { // not a further part of the same
		g.prevAt = time.Time{}
		if g.round > 0 && b.round == g.round+1 {
			g.prevAt = g.roundAt
		}
		g.round, g.roundAt, g.maxEpoch = b.round, now, b.maxEpoch
	}
	for _, e := range b.entries {
		if since, subscribed := o.since(e.subject); subscribed {
			o.onEntry(g, b.node, e, since, now)
		}
	}
}

func (o *gapTracker) onEntry(g *peerStreams, node uint32, e beaconEntry, since, now time.Time) {
	s, ok := g.lookup(e.subject, since)
	st := stamp{node: node, epoch: e.epoch, number: e.last}
	switch {
	case ok && e.epoch == s.epoch:
		if top := s.known(); e.last > top && o.countGap(&s, e.subject, st, e.last-top, s.at, now) {
			s.counted = e.last
		}
	case ok && e.epoch > s.epoch:
		if !o.countGap(&inStream{}, e.subject, st, e.last, s.at, now) {
			return
		}
		s = inStream{epoch: e.epoch, counted: e.last}
	case ok: // of a stream that has ended
		return
	default:
		if e.last > e.prev && o.steady(since, g.prevAt) &&
			!o.countGap(&inStream{}, e.subject, st, e.last-e.prev, g.prevAt, now) {
			return
		}
		s = inStream{epoch: e.epoch, counted: e.last}
	}
	s.at = now
	g.store(e.subject, s)
}

// numbersPerSecond is more than one node can send on one subject.
const numbersPerSecond = 1 << 20

// countGap counts n numbers up to st.number that did not come since at. If no
// node can have sent that many in the time, it counts one and returns false:
// the number is then not to be relied on, or what really follows would be taken
// for copies. A second number that goes on from there shows that it is right.
func (o *gapTracker) countGap(s *inStream, subject string, st stamp, n uint64, at, now time.Time) bool {
	most := func() uint64 { return uint64((max(now.Sub(at), 0) + 2*o.beacon).Seconds() * numbersPerSecond) }
	if n > most() && s.suspect > 0 && st.number > s.suspect {
		n = st.number - s.suspect - 1
	}
	if n > most() {
		s.suspect = st.number
		o.gaps.Add(1)
		o.log.Error("implausible sequence number: counted as one gap", zap.String("node", nodeString(st.node)),
			zap.String("subject", subject), zap.Uint64("number", st.number), zap.Uint64("would_be_missing", n))
		return false
	}
	s.suspect = 0
	if n > 0 {
		o.gaps.Add(n)
		o.log.Warn("messages from another node are missing", zap.String("node", nodeString(st.node)),
			zap.String("subject", subject), zap.Uint64("missing", n), zap.Uint64("up_to", st.number))
	}
	return true
}

// sweep forgets idle streams and nodes, now and then.
func (o *gapTracker) sweep(now time.Time) {
	if now.Sub(o.swept) < streamsSweep {
		return
	}
	o.swept = now
	for node, g := range o.nodes {
		if now.Sub(g.heard) > streamForget {
			delete(o.nodes, node)
			continue
		}
		before := len(g.streams)
		for subject, s := range g.streams {
			if now.Sub(s.at) > streamForget {
				delete(g.streams, subject)
			}
		}
		if len(g.streams) < before/2 { // maps do not shrink
			kept := make(map[string]inStream, len(g.streams))
			for subject, s := range g.streams {
				kept[subject] = s
			}
			g.streams = kept
		}
	}
}
