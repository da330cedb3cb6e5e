package broadcast

import (
	"time"

	"go.uber.org/zap"
)

// outlet publishes for routes. Its methods return false if there is no connection:
// then nothing was published.
type outlet interface {
	// direct publishes a push on a subject, with its number in the stream of the
	// subject.
	direct(subject string, p *part, o origin) bool
	relay(home uint32, p *part, o origin) bool
	fence(publisher uint32, ref uint64) bool
	retire(epoch, last uint64) bool
	// confirm has the home tell a publisher, after the copies published so far are
	// confirmed by NATS.
	confirm(o origin)
	// refuse tells a publisher that relays behind this one are not passed on.
	refuse(o origin)
	// free gives back the place of a part in the outbox.
	free(p *part)
	// epoch returns one that is larger than any before.
	nextEpoch() uint64
	present() []Peer
}

// routes chooses the path of each push to users, as a publisher, and passes relays on,
// as a home. Everything in it is owned by the sender's goroutine.
type routes struct {
	self   uint32
	router Router
	out    outlet
	now    func() time.Time
	wait   time.Duration // confirmWait
	window int           // relays to one home that are not confirmed; further pushes wait
	most   int           // the same, with those that wait; beyond, the home is not used any more
	bytes  int           // of these
	count  *routeCounters
	log    *zap.Logger

	sent    uint64             // pushes to users that were given a path
	last    []uint64           // by bucket: value of sent at the last push; nil without a router
	path    []*relays          // by bucket: of the last push; nil: direct
	streams map[uint32]*relays // by home
	passed  uint64             // pushes up to here that were direct have arrived
	fences  []*fence           // that are not answered yet
	calm    time.Time          // until then all pushes are direct, because a node does not answer fences
	held    map[uint16]held    // pushes that wait, by bucket
	urgent  []part             // to be sent before everything else
	own     origin             // the last push of this node as its home
	place   place              // of the last push of this node

	scratch []uint32
}

// relays is the stream of relays to one home.
type relays struct {
	home   uint32
	state  relaysState
	epoch  uint64
	number uint64    // of the last relay
	kept   []part    // those that are not confirmed: up to number
	bytes  int       // of kept
	moved  time.Time // when kept was empty, or became shorter, or the stream was closed
	waits  int       // pushes that wait because kept has as many as it may
	passed uint64    // pushes up to here, by this stream, have arrived
	ending *fence    // with relaysEnding: the stream is closed when it is answered
	why    string    // with relaysEnding: the cause
}

type relaysState uint8

const (
	relaysOpen    relaysState = iota
	relaysOpening             // an open was sent; pushes are direct meanwhile
	relaysEnding              // a fence was sent; pushes wait for it
	relaysClosed              // pushes are direct; later an open is sent
)

func newRoutes(self uint32, out outlet, now func() time.Time, count *routeCounters, log *zap.Logger) *routes {
	return &routes{self: self, out: out, now: now, wait: confirmWait, window: relayWindow, most: 8192, bytes: 16 << 20, count: count, log: log,
		streams: make(map[uint32]*relays), held: make(map[uint16]held)}
}

// use begins to use a router.
func (r *routes) use(router Router) {
	r.router, r.last, r.path = router, make([]uint64, userBuckets), make([]*relays, userBuckets)
}

// send gives a push to users its path, if there is a router. It returns false if there
// is no connection.
func (r *routes) send(p *part) bool {
	if p.place.epoch == 0 {
		if r.place.epoch == 0 {
			r.place.epoch = r.out.nextEpoch()
		}
		r.place.number++
		p.place = r.place
	}
	if q, ok := r.held[p.bucket]; ok {
		r.hold(p, q.full)
		return true
	}
	home, ok := uint32(0), false
	// A push whose reports are awaited goes to all nodes: the question for the reports does,
	// and must not overtake it.
	if !r.now().Before(r.calm) && p.message.Report == nil {
		home, ok = r.router.Home(p.bucket)
	}
	var to *relays
	if ok && home != r.self {
		to = r.stream(home)
	}
	from := r.path[p.bucket]
	if from != nil && from.state == relaysClosed {
		from = nil // what was not confirmed has been sent again, directly
	}
	if to != from && r.last[p.bucket] > r.passedOn(from) && !r.fenced(from, r.last[p.bucket]) {
		r.hold(p, nil)
		return true
	}
	if to != nil && len(to.kept) >= r.window {
		r.hold(p, to)
		return true
	}
	sent := false
	switch {
	case to != nil:
		sent = r.relay(to, *p)
	case ok && home == r.self:
		sent = r.toHolders(p)
	default:
		if sent = r.out.direct(p.subject, p, p.origin); sent {
			r.count.direct.Add(1)
		}
	}
	if !sent {
		return false
	}
	r.sent++
	r.last[p.bucket], r.path[p.bucket] = r.sent, to
	if to == nil {
		r.out.free(p)
	}
	return true
}

