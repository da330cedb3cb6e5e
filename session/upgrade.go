package session

import (
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"belfry/poller"
)

// readHead is the first step of an upgrade: the request, once it is all there.
func (h *shard) readHead(slot uint32, p []byte) int {
	req, n, refusal := h.handshaker.Parse(p)
	if refusal == nil && n == 0 {
		return 0
	}
	if refusal == nil && h.srv.sessions.Load() >= int64(h.opt.MaxSessions) {
		h.counters.limit(limitSessions)
		refusal = Unavailable("this server has as many sessions as it may", h.opt.RetryAfter).Because(CauseSessions)
	}
	if refusal != nil {
		h.refuse(slot, refusal)
		return len(p)
	}
	o := h.srv.newOpening()
	o.accept, o.encoding = req.AppendAccept(o.accept), h.srv.encodingFor(req.Subprotocol())
	if h.opt.Echo && string(req.Path()) == EchoPath {
		o.echo = true
		h.register(slot, o)
		return h.readOn(slot, p, n)
	}
	id := h.ps.ID(slot)
	grant, refusal, pending := h.opt.Authenticator.Authenticate(req, func(g Grant, r *Refusal) { h.authenticated(id, g, r) })
	switch {
	case pending:
		rec := h.rec(slot)
		rec.state, rec.aside = stateAuth, h.openings.Put(o)
		h.ps.Pause(slot)
		return n
	case refusal != nil:
		h.srv.reuse(o)
		h.refuse(slot, refusal)
		return len(p)
	}
	o.uid, o.topics = grant.UID, grant.Topics
	if h.settle(slot, o, p[n:]) {
		return h.readOn(slot, p, n)
	}
	return len(p)
}

// readOn reads the frames that a client sent behind its request without
// waiting for the answer. The first n bytes of p are consumed.
func (h *shard) readOn(slot uint32, p []byte, n int) int {
	if h.rec(slot).state == stateOpen && n < len(p) {
		return n + h.readFrames(slot, p[n:])
	}
	if h.rec(slot).state == stateDrain {
		return len(p)
	}
	return n
}

// verdict is what an authenticator found out elsewhere.
type verdict struct {
	grant   Grant
	refusal *Refusal
}

