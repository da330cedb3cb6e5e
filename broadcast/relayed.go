package broadcast

import (
	"time"

	"github.com/nats-io/nats.go"
)

// relayInbox is the home's part of routing: it takes the relays of each publishing
// node in order, or refuses them. Owned by the receiver's goroutine.
type relayInbox struct {
	streams map[uint32]*relayIn // by publishing node
}

// relayIn is the newest stream of relays of another node.
type relayIn struct {
	epoch   uint64
	last    uint64 // number of the last relay that was taken
	refused bool   // no more of this stream is taken
	said    time.Time
	at      time.Time // when the last relay came
}

// refuseEvery is the shortest time between two refusals of a stream.
const refuseEvery = 100 * time.Millisecond

// next reports whether a relay is to be taken: it is the next one of its stream. If
// refuse is true, its node is to be told that nothing above s.last is taken.
func (in *relayInbox) next(st stamp, now time.Time) (s *relayIn, take, refuse bool) {
	s = in.streams[st.node]
	if s == nil || st.epoch > s.epoch {
		if s == nil && len(in.streams) >= maxPeers {
			return nil, false, false // the node gets no answer and publishes directly
		}
		s = &relayIn{epoch: st.epoch}
		in.streams[st.node] = s
	}
	s.at = now
	switch {
	case st.epoch < s.epoch: // late, of a stream that its node has given up
		return s, false, false
	case !s.refused && st.number == s.last+1:
		s.last++
		return s, true, false
	case !s.refused && st.number <= s.last: // a copy
		return s, false, false
	}
	return s, false, in.refuse(s, now)
}

// refuse ends a stream, and reports whether its node is to be told now.
func (in *relayInbox) refuse(s *relayIn, now time.Time) bool {
	first := !s.refused
	s.refused = true
	if !first && now.Sub(s.said) < refuseEvery {
		return false
	}
	s.said = now
	return true
}

func (in *relayInbox) sweep(now time.Time) {
	for node, s := range in.streams {
		if now.Sub(s.at) > streamForget {
			delete(in.streams, node)
		}
	}
}

// relay takes a message on belfry.relay.<node>: of this node as the home, or of
// another one that this node overhears.
func (r *receiver) relay(m *nats.Msg, now time.Time) {
	mine := m.Subject == r.bus.relaySubject
	if mine && m.Sub != nil && m.Sub.Subject == subjectRelays {
		return // it comes by the subscription to this node's relays too
	}
	st, numbered, err := r.decoder.stamp(m)
	if err == nil && !numbered {
		err = bad(headerSeq, "required on this subject")
	}
	if err != nil {
		r.malformed(m, err)
		return
	}
	if !mine {
		r.overheard(m, st, now)
		return
	}
	s, take, refuse := r.relays.next(st, now)
	if refuse {
		r.refuse(st, s)
	}
	if take {
		r.passOn(m, st, s, now)
	}
}

// refuse has the sender tell a publishing node that this home does not take its relays.
func (r *receiver) refuse(st stamp, s *relayIn) {
	r.bus.box.commit([]part{{forward: true, refuse: true, origin: origin{st.node, s.epoch, s.last}}})
}

// passOn delivers a relay here and queues it for the nodes that have the users.
func (r *receiver) passOn(m *nats.Msg, st stamp, s *relayIn, now time.Time) {
	p := part{origin: origin(st), forward: true, size: m.Size() + originSize}
	special, given, err := one(m.Header, headerRelay)
	if err == nil && given {
		ref, ok := parseRelay(special)
		if p.fence = ref; !ok {
			err = bad(headerRelay, "allowed are open and fence")
		}
		if ok && ref == 0 {
			(*r.bus.router.Load()).Verify()
		}
		if ok && ref != 0 {
			r.bus.tellRoute(st.node, routeMessage{node: r.bus.id, what: routePassed, epoch: ref})
		}
	}
	if err == nil && !given {
		p.message, err = r.decoder.decode(m, true)
	}
	if err == nil && !given {
		p.place, err = placeOf(m.Header)
	}
	if err != nil {
		r.malformed(m, err) // confirmed all the same: it would be malformed on every node
		p.message = nil
	}
	if p.message != nil {
		p.names, p.bucket, p.users = p.message.Target.Names, UserBucket(p.message.Target.Names[0]), true
	}
	if r.bus.box.reserve(1, p.size) != nil {
		s.last--
		if r.relays.refuse(s, now) {
			r.refuse(st, s)
		}
		return
	}
	r.bus.box.commit([]part{p})
	r.marks.first(origin(st), now, true)
	if p.message != nil && r.bus.interest.holds(p.bucket) && r.mayDeliver(st.node, p.bucket, m, now) {
		r.deliver(p.message)
	}
}

// overheard takes a relay to another node.
func (r *receiver) overheard(m *nats.Msg, st stamp, now time.Time) {
	if !r.marks.first(origin(st), now, true) {
		r.bus.count.routes.dropped.Add(1)
		return
	}
	if m.Header[headerRelay] != nil {
		return
	}
	out, err := r.decoder.decode(m, true)
	if err != nil {
		return // its home counts it
	}
	if b := UserBucket(out.Target.Names[0]); r.bus.interest.holds(b) && r.mayDeliver(st.node, b, m, now) {
		r.bus.count.routes.overheard.Add(1)
		r.deliver(out)
	}
}

// routed reports whether a message is to be delivered that may be a copy of a relay, and
// which node has published it. It counts and drops copies of what was delivered, and
// those of this node.
func (r *receiver) routed(m *nats.Msg, st stamp, numbered bool, now time.Time) (publisher uint32, deliver bool, err error) {
	value, given, err := one(m.Header, headerOrigin)
	if err != nil || !given || !numbered { // of others than nodes the header is unknown, see checkHeaders
		return st.node, err == nil, err
	}
	o, ok := parseOrigin(value)
	if !ok {
		return 0, false, bad(headerOrigin, "allowed is node epoch.number")
	}
	if o.node == r.bus.id {
		return o.node, false, nil // the home sent it to all
	}
	if !r.marks.first(o, now, false) {
		r.bus.count.routes.dropped.Add(1)
		return o.node, false, nil
	}
	return o.node, true, nil
}

// route takes a message on belfry.ctl.fence.
func (r *receiver) route(m *nats.Msg, now time.Time) {
	f, err := parseRouteMessage(m.Data)
	switch {
	case err != nil:
		r.malformed(m, err)
	case f.node == r.bus.id: // the home sent it to all
	case f.what == routeFence:
		r.bus.tellRoute(f.node, routeMessage{node: r.bus.id, what: routePassed, epoch: f.epoch})
	case f.what == routeRetire:
		r.marks.retire(origin{f.node, f.epoch, f.number}, now)
	}
}

// tellRoute sends a message about routes to one node. It is lost without a connection:
// the other node then waits in vain, and publishes to all nodes.
func (b *NATS) tellRoute(node uint32, m routeMessage) {
	if b.nc.IsConnected() {
		_ = b.nc.PublishMsg(&nats.Msg{Subject: routeSubject(node), Data: m.append(nil)})
	}
}
