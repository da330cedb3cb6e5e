package session

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"belfry/poller"
	"belfry/ws"
)

// upgrader brings a connection from accept to session, or refuses it. An upgrade
// has four steps: parse (readHead), choose (which variant), authorize, and answer
// (register, accept). Owned by the shard.
type upgrader struct {
	env
	upgrades    *upgrades
	halfOpen    *halfOpen
	remotes     *remotes
	log         *connLog // told of the origin of a request
	users       *users
	grants      *grants
	arrivals    *arrivals
	permissions *permitting
	buckets     *buckets
	topics      *topics
	fanout      *fanoutRuns // for the number of the fan-out run
	receiver    *receiver   // for frames that came with the request
	answers     *answers
	closer      *closer
	refuser     *refuser
	heartbeats  *heartbeats
	events      *eventing
	changes     *changeFeed
	watch       *watch

	parser     *ws.Parser
	open       *Open       // the authenticator, if it is this one
	attempt    Attempt     // what the authenticator is asked about now
	asking     uint32      // its slot
	spare      []*decision // to be used again
	logins     []poller.ID // in stateAuth; the authenticator has not seen their credentials yet
	badGrantAt uint32      // tick of the last log line about a bad grant, + 1; 0: none yet
}

func (u *upgrader) init() (err error) {
	u.open, _ = u.opt.Authenticator.(*Open)
	u.attempt.Remote = func() netip.AddrPort { return u.remotes.of(u.asking) }
	head := ws.ParserOptions{
		MaxHead:      u.opt.MaxHead,
		MethodAdvice: "pushes go to the HTTP API, at the address of api.listen",
		PROXYAdvice:  "list this address in proxy.protocol",
	}
	if u.opt.Healthy != nil {
		head.HealthPath = HealthPath
	}
	u.parser, err = ws.NewParser(head)
	return err
}

// readHead is the first step of an upgrade: it parses the request once all of it
// has arrived, and returns how many bytes are consumed.
func (u *upgrader) readHead(slot uint32, p []byte) int {
	if u.tooFast(slot, p) {
		u.refuser.refuse(slot, u.refuser.overRate())
		return len(p)
	}
	req, n, refusal := u.parser.Parse(p)
	// Refused connections count too, until they have ended.
	crowded := u.srv.conns.Load() > u.opt.maxConns()
	switch {
	case refusal == nil && n == 0:
		return 0
	case refusal != nil && refusal.Health:
		u.refuser.health(slot, refusal)
		return len(p)
	case u.rec(slot).flags&flagLate != 0: // its path only begins as HealthPath
		u.refuser.refuse(slot, u.refuser.overRate())
		return len(p)
	case refusal != nil && crowded:
		u.refuser.refuseAndClose(slot, u.refuser.fullOfConnections())
		return len(p)
	}
	if n > 0 {
		u.log.origin = u.parser.LastOrigin()
		defer func() { u.log.origin = nil }()
	}
	if refusal != nil {
		if r := u.parser.LastRequest(); n > 0 && r != nil {
			refusal = cmp.Or(u.forwarded(slot, r), refusal)
		}
		u.refuser.refuse(slot, refusal)
		return len(p)
	}
	o, refusal := u.choose(req)
	switch {
	case crowded:
		u.refuser.refuseUpgrade(slot, o, u.refuser.fullOfConnections())
		u.ps.Close(slot) // see refuseAndClose
		return len(p)
	case refusal != nil:
		u.refuser.refuse(slot, cmp.Or(u.forwarded(slot, req), refusal))
		return len(p)
	}
	if refusal = u.forwarded(slot, req); refusal == nil {
		refusal = u.full()
	}
	if refusal != nil {
		u.refuser.refuseUpgrade(slot, o, refusal)
		return len(p)
	}
	u.halfOpen.leave(u.rec(slot))
	if !o.echo {
		u.events.match(req, o)
	}
	return u.authorize(slot, req, o, p, n)
}