// authenticated brings a verdict home. It runs on the authenticator's
// goroutine, which may wait for a full mailbox.
func (h *shard) authenticated(id poller.ID, g Grant, r *Refusal) {
	m := poller.Mail{Kind: mailAuth, ID: uint64(id), Ptr: &verdict{g, r}}
	for !h.ps.Post(poller.LaneControl, m) {
		select {
		case <-h.srv.done:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func (h *shard) judged(id poller.ID, v *verdict) {
	slot, ok := h.ps.Lookup(id)
	if !ok || h.rec(slot).state != stateAuth {
		return
	}
	rec := h.rec(slot)
	o := h.takeOpening(rec)
	if v.refusal != nil {
		h.srv.reuse(o)
		h.refuse(slot, v.refusal)
		return
	}
	o.uid, o.topics = v.grant.UID, v.grant.Topics
	h.settle(slot, o, nil)
}

// settle brings a connection to the shard of its user. It returns false if
// the slot is then no longer ours, or refused. unread is what follows
// the request; nil if the poller keeps it.
func (h *shard) settle(slot uint32, o *opening, unread []byte) bool {
	if len(o.topics) > 1 {
		o.topics = slices.Clone(o.topics) // the authenticator's own, which may have given it to others too
		slices.Sort(o.topics)
		o.topics = slices.Compact(o.topics)
	}
	if len(o.topics) > h.opt.MaxTopics {
		h.counters.limit(limitTopics)
		h.srv.reuse(o)
		h.refuse(slot, Forbidden(fmt.Sprintf("topic: a session may have at most %d topics", h.opt.MaxTopics)).Because(CauseMaxTopics))
		return false
	}
	if o.uid != "" {
		if home, _ := h.srv.homeOf(o.uid); home != h.index {
			h.ps.Move(slot, home, o, unread)
			return false
		}
	}
	h.register(slot, o)
	return true
}

// register enters a session into the tables of its shard and, once the bus
// carries messages for it, answers the upgrade.
func (h *shard) register(slot uint32, o *opening) {
	rec := h.rec(slot)
	rec.encoding = o.encoding
	rec.pass = h.pass.number // what is being sent was published before
	rec.flags |= flagSession
	h.srv.speakers[o.encoding].Add(1)
	if h.srv.sessions.Add(1) > int64(h.opt.MaxSessions) {
		h.counters.limit(limitSessions)
		h.srv.reuse(o)
		h.refuse(slot, Unavailable("this server has as many sessions as it may", h.opt.RetryAfter).Because(CauseSessions))
		return
	}
	if o.echo {
		rec.flags |= flagEcho
		h.ps.SetWide(slot)
	}
	if err := h.enter(slot, rec, o); err != nil {
		h.opt.Log.Warn("session refused", zap.Error(err))
		h.counters.limit(limitMemory)
		h.srv.reuse(o)
		h.refuse(slot, Unavailable("this server's tables are full", h.opt.RetryAfter).Because(CauseMemory))
		return
	}
	if rec.pending > 0 {
		rec.state = stateJoin
		rec.aside = h.openings.Put(o)
		h.ps.Pause(slot)
		h.ps.SetTimer(slot, h.ps.Now()+ticks(h.opt.UpgradeTime))
		return
	}
	h.accept(slot, rec, o)
}

// enter puts the session into the tables of users and topics.
func (h *shard) enter(slot uint32, rec *record, o *opening) error {
	if o.uid != "" {
		if err := h.enterUser(slot, rec, o.uid); err != nil {
			return err
		}
		if !h.opt.Interest.JoinUser(h.uids.Get(rec.uid), h, uint64(h.ps.ID(slot))) {
			rec.pending++
		}
	}
	for _, topic := range o.topics {
		t, joined, err := h.joinTopic(slot, rec, topic)
		if err != nil {
			return err
		}
		if joined && !h.topics.at(t).ready {
			h.topics.await(t, waiter{id: h.ps.ID(slot)})
			rec.pending++
		}
	}
	return nil
}

// ready counts down what an upgrade waits for.
func (h *shard) ready(slot uint32) {
	rec := h.rec(slot)
	if rec.state != stateJoin || rec.pending == 0 {
		return
	}
	if rec.pending--; rec.pending > 0 {
		return
	}
	h.accept(slot, rec, h.takeOpening(rec))
}

// accept is the third step of an upgrade: the answer, and in the same write
// what the encoding has to say first. o is done with.
func (h *shard) accept(slot uint32, rec *record, o *opening) {
	h.unpend(rec)
	rec.state = stateOpen
	rec.openedAt = uint32(time.Now().Unix())
	h.counters.answered(outcomeAccepted, CauseNone)
	h.buf = append(h.buf[:0], o.accept...)
	if e := h.opt.Encodings[rec.encoding]; e.Subprotocol() != "" {
		h.buf = e.AppendHello(h.buf, &Hello{
			Session:      h.sid(slot),
			UID:          o.uid,
			Topics:       o.topics,
			PingInterval: h.opt.PingInterval,
			PongTimeout:  h.opt.PongTimeout,
		})
	}
	h.srv.reuse(o)
	h.ps.StageBytes(slot, h.buf)
	h.ps.Resume(slot)
	h.armHeartbeat(slot, rec)
}

// refuse answers a request that does not become a session.
func (h *shard) refuse(slot uint32, r *Refusal) {
	rec := h.rec(slot)
	if rec.reason == ReasonNone {
		rec.reason = ReasonHandshake
	}
	h.counters.refused(r)
	h.buf = AppendRefusal(h.buf[:0], r, h.date.at(time.Now()))
	h.ps.SendBytes(slot, h.buf)
	h.drain(slot, rec)
}

// unpend stops counting an upgrade as in progress.
func (h *shard) unpend(rec *record) {
	if rec.flags&flagPending != 0 {
		rec.flags &^= flagPending
		h.srv.pending.Add(-1)
	}
}

// takeOpening takes the upgrade that waits in rec.
func (h *shard) takeOpening(rec *record) *opening {
	o := h.openings.Get(rec.aside)
	h.openings.Drop(rec.aside)
	rec.aside = 0
	return o
}

func (h *shard) dropOpening(rec *record) {
	if rec.aside != 0 && rec.flags&flagMetered == 0 {
		h.srv.reuse(h.takeOpening(rec))
	}
}

// sid returns the id of the session in a slot.
func (h *shard) sid(slot uint32) string {
	return name{h.opt.Node, uint16(h.index), h.ps.ID(slot)}.format(&h.opt.Key)
}
