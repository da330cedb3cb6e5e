package session

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// readHead is the first step of an upgrade: the request, once it is all there.
func (h *shard) readHead(slot uint32, p []byte) int {
	req, n, refusal := h.parser.Parse(p)
	// Refused connections count too for as long as they stay.
	crowded := h.srv.conns.Load() > h.opt.maxConns()
	switch {
	case refusal == nil && n == 0:
		return 0
	case refusal != nil && refusal.Health:
		h.health(slot, refusal)
		return len(p)
	case refusal != nil && crowded:
		h.refuseAndClose(slot, h.fullOfConnections())
		return len(p)
	}
	if n > 0 {
		h.origin = h.parser.LastOrigin()
		defer func() { h.origin = nil }()
	}
	if refusal != nil {
		if r := h.parser.LastRequest(); n > 0 && r != nil {
			refusal = cmp.Or(h.forwarded(slot, r), refusal)
		}
		h.refuse(slot, refusal)
		return len(p)
	}
	o, refusal := h.choose(req)
	switch {
	case crowded:
		h.refuseUpgrade(slot, o, h.fullOfConnections())
		h.ps.Close(slot) // see refuseAndClose
		return len(p)
	case refusal != nil:
		h.refuse(slot, cmp.Or(h.forwarded(slot, req), refusal))
		return len(p)
	}
	if refusal = h.forwarded(slot, req); refusal == nil {
		refusal = h.full()
	}
	if refusal != nil {
		h.refuseUpgrade(slot, o, refusal)
		return len(p)
	}
	h.dropHalfOpen(h.rec(slot))
	return h.authorize(slot, req, o, p, n)
}

// full refuses a request for which there is no session left.
func (h *shard) full() *ws.Refusal {
	if h.srv.sessions.Load() >= int64(h.opt.MaxSessions) {
		h.counters.limit(limitSessions)
		return h.fullOfSessions()
	}
	return nil
}

// choose begins an upgrade with what the request asks for, or refuses what is
// not served, and pages that may not connect.
func (h *shard) choose(req *ws.Request) (*upgrade, *ws.Refusal) {
	variant, echo, refusal := h.srv.protocols.choose(req)
	if refusal = cmp.Or(refusal, h.opt.Origins.Check(req)); refusal != nil {
		return nil, refusal
	}
	o := h.srv.newUpgrade()
	o.variant, o.echo = variant, echo
	o.accept = h.srv.protocols.variants[variant].Transport.AppendAccept(o.accept, req)
	return o, nil
}

func (h *shard) fullOfSessions() *ws.Refusal {
	return ws.Unavailable("this server has reached its limit of sessions (max_connections)", h.opt.RetryAfter).WithCause(CauseSessions)
}

// authorize is the second step of an upgrade. The request is the first n bytes
// of p.
func (h *shard) authorize(slot uint32, req *ws.Request, o *upgrade, p []byte, n int) int {
	switch {
	case o.echo:
		h.register(slot, o)
		return h.readAhead(slot, p, n)
	case h.srv.protocols.variants[o.variant].inBand:
		h.awaitLogin(slot, o)
		return h.readAhead(slot, p, n)
	}
	id := h.ps.ID(slot)
	grant, refusal, pending := h.opt.Authenticator.Authenticate(req, func(g Grant, r *ws.Refusal) { h.postAuth(id, g, r) })
	switch {
	case pending:
		if refusal = h.startWaiting(slot); refusal != nil {
			h.refuseUpgrade(slot, o, refusal)
			return len(p) // its verdict finds nobody
		}
		rec := h.rec(slot)
		rec.state, rec.side = stateAuth, h.upgrades.Put(o)
		h.ps.Pause(slot)
		return n
	case refusal != nil:
		h.refuseUpgrade(slot, o, refusal)
		return len(p)
	}
	if h.takeGrant(slot, o, grant) && h.moveHome(slot, o, p[n:]) {
		return h.readAhead(slot, p, n)
	}
	return len(p)
}

