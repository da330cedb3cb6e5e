package broadcast

import (
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"belfry/message"
)

// duplicateNodeEvery is the shortest time between two log lines about another
// process with this node's id.
const duplicateNodeEvery = time.Minute

// receiver takes messages from the channel that nats.go fills, in order, and
// passes new and valid ones to the node. Everything in it is owned by its
// goroutine, run.
type receiver struct {
	bus      *NATS
	deliver  func(*message.Message)
	decoder  decoder
	gaps     gapTracker
	roster   *roster
	recent   *recent
	relays   relayInbox
	marks    marks
	order    inOrder
	late     *filter // after Take of a node that has joined; nil: none
	instance string  // of this process

	duplicate   string    // instance of another process with this node's id
	duplicateAt time.Time // when it was logged
}

func (r *receiver) run() {
	defer r.bus.wg.Done()
	ticks, stop := r.bus.opt.clock.tick(r.bus.opt.Beacon)
	defer stop()
	for {
		select {
		case m := <-r.bus.in:
			r.handle(m)
		case now := <-ticks:
			r.sweep(now)
		case p := <-r.bus.pauses.receiver:
			if !p.run(r.bus.stop) {
				return
			}
		case <-r.bus.stop:
			return
		}
	}
}

func (r *receiver) sweep(now time.Time) {
	defer r.bus.faults.caught("sweep")
	r.roster.sweep(now)
	r.gaps.sweep(now)
	r.relays.sweep(now)
	r.marks.sweep(now)
	r.order.sweep(now)
	r.bus.conditionLog.check(now)
}

// handle handles one bus message.
func (r *receiver) handle(m *nats.Msg) {
	defer func() {
		if v := recover(); v != nil {
			r.bus.faults.report("receive "+m.Subject, v)
			if !strings.HasPrefix(m.Subject, subjectControl) {
				r.bus.count.lostFault.Add(1)
			}
		}
	}()
	now := r.bus.opt.clock.now()
	r.bus.came(0, m)
	if !passes(&r.late, m, now) {
		return
	}
	if m.Header[headerProbe] != nil { // it serves to check permissions, see probe.go
		return
	}
	if strings.HasPrefix(m.Subject, subjectControl) {
		r.control(m, now)
		return
	}
	if m.Subject == r.bus.self && m.Header[headerRelay] != nil {
		r.syncAsked(m)
		return
	}
	r.bus.count.received.Add(1)
	if strings.HasPrefix(m.Subject, subjectRelay) {
		r.relay(m, now)
		return
	}
	r.message(m, now)
}

// message handles a bus message that is neither a control message nor a relay.
func (r *receiver) message(m *nats.Msg, now time.Time) {
	st, numbered, err := r.decoder.stamp(m)
	if err != nil {
		r.malformed(m, err)
		return
	}
	if numbered && !r.gaps.accept(st, m.Subject, now) {
		r.bus.count.duplicates.Add(1)
		return
	}
	publisher, deliver, err := r.routed(m, st, numbered, now)
	if !deliver {
		if err != nil {
			r.malformed(m, err)
		}
		return
	}
	if b, ok := userBucketOfSubject(m.Subject); ok && !r.bus.interest.holds(b) {
		return // pushes to all users come to every node
	}
	out, err := r.decoder.decode(m, numbered)
	if err != nil {
		r.malformed(m, err)
		return
	}
	if numbered && out.Target.Scope == message.ScopeUsers && !r.mayDeliver(publisher, UserBucket(out.Target.Names[0]), m, now) {
		return
	}
	if out.Target.Scope == message.ScopeTopics && len(out.Target.Names) > 1 && out.ID != "" &&
		!r.recent.first(st.node, out.ID) {
		r.bus.count.duplicates.Add(1)
		return
	}
	if out.ID == "" {
		out.ID = r.bus.ids.next()
	}
	r.deliver(out)
}

// userBucketOfSubject returns the user bucket of a valid user subject.
func userBucketOfSubject(subject string) (uint16, bool) {
	token, ok := strings.CutPrefix(subject, subjectUser)
	if !ok {
		return 0, false
	}
	return parseUserBucket(token)
}

func (r *receiver) malformed(m *nats.Msg, err error) {
	r.bus.count.malformed.Add(1)
	r.bus.log.Warn("malformed message dropped", zap.Error(&MalformedError{Subject: m.Subject, Err: err}))
}

// control handles belfry.ctl.>. It ignores unknown subjects: nodes of later
// versions may use them.
func (r *receiver) control(m *nats.Msg, now time.Time) {
	switch m.Subject {
	case subjectFence:
		r.route(m, now)
	case subjectBeacon:
		r.beacon(m, now)
	case subjectPeers:
		if l, err := parsePeers(m.Data); err != nil {
			r.malformed(m, err)
		} else if l.node != r.bus.id {
			r.roster.onPeerList(l, now)
		}
	case subjectReport:
		if node, id, err := r.decoder.report(m); err != nil {
			r.malformed(m, err)
		} else {
			r.bus.control.ReportAsked(node, id)
		}
	}
}

func (r *receiver) beacon(m *nats.Msg, now time.Time) {
	b, err := parseBeacon(m.Data)
	if err != nil {
		r.malformed(m, err)
		return
	}
	b.status.Instance = b.instance
	if err := b.status.readHeader(m.Header); err != nil {
		r.malformed(m, err)
		return
	}
	if b.node != r.bus.id {
		r.roster.onBeacon(b, now)
		r.gaps.onBeacon(b, now)
		r.bus.control.Heard(Sighting{Peer{b.node, b.name}, b.status})
		return
	}
	// With NoEcho a node does not receive its own beacons, so another process
	// sent this one.
	if b.instance == r.instance {
		r.malformed(m, errors.New("a beacon of this process, sent by another one"))
		return
	}
	if b.instance != r.duplicate {
		r.bus.count.duplicateNodes.Add(1)
	} else if now.Sub(r.duplicateAt) < duplicateNodeEvery {
		return
	}
	r.duplicate, r.duplicateAt = b.instance, now
	r.bus.log.Error("another process has the same node name: pushes to sessions may reach the wrong node; give each node its own node.name",
		zap.String("node", nodeString(b.node)), zap.String("name", r.bus.opt.NodeName), zap.String("its_name", b.name))
}
