package broadcast

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// gapTracker follows the numbers of other nodes' messages: it recognizes copies
// and counts missing messages. Owned by the receiver's goroutine.
//
// A missing number is counted once, when the next message or a beacon shows that
// it is missing. A message that arrives after a beacon showed it as missing is
// delivered all the same: beacons affect the count, never the delivery.
type gapTracker struct {
	// since returns the time since which this node has been subscribed to
	// subject without interruption; false if it is not subscribed now. A broken
	// connection is no interruption: messages missed meanwhile are lost, and
	// are to be counted.
	since  func(subject string) (time.Time, bool)
	beacon time.Duration // interval of beacons
	log    *zap.Logger

	nodes map[uint32]*peerStreams
	swept time.Time
	gaps  *atomic.Uint64
}

// peerStreams has the streams of another node.
type peerStreams struct {
	instance string
	round    uint64    // of the last beacon
	roundAt  time.Time // when the last beacon came
	maxEpoch uint64    // of the last beacon
	prevAt   time.Time // when the beacon of the previous round came; zero if it was lost
	heard    time.Time // when the last message or beacon came
	streams  map[string]inStream
}

// inStream is the state of another node's stream.
type inStream struct {
	epoch   uint64
	last    uint64    // number of the last message that came
	counted uint64    // all missing numbers up to here are counted
	suspect uint64    // the last implausible number, 0 for none: see countGap
	at      time.Time // when the last message or beacon entry came
}

func (s inStream) known() uint64 { return max(s.last, s.counted) }

// peer returns the streams of a node, nil if there are too many nodes.
func (t *gapTracker) peer(node uint32, now time.Time) *peerStreams {
	p := t.nodes[node]
	if p == nil {
		if len(t.nodes) >= maxPeers {
			return nil
		}
		p = &peerStreams{streams: make(map[string]inStream)}
		t.nodes[node] = p
	}
	p.heard = now
	return p
}

// steady reports whether, at the time at, this node had been subscribed for long
// enough to receive every message sent from then on. The margin covers the time
// until the other NATS servers know of a subscription.
func (t *gapTracker) steady(since, at time.Time) bool {
	return !at.IsZero() && at.Sub(since) >= 2*t.beacon
}

// lookup returns the state of a stream, and false if the state is older than the
// present subscription.
func (p *peerStreams) lookup(subject string, since time.Time) (inStream, bool) {
	s, ok := p.streams[subject]
	return s, ok && !s.at.Before(since)
}

// store keeps s, unless the node has too many streams.
func (p *peerStreams) store(subject string, s inStream) {
	if _, ok := p.streams[subject]; ok || len(p.streams) < maxPeerStreams {
		p.streams[subject] = s
	}
}

// accept records a numbered message. It returns false if the message is a copy of
// one that came before.
func (t *gapTracker) accept(st stamp, subject string, now time.Time) bool {
	p := t.peer(st.node, now)
	if p == nil {
		return true
	}
	since, subscribed := t.since(subject)
	if !subscribed {
		since = now // the message was under way when the subscription ended
	}
	s, ok := p.lookup(subject, since)
	switch {
	case ok && st.epoch == s.epoch:
		if st.number <= s.last {
			return false
		}
		if top := s.known(); st.number > top+1 && !t.countGap(&s, subject, st, st.number-top-1, s.at, now) {
			p.store(subject, s)
			return true
		}
	case ok && st.epoch > s.epoch: // the node began a new stream while this node was subscribed
		t.countStart(subject, st, s.at, now)
		s.counted, s.suspect = 0, 0
	case !ok && st.epoch > p.maxEpoch && t.steady(since, p.roundAt):
		t.countStart(subject, st, p.roundAt, now)
		s.counted, s.suspect = 0, 0
	default: // nothing to compare with
		s.counted, s.suspect = 0, 0
	}
	s.epoch, s.last, s.at = st.epoch, st.number, now
	p.store(subject, s)
	return true
}

