package session

import (
	"time"

	"go.uber.org/zap"

	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// renewals are the auth commands of a shard's sessions. While one is in progress its
// session is not read. It renews the session, or logs in a session of nobody. Owned by
// the shard.
type renewals struct {
	env
	events      *eventing
	users       *users
	grants      *grants
	topics      *topics
	clients     *clients
	answers     *answers
	commands    *commands
	permissions *permitting
	upgrades    *upgrades
	heartbeats  *heartbeats
	leaving     *departures

	waiting map[poller.ID]*renewal // by session
	queue   []*renewal             // the authenticator may be asked, unless the session awaits something else
}

// renewal is an auth command in progress. It is on the Go heap only meanwhile.
type renewal struct {
	id          poller.ID // of the session
	ref         string
	credentials []byte
	held        heldBytes   // the credentials
	asked       bool        // the authenticator has the credentials, or had them
	until       uint32      // tick at which it is given up
	parked      bool        // it waits for settled, and is not in renewals.queue
	move        *relocation // of a login; nil before the grant
}

// begin takes an auth command. The authenticator is asked later in the turn: its
// answer may move the connection, which must not happen while the connection's input
// is being decoded.
func (rs *renewals) begin(slot uint32, rec *record, c *wire.Command) {
	rn := &renewal{id: rs.ps.ID(slot), ref: c.Ref, credentials: c.Payload, until: rs.ps.Now() + ticks(rs.opt.UpgradeTime)}
	if code, field, text := rs.problem(rn); code != "" {
		rs.answers.fail(slot, c.Ref, code, field, text)
		return
	}
	if rs.waiting == nil {
		rs.waiting = map[poller.ID]*renewal{}
	}
	rs.waiting[rn.id] = rn
	rs.queue = append(rs.queue, rn)
	rs.srv.waiting.Add(1)
	rec.flags |= flagAuth | flagWaiting
	rs.ps.Pause(slot)
	rs.heartbeats.arm(slot, rec)
}

// problem says why the authenticator cannot be asked about a command; the code is "" if
// it can. Then the credentials count as bytes that wait for it.
func (rs *renewals) problem(rn *renewal) (code, field, text string) {
	if _, can := rs.opt.Authenticator.(LoginAuthenticator); !can {
		return "forbidden", "", "this server takes no credentials in commands"
	}
	if text = rs.credentialsProblem(len(rn.credentials)); text != "" {
		return "bad_request", "token", text
	}
	if rs.srv.waiting.Load() >= int64(rs.opt.MaxWaiting) {
		rs.counters.limit(limitWaiting)
		return "unavailable", "", "too many logins are being checked (upgrade.max_waiting); try again"
	}
	if refusal := rn.held.keep(&rs.env, len(rn.credentials)); refusal != nil {
		return "unavailable", "", refusal.Detail
	}
	return "", "", ""
}

// until returns the tick at which the auth command of a session is given up, if it has
// one; a session that is leaving its shard is not given up.
func (rs *renewals) until(slot uint32, rec *record) (tick uint32, ok bool) {
	if rec.flags&flagAuth == 0 || rec.flags&flagLeaving != 0 {
		return 0, false
	}
	return rs.waiting[rs.ps.ID(slot)].until, true
}

// timedOut gives up the auth command of a session, for want of an answer.
func (rs *renewals) timedOut(slot uint32, rec *record) {
	rs.counters.limit(limitUpgradeTime)
	rs.refuse(slot, rec, rs.waiting[rs.ps.ID(slot)], "unavailable", "the credentials were not checked in time (upgrade.timeout); try again")
}

// run asks the authenticator about commands whose sessions await nothing else, for the
// time of a chunk. It says whether there are more that it could ask about.
func (rs *renewals) run() (more bool) {
	queue := rs.queue
	if len(queue) == 0 {
		return false
	}
	rs.queue = nil
	for i, rn := range queue {
		if i%16 == 15 && rs.ps.Expired() {
			rs.queue = append(rs.queue, queue[i:]...)
			return true
		}
		if slot, ok := rs.ps.Lookup(rn.id); !ok || rs.waiting[rn.id] != rn {
			continue
		} else if !rs.settled(slot) {
			rn.parked = true
		} else {
			rs.ps.Protect(rn.id, func() { rs.ask(slot, rn) })
		}
	}
	return false
}

// recheck is called when a session has got one of the answers that it awaits: its
// auth command may go on. Commands that wait are not looked at in each turn, because
// thousands may wait for a backend that is slow.
func (rs *renewals) recheck(slot uint32, rec *record) {
	if rec.flags&flagAuth == 0 {
		return
	}
	if rn := rs.waiting[rs.ps.ID(slot)]; rn != nil && rn.parked {
		rn.parked = false
		rs.queue = append(rs.queue, rn)
	}
}

// settled says whether all commands of a session before its auth have been answered.
// Their answers would not find it under its new id.
func (rs *renewals) settled(slot uint32) bool {
	rec := rs.rec(slot)
	return rs.commands.decisions.pending(slot) == 0 && rs.commands.pubs.own[rs.ps.ID(slot)] == 0 && rs.events.answered(slot, rec)
}

func (rs *renewals) ask(slot uint32, rn *renewal) {
	a := rs.opt.Authenticator.(LoginAuthenticator)
	rn.asked = true
	pending := false
	defer func() {
		if !pending { // also after a panic
			rn.held.release()
		}
	}()
	var g Grant
	var refusal *ws.Refusal
	g, refusal, pending = a.Login(rs.clients.of(slot), rn.credentials, func(g Grant, r *ws.Refusal) {
		rn.held.release()
		rs.env.decided(func(*shard) { rs.ps.Protect(rn.id, func() { rs.decided(rn, g, r) }) })
	})
	if !pending {
		rs.decided(rn, g, refusal)
	}
}

// decided acts on the authenticator's answer. The session may be gone by then.
func (rs *renewals) decided(rn *renewal, g Grant, refusal *ws.Refusal) {
	slot, ok := rs.ps.Lookup(rn.id)
	if !ok || rs.waiting[rn.id] != rn || rn.move != nil {
		return
	}
	rec := rs.rec(slot)
	if refusal == nil {
		if err := checkGrant(&g); err != nil {
			rs.counters.badGrants.Add(1)
			rs.opt.Log.Error("the authenticator granted something that is not valid; an auth command is refused", zap.Error(err))
			rs.refuse(slot, rec, rn, "unavailable", "the server cannot determine this client's permissions; its log has the reason")
			return
		}
		if refusal = rs.opt.expired(&g); refusal == nil {
			refusal = rs.srv.revoked.refusal(&g, rs.srv.clock)
		}
	}
	uid := string(rs.users.uid(rec))
	switch {
	case refusal != nil && mayRetry(refusal):
		rs.refuse(slot, rec, rn, "unavailable", refusal.Detail)
	case refusal != nil:
		rs.refuse(slot, rec, rn, "forbidden", refusal.Detail)
	case g.UID == uid:
		rs.renew(slot, rec, rn, &g)
	case uid == "":
		rs.place(slot, rec, rn, g)
	default:
		rs.refuse(slot, rec, rn, "forbidden", "the credentials are of another user: connect anew with them")
	}
}

// renew gives a session a new grant. Topics of commands that are not permitted any
// more are left, and new ones of Grant.Topics joined.
func (rs *renewals) renew(slot uint32, rec *record, rn *renewal, g *Grant) {
	most, missing := rs.opt.topicsOf(&g.Limits), rs.missing(rec, g.Topics)
	if int(rec.count)+len(missing) > most {
		rs.counters.limit(limitTopics)
		rs.refuse(slot, rec, rn, "too_many_topics", "the session would have more topics than it may (session.max_topics)")
		return
	}
	g.DeviceClass = rs.grants.className(rec) // that with which it opened counts until it ends
	if rs.grants.put(rec, g) != nil {
		rs.counters.limit(limitMemory)
		rs.refuse(slot, rec, rn, "unavailable", "this server's tables are full")
		return
	}
	rs.events.changed(slot) // its meta data
	for _, topicName := range g.Topics {
		if t, ok := rs.topics.find(topicName); ok {
			rs.topics.permitBy(rec, t, permitGranted)
		}
	}
	reply := wire.Reply{Ref: rn.ref, Expires: g.Expires, Left: rs.permissions.leave(slot, rec, permitPattern)}
	rs.finish(slot, rec, rn)
	rs.commands.enter(slot, rec, reply, missing, permitGranted)
}

// missing returns the topics that a session is not subscribed to.
func (rs *renewals) missing(rec *record, topics []string) (missing []string) {
	for _, topicName := range topics {
		if !rs.topics.has(rec, topicName) {
			missing = append(missing, topicName)
		}
	}
	return missing
}

// refuse answers an auth command with an error. The session goes on as it was.
func (rs *renewals) refuse(slot uint32, rec *record, rn *renewal, code, text string) {
	rs.finish(slot, rec, rn)
	rs.answers.fail(slot, rn.ref, code, "", text)
}

// finish ends an auth command and reads its session again.
func (rs *renewals) finish(slot uint32, rec *record, rn *renewal) {
	rs.forget(slot, rec)
	rs.upgrades.stopWaiting(rec)
	rec.pingedAt = rs.ps.Now() // its pong could not be read
	rs.readOn(slot, rec)
	rs.heartbeats.arm(slot, rec)
}

// drop forgets the auth command of a session that ends, if it has one, and reads the
// session again: its close frame has to be read.
func (rs *renewals) drop(slot uint32, rec *record) {
	if rec.flags&flagAuth != 0 {
		rs.forget(slot, rec)
		rs.readOn(slot, rec)
	}
}

func (rs *renewals) forget(slot uint32, rec *record) {
	rec.flags &^= flagAuth
	id := rs.ps.ID(slot)
	rn := rs.waiting[id]
	if delete(rs.waiting, id); len(rs.waiting) == 0 {
		rs.waiting = nil
	}
	if !rn.asked {
		rn.held.release()
	}
	if rn.move != nil {
		rs.leaving.cancel(rec, rn.move)
	}
}

// now returns the time by which grants expire.
func (o *Options) now() time.Time {
	if o.clock != nil {
		return o.clock()
	}
	return time.Now()
}