// startWaiting counts a connection as waiting for its answer, for no longer than
// told. It returns a refusal if too many wait.
func (h *shard) startWaiting(slot uint32) *ws.Refusal {
	n := h.srv.waiting.Load()
	if rec := h.rec(slot); rec.flags&flagWaiting == 0 {
		rec.flags |= flagWaiting
		n = h.srv.waiting.Add(1)
	}
	if n > int64(h.opt.MaxWaiting) {
		h.counters.limit(limitWaiting)
		return ws.Unavailable("too many upgrades wait for an answer (upgrade.max_waiting)", h.opt.RetryAfter).WithCause(CausePending)
	}
	h.ps.SetTimer(slot, h.ps.Now()+ticks(h.opt.UpgradeTime))
	return nil
}

// readAhead reads the frames that a client sent behind its request without
// waiting for the answer. The first n bytes of p are consumed.
func (h *shard) readAhead(slot uint32, p []byte, n int) int {
	if s := h.rec(slot).state; (s == stateOpen || s == stateLogin) && n < len(p) {
		return n + h.readFrames(slot, p[n:])
	}
	if h.rec(slot).state == stateHalfClosed {
		return len(p)
	}
	return n
}

// authResult is what an authenticator found out elsewhere.
type authResult struct {
	grant   Grant
	refusal *ws.Refusal
}