// stream returns the stream to a home, nil if the home is not to be used now.
func (r *routes) stream(home uint32) *relays {
	s := r.streams[home]
	if s == nil {
		s = &relays{home: home, epoch: r.out.nextEpoch(), moved: r.now()}
		r.streams[home] = s
	}
	if s.state == relaysClosed && r.now().Sub(s.moved) >= reopenWait {
		s = &relays{home: home, epoch: r.out.nextEpoch(), moved: r.now(), state: relaysOpening}
		r.streams[home] = s
		r.relay(s, part{special: relayOpen})
	}
	if s.state != relaysOpen {
		return nil
	}
	return s
}

// relay sends a part to a home and keeps it.
func (r *routes) relay(s *relays, p part) bool {
	if !r.out.relay(s.home, &p, origin{r.self, s.epoch, s.number + 1}) {
		return false
	}
	if len(s.kept) == 0 {
		s.moved = r.now()
	}
	s.number++
	s.bytes += p.size
	s.kept = append(s.kept, p)
	r.count.relayed.Add(1)
	r.endIfFull(s)
	return true
}

// held are pushes to a bucket that wait: for a fence, or until the home confirms relays.
type held struct {
	parts []part
	full  *relays // nil: for a fence
}

// hold has a push wait. full is the stream that has as many relays as it may, nil if the
// push waits for a fence.
func (r *routes) hold(p *part, full *relays) {
	q, ok := r.held[p.bucket]
	if !ok {
		r.count.held.Add(1)
	}
	q.parts, q.full = append(q.parts, *p), full
	r.held[p.bucket] = q
	if full != nil {
		full.waits++
		r.endIfFull(full)
	}
}

// endIfFull stops to use a home that does not keep up.
func (r *routes) endIfFull(s *relays) {
	if s.state == relaysOpen && (len(s.kept)+s.waits > r.most || s.bytes > r.bytes) {
		r.end(s, "full")
	}
}

// toHolders sends a push of this node, which is the home of its users. Nodes that
// overhear may have sessions that their homes do not know yet, so it is sent as a relay
// too: only they receive that. If it returns false, it is called again with the part.
func (r *routes) toHolders(p *part) bool {
	if p.origin.epoch == 0 {
		if r.own.epoch == 0 {
			r.own = origin{node: r.self, epoch: r.out.nextEpoch()}
		}
		o := origin{r.self, r.own.epoch, r.own.number + 1}
		if !r.out.relay(r.self, p, o) {
			return false
		}
		r.own, p.origin = o, o
	}
	return r.spread(p, p.origin)
}

// spread sends a push to the nodes that have the users, as their home. o is the relay
// that it came as.
func (r *routes) spread(p *part, o origin) bool {
	nodes, all := r.router.Holders(r.scratch[:0], p.bucket, p.names)
	r.scratch = nodes
	if all {
		if !r.out.direct(userBucketSubject(p.bucket), p, o) {
			return false
		}
		r.count.toAll.Add(1)
		return true
	}
	copies := uint64(0)
	for _, node := range nodes {
		if node == o.node || node == r.self {
			continue
		}
		if !r.out.direct(nodeSubject(node), p, o) && copies == 0 {
			return false
		}
		copies++ // also one that is lost because the connection breaks: the number shows it
	}
	r.count.copies.Add(copies)
	return true
}

// forward passes a relay on. It returns false if there is no connection.
func (r *routes) forward(p *part) bool {
	switch {
	case p.refuse: // the fence follows what was passed on
		r.out.refuse(p.origin)
		return r.out.fence(p.origin.node, p.origin.epoch)
	case p.fence != 0:
		if !r.out.fence(p.origin.node, p.fence) {
			return false
		}
	case len(p.names) > 0 && r.router != nil:
		if !r.spread(p, p.origin) {
			return false
		}
	}
	r.out.confirm(p.origin)
	r.out.free(p)
	return true
}