// countStart counts the numbers that are missing before st.number, the first
// message that came of a stream.
func (t *gapTracker) countStart(subject string, st stamp, at, now time.Time) {
	if st.number > 1 {
		t.countGap(&inStream{}, subject, st, st.number-1, at, now)
	}
}

// onBeacon records a beacon.
func (t *gapTracker) onBeacon(b *beacon, now time.Time) {
	p := t.peer(b.node, now)
	if p == nil {
		return
	}
	if b.instance != p.instance { // a new node, or one that restarted
		p.instance, p.round, p.roundAt = b.instance, 0, time.Time{}
	}
	if b.round != p.round { // not a further part of the same beacon
		p.prevAt = time.Time{}
		if p.round > 0 && b.round == p.round+1 {
			p.prevAt = p.roundAt
		}
		p.round, p.roundAt, p.maxEpoch = b.round, now, b.maxEpoch
	}
	for _, e := range b.entries {
		if since, subscribed := t.since(e.subject); subscribed {
			t.onEntry(p, b.node, e, since, now)
		}
	}
}

func (t *gapTracker) onEntry(p *peerStreams, node uint32, e beaconEntry, since, now time.Time) {
	s, ok := p.lookup(e.subject, since)
	st := stamp{node: node, epoch: e.epoch, number: e.last}
	switch {
	case ok && e.epoch == s.epoch:
		if top := s.known(); e.last > top && t.countGap(&s, e.subject, st, e.last-top, s.at, now) {
			s.counted = e.last
		}
	case ok && e.epoch > s.epoch:
		if !t.countGap(&inStream{}, e.subject, st, e.last, s.at, now) {
			return
		}
		s = inStream{epoch: e.epoch, counted: e.last}
	case ok: // the entry is for a stream that has ended
		return
	default:
		if e.last > e.prev && t.steady(since, p.prevAt) &&
			!t.countGap(&inStream{}, e.subject, st, e.last-e.prev, p.prevAt, now) {
			return
		}
		s = inStream{epoch: e.epoch, counted: e.last}
	}
	s.at = now
	p.store(e.subject, s)
}

// numbersPerSecond is more than a node can send on one subject in a second.
const numbersPerSecond = 1 << 20

// countGap counts n missing numbers up to st.number; the last message came at
// the time at. If no node can have sent so many since then, countGap counts one
// and returns false: the caller must not use st.number, because smaller numbers
// that follow would be taken for copies. A second number that continues from an
// implausible one shows that it was right.
func (t *gapTracker) countGap(s *inStream, subject string, st stamp, n uint64, at, now time.Time) bool {
	most := func() uint64 { return uint64((max(now.Sub(at), 0) + 2*t.beacon).Seconds() * numbersPerSecond) }
	if n > most() && s.suspect > 0 && st.number > s.suspect {
		n = st.number - s.suspect - 1
	}
	if n > most() {
		s.suspect = st.number
		t.gaps.Add(1)
		t.log.Error("implausible sequence number: counted as one gap", zap.String("node", nodeString(st.node)),
			zap.String("subject", subject), zap.Uint64("number", st.number), zap.Uint64("would_be_missing", n))
		return false
	}
	s.suspect = 0
	if n > 0 {
		t.gaps.Add(n)
		t.log.Warn("messages from another node are missing", zap.String("node", nodeString(st.node)),
			zap.String("subject", subject), zap.Uint64("missing", n), zap.Uint64("up_to", st.number))
	}
	return true
}

// sweep removes idle streams and nodes once in every streamsSweep.
func (t *gapTracker) sweep(now time.Time) {
	if now.Sub(t.swept) < streamsSweep {
		return
	}
	t.swept = now
	for node, p := range t.nodes {
		if now.Sub(p.heard) > streamForget {
			delete(t.nodes, node)
			continue
		}
		before := len(p.streams)
		for subject, s := range p.streams {
			if now.Sub(s.at) > streamForget {
				delete(p.streams, subject)
			}
		}
		if len(p.streams) < before/2 { // maps do not shrink
			kept := make(map[string]inStream, len(p.streams))
			for subject, s := range p.streams {
				kept[subject] = s
			}
			p.streams = kept
		}
	}
}