// postAuth brings a verdict home. It runs on the authenticator's
// goroutine, which may wait for a full mailbox.
func (h *shard) postAuth(id poller.ID, g Grant, r *ws.Refusal) {
	m := poller.Mail{Kind: mailAuth, ID: uint64(id), Ptr: &authResult{g, r}}
	for !h.ps.Post(poller.QueueControl, m) {
		select {
		case <-h.srv.done:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func (h *shard) authDone(id poller.ID, v *authResult) {
	slot, ok := h.ps.Lookup(id)
	if !ok || h.rec(slot).state != stateAuth {
		return
	}
	rec := h.rec(slot)
	o := h.takeUpgrade(rec)
	if v.refusal != nil {
		h.refuseUpgrade(slot, o, v.refusal)
		return
	}
	if h.takeGrant(slot, o, v.grant) {
		h.moveHome(slot, o, nil)
	}
}

// badGrantEvery is how often, in ticks, an authenticator that grants what is not
// valid is complained about.
const badGrantEvery = 60

// takeGrant takes over what an authenticator has granted. What is not valid is
// refused here, whoever has made it: a topic is literally a NATS subject, and
// uids go into logs and headers.
func (h *shard) takeGrant(slot uint32, o *upgrade, g Grant) bool {
	o.uid, o.topics = g.UID, g.Topics
	err := checkGrant(g)
	if err == nil {
		return true
	}
	h.counters.badGrants.Add(1)
	if now := h.ps.Now() + 1; h.badGrantAt == 0 || now-h.badGrantAt >= badGrantEvery {
		h.badGrantAt = now
		h.opt.Log.Error("the authenticator granted an invalid user id or topic; these clients are refused", zap.Error(err))
	}
	h.refuseUpgrade(slot, o, &ws.Refusal{Status: 500, Cause: CauseAuthenticator, Detail: "the server cannot determine this client's permissions; its log has the reason"})
	return false
}

func checkGrant(g Grant) error {
	if g.UID != "" {
		if err := message.CheckUID(g.UID); err != nil {
			return err
		}
	}
	for _, topic := range g.Topics {
		if err := message.CheckTopic(topic); err != nil {
			return err
		}
	}
	return nil
}

// moveHome brings a connection to the shard of its user. It returns false if
// the slot is then no longer ours, or refused. unread is what follows
// the request; nil if the poller keeps it.
func (h *shard) moveHome(slot uint32, o *upgrade, unread []byte) bool {
	if len(o.topics) > 1 {
		o.topics = slices.Clone(o.topics) // the authenticator's own, which may have given it to others too
		slices.Sort(o.topics)
		o.topics = slices.Compact(o.topics)
	}
	if len(o.topics) > h.opt.MaxTopics {
		h.counters.limit(limitTopics)
		h.refuseUpgrade(slot, o, ws.Forbidden(fmt.Sprintf("topic: a session may have at most %d topics (session.max_topics)", h.opt.MaxTopics)).WithCause(CauseMaxTopics))
		return false
	}
	if o.uid != "" {
		if home, _ := h.srv.homeOf(o.uid); home != h.index {
			if rec := h.rec(slot); rec.flags&flagWaiting == 0 {
				h.srv.waiting.Add(1) // on its way
			}
			o.remote, o.counted = h.takeRemote(slot)
			h.ps.Move(slot, home, o, unread)
			return false
		}
	}
	h.register(slot, o)
	return true
}

// register enters a session into the tables of its shard and, once the bus
// carries messages for it, answers the upgrade.
func (h *shard) register(slot uint32, o *upgrade) {
	rec := h.rec(slot)
	rec.variant = o.variant
	rec.fanoutRun = h.fanout.runNumber // what is being sent was published before
	rec.flags |= flagSession
	h.srv.perVariant[o.variant].Add(1)
	if h.srv.sessions.Add(1) > int64(h.opt.MaxSessions) {
		h.counters.limit(limitSessions)
		h.refuseUpgrade(slot, o, h.fullOfSessions())
		return
	}
	if o.echo {
		rec.flags |= flagEcho
		h.ps.SetLargeBacklog(slot)
	}
	if err := h.enter(slot, rec, o); err != nil {
		h.opt.Log.Warn("session refused", zap.Error(err))
		h.counters.limit(limitMemory)
		h.refuseUpgrade(slot, o, ws.Unavailable("this server's tables are full", h.opt.RetryAfter).WithCause(CauseMemory))
		return
	}
	if rec.awaited > 0 {
		if refusal := h.startWaiting(slot); refusal != nil {
			h.refuseUpgrade(slot, o, refusal)
			return
		}
		rec.state = stateJoin
		rec.side = h.upgrades.Put(o)
		h.ps.Pause(slot)
		return
	}
	h.accept(slot, rec, o)
}

// enter puts the session into the tables of users and topics.
func (h *shard) enter(slot uint32, rec *record, o *upgrade) error {
	if o.uid != "" {
		if err := h.enterUser(slot, rec, o.uid); err != nil {
			return err
		}
		if !h.opt.Interest.JoinUser(h.uids.Get(rec.uid), h, uint64(h.ps.ID(slot))) {
			rec.awaited++
		}
	}
	for _, topic := range o.topics {
		t, joined, err := h.joinTopic(slot, rec, topic)
		if err != nil {
			return err
		}
		if joined && !h.topics.at(t).ready {
			h.topics.await(t, waiter{id: h.ps.ID(slot)})
			rec.awaited++
		}
	}
	return nil
}

// ready counts down what an upgrade waits for.
func (h *shard) ready(slot uint32) {
	rec := h.rec(slot)
	if rec.state != stateJoin || rec.awaited == 0 {
		return
	}
	if rec.awaited--; rec.awaited > 0 {
		return
	}
	h.accept(slot, rec, h.takeUpgrade(rec))
}

// accept is the third step of an upgrade: the answer, and in the same write
// what the encoding has to say first. o is done with.
func (h *shard) accept(slot uint32, rec *record, o *upgrade) {
	h.stopWaiting(rec)
	rec.state = stateOpen
	rec.openedAt = unixNow()
	h.buf = h.buf[:0]
	if !o.answered {
		h.counters.accepted(o.accept)
		h.buf = append(h.buf, o.accept...)
	}
	if !o.echo {
		w := h.say(rec, h.buf)
		h.variantOf(rec).Encoding.Hello(w, &wire.Hello{
			Session:      h.sid(slot),
			UID:          o.uid,
			Ref:          o.ref,
			Topics:       o.topics,
			PingInterval: h.opt.PingInterval,
			PongTimeout:  h.opt.PongTimeout,
		})
		h.buf = w.Bytes()
	}
	h.srv.putUpgrade(o)
	h.ps.Send(slot, poller.Bytes(h.buf), poller.Data)
	h.ps.Resume(slot)
	h.armHeartbeat(slot, rec)
}

// unixNow returns the time in Unix seconds.
func unixNow() uint32 { return uint32(time.Now().Unix()) }

// stopWaiting stops counting an upgrade as waiting.
func (h *shard) stopWaiting(rec *record) {
	if rec.flags&flagWaiting != 0 {
		rec.flags &^= flagWaiting
		h.srv.waiting.Add(-1)
	}
}

// sid returns the id of the session in a slot.
func (h *shard) sid(slot uint32) string {
	return message.SID{Node: h.opt.Node, Shard: uint16(h.index), Conn: uint64(h.ps.ID(slot))}.Format(&h.opt.Key)
}
