package broadcast

import "time"

// marks recognizes pushes that came before, in streams of relays: as a copy of the
// home, as a relay that this node overheard, or published again by the publishing
// node. Owned by the receiver's goroutine.
//
// The home passes relays on in order, so the copies for this node have rising numbers,
// with holes: pushes to users of other nodes. What the publishing node publishes again
// has no holes, and begins behind the last number that the home confirmed. So a number
// that is not above the last one has come before.
//
// Overheard relays have no holes either, once this node overhears, but take another way
// through the network than copies, so either may come first. What was relayed before
// this node began to overhear comes as copies only.
type marks struct {
	nodes map[uint32]map[uint64]*mark // by publishing node and epoch
}

// mark is what came of a stream.
type mark struct {
	copied uint64 // largest number of a copy, or of a push that was published again
	from   uint64 // number of the relay from which on all were overheard, up to heard
	heard  uint64 // largest number of a relay that was overheard; 0: none
	early  map[uint64]struct{}
	at     time.Time
}

const (
	marksForget = 10 * time.Minute // after which a copy cannot be late any more: NATS ends connections that are silent for longer
	maxStreams  = 64               // streams remembered of one node
	maxEarly    = 4096             // copies remembered that came before the overheard relay
)

// of returns the mark of a stream, nil if there are too many nodes.
func (m *marks) of(o origin, now time.Time) *mark {
	streams := m.nodes[o.node]
	if streams == nil {
		if len(m.nodes) >= maxPeers {
			return nil
		}
		streams = make(map[uint64]*mark, 1)
		m.nodes[o.node] = streams
	}
	k := streams[o.epoch]
	if k == nil {
		if len(streams) >= maxStreams {
			oldest := o.epoch
			for epoch := range streams {
				oldest = min(oldest, epoch)
			}
			if oldest == o.epoch {
				return nil
			}
			delete(streams, oldest)
		}
		k = &mark{}
		streams[o.epoch] = k
	}
	k.at = now
	return k
}

// first reports whether a push comes for the first time. relay says that it comes as a
// relay, and not as a copy.
func (m *marks) first(o origin, now time.Time, relay bool) bool {
	k := m.of(o, now)
	if k == nil {
		return true
	}
	if relay {
		return k.relay(o.number)
	}
	if o.number <= k.copied || k.from <= o.number && o.number <= k.heard {
		return false
	}
	k.copied = o.number
	if o.number > k.heard && k.heard != 0 {
		if len(k.early) >= maxEarly {
			clear(k.early)
		}
		if k.early == nil {
			k.early = make(map[uint64]struct{})
		}
		k.early[o.number] = struct{}{}
	}
	return true
}

// relay takes a relay. The first one of a stream that is overheard is taken even if
// copies with larger numbers came: those are remembered from then on.
func (k *mark) relay(number uint64) bool {
	if number <= k.heard || k.heard == 0 && number <= k.copied {
		return false
	}
	if number != k.heard+1 || k.heard == 0 {
		k.from = number
	}
	k.heard = number
	_, came := k.early[number]
	for n := range k.early {
		if n <= number {
			delete(k.early, n)
		}
	}
	return !came
}

// retire records that nothing of a stream up to a number is to be delivered any more.
func (m *marks) retire(o origin, now time.Time) {
	if k := m.of(o, now); k != nil {
		k.copied, k.heard, k.from = max(k.copied, o.number), max(k.heard, o.number), 0
	}
}

func (m *marks) sweep(now time.Time) {
	for node, streams := range m.nodes {
		for epoch, k := range streams {
			if now.Sub(k.at) > marksForget {
				delete(streams, epoch)
			}
		}
		if len(streams) == 0 {
			delete(m.nodes, node)
		}
	}
}
