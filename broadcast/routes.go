package broadcast

import (
	"slices"
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
	most   int           // relays to one home that are not confirmed
	bytes  int           // of these
	count  *routeCounters
	log    *zap.Logger

	sent    uint64               // pushes to users that were given a path
	last    [userBuckets]uint64  // value of sent at the last push to the bucket
	path    [userBuckets]*relays // of the last push; nil: direct
	streams map[uint32]*relays   // by home
	passed  uint64               // pushes up to here that were direct have arrived
	fences  []*fence             // that are not answered yet
	calm    time.Time            // until then all pushes are direct, because a node does not answer fences
	held    map[uint16][]part    // pushes that wait for a fence
	urgent  []part               // to be sent before everything else

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

// fence is one that is not answered yet.
type fence struct {
	ref   uint64
	sent  uint64  // value of routes.sent then
	path  *relays // nil: direct
	last  uint64  // number of the last relay on it
	await []uint32
	until time.Time
}

func newRoutes(self uint32, out outlet, now func() time.Time, count *routeCounters, log *zap.Logger) *routes {
	return &routes{self: self, out: out, now: now, wait: confirmWait, most: 8192, bytes: 16 << 20, count: count, log: log,
		streams: make(map[uint32]*relays), held: make(map[uint16][]part)}
}

// sweep stops to use homes that are gone. One that is there again was perhaps stopped:
// it has to answer an open first, so that it verifies what it knows of others.
func (r *routes) sweep() {
	present := r.out.present()
	for home, s := range r.streams {
		if slices.ContainsFunc(present, func(p Peer) bool { return p.ID == home }) || len(s.kept) > 0 {
			continue // what is not confirmed becomes late, see tick
		}
		if s.state == relaysOpen {
			s.state, s.moved = relaysClosed, r.now()
		}
	}
}

// busy reports whether something may become late.
func (r *routes) busy() bool {
	if len(r.fences) > 0 || len(r.held) > 0 {
		return true
	}
	for _, s := range r.streams {
		if len(s.kept) > 0 {
			return true
		}
	}
	return false
}

// send gives a push to users its path. It returns false if there is no connection.
func (r *routes) send(p *part) bool {
	if q, ok := r.held[p.bucket]; ok {
		r.held[p.bucket] = append(q, *p)
		return true
	}
	home, ok := uint32(0), false
	if r.router != nil && !r.now().Before(r.calm) {
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
	if from != nil && from.state == relaysEnding || to != from && r.last[p.bucket] > r.passedOn(from) && !r.fenced(from, r.last[p.bucket]) {
		r.held[p.bucket] = []part{*p}
		r.count.held.Add(1)
		return true
	}
	sent := false
	switch {
	case to != nil:
		sent = r.relay(to, *p)
	case ok && home == r.self:
		sent = r.spread(p, origin{})
	default:
		if sent = r.out.direct(p.subject, p, origin{}); sent && r.router != nil {
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
	if s.state == relaysOpen && (len(s.kept) > r.most || s.bytes > r.bytes) {
		r.end(s, "full")
	}
	return true
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

// passedOn returns up to which push everything on a path has arrived.
func (r *routes) passedOn(path *relays) uint64 {
	if path == nil {
		return r.passed
	}
	return path.passed
}

// fenced reports whether everything on a path up to a push has arrived. If not, it
// makes sure that a fence follows it.
func (r *routes) fenced(path *relays, push uint64) bool {
	for _, f := range r.fences {
		if f.path == path && f.sent >= push {
			return false
		}
	}
	if f := r.await(path, r.out.nextEpoch()); len(f.await) == 0 {
		r.tickFences()
		return true
	} else if path == nil {
		r.out.fence(r.self, f.ref)
	} else {
		r.relay(path, part{special: relayFenceValue(f.ref)})
	}
	return false
}

// await begins to wait for the answers to a fence.
func (r *routes) await(path *relays, ref uint64) *fence {
	f := &fence{ref: ref, sent: r.sent, path: path, last: path.lastNumber(), until: r.now().Add(fenceWait)}
	for _, p := range r.out.present() {
		f.await = append(f.await, p.ID)
	}
	r.fences = append(r.fences, f)
	r.count.fences.Add(1)
	return f
}

// lastNumber returns the number of the last relay, 0 for the direct path.
func (s *relays) lastNumber() uint64 {
	if s == nil {
		return 0
	}
	return s.number
}

// end stops to use a home that is there. Pushes of its buckets wait for a fence, so that
// they do not overtake copies.
func (r *routes) end(s *relays, why string) {
	s.state, s.why = relaysEnding, why
	ref := s.epoch // the home has sent a fence with this number
	if why != "refused" {
		ref = r.out.nextEpoch()
	}
	if s.ending = r.await(s, ref); why != "refused" {
		r.relay(s, part{special: relayFenceValue(ref)})
	}
}

// pass records that everything before a fence has arrived.
func (r *routes) pass(f *fence) {
	if f.path == nil {
		r.passed = max(r.passed, f.sent)
		return
	}
	f.path.passed = max(f.path.passed, f.sent)
	if f.path.ending == f {
		r.close(f.path, f.path.why)
	}
}

// settle releases the pushes that wait for no fence any more.
func (r *routes) settle() {
	for b, parts := range r.held {
		from := r.path[b]
		if from != nil && from.state == relaysClosed {
			from = nil
		}
		waits := from != nil && from.state == relaysEnding ||
			slices.ContainsFunc(r.fences, func(f *fence) bool { return f.path == from && f.sent >= r.last[b] })
		if !waits {
			delete(r.held, b)
			r.urgent = append(r.urgent, parts...)
		}
	}
}

// heard takes what another node says about routes.
func (r *routes) heard(m routeMessage) {
	switch s := r.streams[m.node]; m.what {
	case routePassed:
		r.answered(m.epoch, m.node)
	case routeConfirm, routeRefuse:
		switch {
		case s == nil || s.epoch != m.epoch || s.state == relaysClosed || m.number > s.number: // of an earlier stream
		case m.what == routeConfirm:
			r.confirmed(s, m.number)
		case s.state == relaysOpening:
			r.close(s, "refused")
		case s.state == relaysOpen:
			r.end(s, "refused")
		}
	}
}

// confirmed forgets the relays up to a number.
func (r *routes) confirmed(s *relays, number uint64) {
	n := len(s.kept) - int(s.number-number)
	if n <= 0 {
		return
	}
	for i := range s.kept[:n] {
		s.bytes -= s.kept[i].size
		if s.kept[i].special == "" {
			r.out.free(&s.kept[i])
		}
	}
	clear(s.kept[:n])
	if s.kept = s.kept[n:]; len(s.kept) == 0 {
		s.kept = nil
	}
	s.moved = r.now()
	r.count.confirmed.Add(uint64(n))
	if s.state == relaysOpening {
		s.state = relaysOpen
		r.log.Info("pushes to users go through their home again", zap.String("home", r.nameOf(s.home)))
	}
}

// answered records the answer of a node to a fence.
func (r *routes) answered(ref uint64, node uint32) {
	for _, f := range r.fences {
		if f.ref != ref {
			continue
		}
		if f.await = slices.DeleteFunc(f.await, func(id uint32) bool { return id == node }); len(f.await) == 0 {
			r.finish(f)
		}
		return
	}
}

// close publishes directly what a home has not confirmed. Pushes to its buckets are
// direct until the home confirms an open.
func (r *routes) close(s *relays, why string) {
	opening := s.state == relaysOpening
	s.state, s.moved = relaysClosed, r.now()
	first := s.number - uint64(len(s.kept)) + 1
	again := make([]part, 0, len(s.kept)+1)
	for i := range s.kept {
		if p := s.kept[i]; p.special == "" {
			p.subject, p.origin, p.again = userBucketSubject(p.bucket), origin{r.self, s.epoch, first + uint64(i)}, true
			again = append(again, p)
		}
	}
	s.kept, s.bytes = nil, 0
	again = append(again, part{retire: origin{r.self, s.epoch, s.number}})
	r.urgent = append(again, r.urgent...)
	r.fences = slices.DeleteFunc(r.fences, func(f *fence) bool { return f.path == s })
	r.settle()
	if opening {
		return
	}
	r.count.fell(why)
	r.count.again.Add(uint64(len(again) - 1))
	r.log.Warn("pushes to users go to all nodes: their home does not confirm them", zap.String("home", r.nameOf(s.home)),
		zap.String("why", why), zap.Int("unconfirmed", len(again)-1))
}

// republish sends a push that a home has not confirmed.
func (r *routes) republish(p *part) bool {
	if !r.out.direct(p.subject, p, p.origin) {
		return false
	}
	r.sent++
	r.last[p.bucket], r.path[p.bucket] = r.sent, nil
	r.out.free(p)
	return true
}

// tick looks at what is late.
func (r *routes) tick() {
	now := r.now()
	for _, s := range r.streams {
		late := now.Sub(s.moved) >= r.wait && len(s.kept) > 0 && s.state != relaysClosed
		if late {
			r.close(s, "timeout")
		}
	}
	if len(r.fences) > 0 {
		r.tickFences()
	}
}

// tickFences gives up fences that are overdue, and waits for no node that is gone.
func (r *routes) tickFences() {
	now, present := r.now(), r.out.present()
	var done []*fence
	for _, f := range r.fences {
		f.await = slices.DeleteFunc(f.await, func(id uint32) bool {
			return !slices.ContainsFunc(present, func(p Peer) bool { return p.ID == id })
		})
		if len(f.await) > 0 && now.Before(f.until) {
			continue
		}
		done = append(done, f)
	}
	for _, f := range done {
		r.finish(f)
	}
}

// overdue gives up a fence that a node does not answer, because it is slow or stopped. All
// pushes are direct for a while, as they are to a node of which nothing is known. Copies
// that have not reached the node yet would come too late: they are lost there.
func (r *routes) overdue(f *fence) {
	r.count.overdue.Add(1)
	r.calm = r.now().Add(reopenWait)
	if f.path == nil || f.path.state == relaysClosed {
		return
	}
	switch {
	case f.path.ending != nil: // closed when f has passed
	case len(f.path.kept) > 0: // the home does not confirm either
		r.close(f.path, "timeout")
	default:
		r.urgent = append([]part{{retire: origin{r.self, f.path.epoch, f.last}}}, r.urgent...)
	}
}

// finish ends the wait for a fence.
func (r *routes) finish(f *fence) {
	r.fences = slices.DeleteFunc(r.fences, func(other *fence) bool { return other == f })
	if len(f.await) > 0 {
		r.overdue(f)
	}
	if len(f.await) == 0 || f.path != nil {
		r.pass(f)
	}
	r.settle()
}

func (r *routes) nameOf(node uint32) string {
	for _, p := range r.out.present() {
		if p.ID == node {
			return p.Name
		}
	}
	return nodeString(node)
}