// full returns a refusal if the node has as many sessions as it may.
func (u *upgrader) full() *ws.Refusal {
	if u.srv.sessions.Load() >= int64(u.opt.MaxSessions) {
		u.counters.limit(limitSessions)
		return u.fullOfSessions()
	}
	return nil
}

// choose begins the upgrade of a request. It refuses paths and protocols that are
// not served, and pages that may not connect.
func (u *upgrader) choose(req *ws.Request) (*upgrade, *ws.Refusal) {
	variant, echo, refusal := u.srv.protocols.choose(req)
	if refusal = cmp.Or(refusal, u.srv.origins.Load().Check(req, "upgrade.origins")); refusal != nil {
		return nil, refusal
	}
	o := u.srv.newUpgrade()
	o.variant, o.echo, o.closes = variant, echo, req.Subprotocol() != ""
	o.accept = u.srv.protocols.variants[variant].Transport.AppendAccept(o.accept, req)
	return o, nil
}

func (u *upgrader) fullOfSessions() *ws.Refusal {
	return ws.Unavailable("this server has reached its limit of sessions (max_connections)", u.opt.RetryAfter).WithCause(CauseSessions)
}

// authorize is the third step of an upgrade: it asks the authenticator. The
// request is the first n bytes of p. It returns how many bytes of p are consumed.
func (u *upgrader) authorize(slot uint32, req *ws.Request, o *upgrade, p []byte, n int) int {
	switch {
	case o.echo:
		u.register(slot, o)
		return u.readAhead(slot, p, n)
	case u.srv.protocols.variants[o.variant].inBand:
		u.awaitLogin(slot, o)
		return u.readAhead(slot, p, n)
	}
	refusal, pending := u.authenticate(slot, req, o, len(p))
	switch {
	case pending:
		if refusal = u.upgrades.startWaiting(slot); refusal != nil {
			u.refuser.refuseUpgrade(slot, o, refusal)
			return len(p) // authDone will find that the connection is gone
		}
		rec := u.rec(slot)
		rec.state = stateAuth
		u.upgrades.put(rec, o)
		u.ps.Pause(slot)
		return n
	case refusal != nil:
		u.refuser.refuseUpgrade(slot, o, refusal)
		return len(p)
	}
	if u.takeGrant(slot, o) && u.moveHome(slot, o, p[n:]) {
		return u.readAhead(slot, p, n)
	}
	return len(p)
}

// authenticate asks the authenticator about a request, for which n bytes are held. The
// grant is in the upgrade then, and is not checked yet.
func (u *upgrader) authenticate(slot uint32, req *ws.Request, o *upgrade, n int) (refusal *ws.Refusal, pending bool) {
	u.asking = slot
	u.attempt.Request, u.attempt.Encoding = req, u.srv.protocols.variants[o.variant].Encoding.Name()
	if u.open != nil { // it answers at once, so nothing is held
		o.grant, refusal, _ = u.open.Authenticate(&u.attempt, nil)
		u.attempt.Request = nil
		return refusal, false
	}
	d, refusal := u.ask(u.ps.ID(slot), n)
	if refusal != nil {
		return refusal, false
	}
	defer func() {
		u.attempt.Request = nil
		if !pending { // also after a panic
			d.cancel()
		}
	}()
	o.grant, refusal, pending = u.opt.Authenticator.Authenticate(&u.attempt, d.later())
	return refusal, pending
}

// readAhead reads the frames that a client sent right after its request, without
// waiting for the answer. The first n bytes of p are consumed. It returns how many
// bytes are consumed then.
func (u *upgrader) readAhead(slot uint32, p []byte, n int) int {
	if s := u.rec(slot).state; (s == stateOpen || s == stateLogin) && n < len(p) {
		return n + u.receiver.read(slot, p[n:])
	}
	if u.rec(slot).state == stateHalfClosed {
		return len(p)
	}
	return n
}

// timedOut refuses an upgrade that took longer than Options.UpgradeTime.
func (u *upgrader) timedOut(slot uint32, rec *record) {
	switch state := rec.state; state {
	case stateHead, stateProxy, stateLogin:
		// The shard may be behind, and what is awaited may be in the socket.
		if !u.ps.ReadNow(slot) || rec.state != state && rec.state != stateHead {
			return // it was; the next state has a timer of its own
		}
	}
	u.counters.limit(limitUpgradeTime)
	switch rec.state {
	case stateLogin:
		u.closer.end(slot, ReasonLoginRefused, "no login in time")
	case stateJoin:
		rec.reason = ReasonHandshakeTime
		u.refuser.refuse(slot, ws.Unavailable("the bus between the servers does not answer", u.opt.RetryAfter).WithCause(CauseBus))
	default:
		rec.reason = ReasonHandshakeTime
		u.refuser.refuse(slot, &ws.Refusal{Status: 408, Cause: CauseTimeout, Detail: "the upgrade took too long"})
	}
}

// authDone goes on with an upgrade after an authenticator has decided. The
// connection may be gone by then.
func (u *upgrader) authDone(id poller.ID, g Grant, refusal *ws.Refusal) {
	slot, ok := u.ps.Lookup(id)
	if !ok || u.rec(slot).state != stateAuth {
		return
	}
	rec := u.rec(slot)
	o := u.upgrades.take(rec)
	if refusal != nil {
		u.refuser.refuseUpgrade(slot, o, refusal)
		return
	}
	o.grant = g
	if u.takeGrant(slot, o) {
		u.moveHome(slot, o, nil)
	}
}

// badGrantEvery is the least time in ticks between two log lines about grants that
// are not valid.
const badGrantEvery = 60

// takeGrant checks the grant of an upgrade. It refuses the upgrade and returns false
// if the grant is not valid or has expired. It checks the grants of every
// authenticator, because a topic becomes a NATS subject, and user ids go into logs and
// headers.
func (u *upgrader) takeGrant(slot uint32, o *upgrade) bool {
	err := checkGrant(&o.grant)
	if err == nil {
		if refusal := u.opt.expired(&o.grant); refusal != nil {
			u.refuser.refuseUpgrade(slot, o, refusal)
			return false
		}
		return true
	}
	u.counters.badGrants.Add(1)
	if now := u.ps.Now() + 1; u.badGrantAt == 0 || now-u.badGrantAt >= badGrantEvery {
		u.badGrantAt = now
		u.opt.Log.Error("the authenticator granted something that is not valid; these clients are refused", zap.Error(err))
	}
	u.refuser.refuseUpgrade(slot, o, &ws.Refusal{Status: 500, Cause: CauseAuthenticator, Detail: "the server cannot determine this client's permissions; its log has the reason"})
	return false
}

// moveHome moves a connection to the shard of its user, or registers it if this is
// the shard. It returns false if the connection was moved or refused. unread is
// what follows the request, nil if the poller has it.
func (u *upgrader) moveHome(slot uint32, o *upgrade, unread []byte) bool {
	if len(o.grant.Topics) > 1 {
		o.grant.Topics = slices.Clone(o.grant.Topics) // the authenticator may have granted the same slice to others
		slices.Sort(o.grant.Topics)
		o.grant.Topics = slices.Compact(o.grant.Topics)
	}
	if most := u.opt.topicsOf(&o.grant.Limits); len(o.grant.Topics) > most {
		u.counters.limit(limitTopics)
		u.refuser.refuseUpgrade(slot, o, ws.Forbidden(fmt.Sprintf("topic: a session may have at most %d topics (session.max_topics)", most)).WithCause(CauseMaxTopics))
		return false
	}
	if o.grant.UID != "" {
		if home, _ := u.srv.homeOf(o.grant.UID); home != u.index {
			if rec := u.rec(slot); rec.flags&flagWaiting == 0 {
				u.srv.waiting.Add(1) // while it moves
			}
			o.remote, o.counted = u.remotes.take(slot)
			u.ps.Move(slot, home, o, unread)
			return false
		}
	}
	u.register(slot, o)
	return true
}
