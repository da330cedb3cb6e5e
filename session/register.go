package session

import (
	"slices"
	"time"

	"go.uber.org/zap"

	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// register enters a session into the tables of its shard. It answers the upgrade
// at once, or when the bus carries the session's topics and user to this node.
func (u *upgrader) register(slot uint32, o *upgrade) {
	if u.askForPlace(slot, o) {
		return
	}
	rec := u.rec(slot)
	rec.variant = o.variant
	rec.fanoutRun = u.fanout.runNumber // the messages of this run were published before
	rec.flags |= flagSession
	u.srv.perVariant[o.variant].Add(1)
	if u.srv.sessions.Add(1) > int64(u.opt.MaxSessions) {
		u.counters.limit(limitSessions)
		u.refuser.refuseUpgrade(slot, o, u.fullOfSessions())
		return
	}
	if o.echo {
		rec.flags |= flagEcho
		u.ps.SetLargeBacklog(slot)
	}
	if refusal := u.srv.revoked.refusal(&o.grant, u.srv.clock); refusal != nil {
		u.refuser.refuseUpgrade(slot, o, refusal)
		return
	}
	if which := u.refusesNewest(&o.grant); which != NoCap {
		u.refuser.refuseUpgrade(slot, o, userSessions(u.counters.reached(which)))
		return
	}
	if err := u.enter(slot, rec, o); err != nil {
		u.opt.Log.Warn("session refused", zap.Error(err))
		u.counters.limit(limitMemory)
		u.refuser.refuseUpgrade(slot, o, ws.Unavailable("this server's tables are full", u.opt.RetryAfter).WithCause(CauseMemory))
		return
	}
	if o.awaited > 0 {
		if refusal := u.upgrades.startWaiting(slot); refusal != nil {
			u.refuser.refuseUpgrade(slot, o, refusal)
			return
		}
		rec.state = stateJoin
		u.upgrades.put(rec, o)
		u.ps.Pause(slot)
		return
	}
	u.accept(slot, rec, o)
}

// enter enters a session into the tables of users and topics, and counts in
// upgrade.awaited what the bus does not carry yet.
func (u *upgrader) enter(slot uint32, rec *record, o *upgrade) error {
	if err := u.grants.put(rec, &o.grant); err != nil {
		return err
	}
	if o.grant.UID != "" {
		_, hash := u.srv.homeOf(o.grant.UID)
		u.evictOldest(hash, o.grant.UID, u.grants.class(rec))
		if err := u.users.enter(slot, rec, hash, o.grant.UID); err != nil {
			return err
		}
		if !u.users.join(slot, rec) {
			o.awaited++
		}
	}
	if err := u.events.keep(slot, rec, o); err != nil {
		return err
	}
	for _, j := range o.joined {
		if j.by == permitPattern && !u.grants.maySubscribe(rec, j.name) {
			continue // the client learns it from its hello
		}
		if err := u.join(slot, rec, o, j.name, j.by); err != nil {
			return err
		}
	}
	for _, topic := range o.grant.Topics {
		by := permitGranted
		if slices.Contains(o.grant.Asked, topic) {
			by = permitPattern
		}
		if err := u.join(slot, rec, o, topic, by); err != nil {
			return err
		}
	}
	if o.move != nil {
		u.arrivals.hold(slot, o)
	}
	return nil
}

// join enters a session into a topic, and counts in upgrade.awaited if the bus does not
// carry it yet.
func (u *upgrader) join(slot uint32, rec *record, o *upgrade, topic string, by permit) error {
	t, joined, err := u.topics.join(slot, rec, topic)
	if err != nil {
		return err
	}
	u.topics.permitBy(rec, t, by)
	if joined && !u.topics.at(t).ready {
		u.topics.await(t, waiter{id: u.ps.ID(slot)})
		o.awaited++
	}
	return nil
}

// ready counts down the subscriptions that an upgrade waits for.
func (u *upgrader) ready(slot uint32) {
	rec := u.rec(slot)
	if rec.state != stateJoin || rec.side == 0 {
		return
	}
	o := u.upgrades.get(rec)
	if o.awaited--; o.awaited > 0 {
		return
	}
	u.accept(slot, rec, u.upgrades.take(rec))
}

// accept is the fourth step of an upgrade: it sends the answer, and in the same
// write the hello of the encoding. It gives o back.
func (u *upgrader) accept(slot uint32, rec *record, o *upgrade) {
	u.upgrades.stopWaiting(rec)
	rec.state = stateOpen
	rec.openedAt = unixNow()
	u.buf = u.buf[:0]
	if !o.answered {
		u.counters.accepted(o.accept)
		u.buf = append(u.buf, o.accept...)
	}
	if !o.echo {
		w := u.say(rec, u.buf)
		u.hello = wire.Hello{
			SID:          u.sid(slot),
			Key:          &u.opt.Key,
			UID:          o.grant.UID,
			Ref:          o.ref,
			Topics:       o.grant.Topics,
			PingInterval: u.opt.PingInterval,
			PongTimeout:  u.opt.PongTimeout,
			Expires:      o.grant.Expires,
		}
		if own := u.grants.limitsOf(rec); own != nil {
			u.hello.PingInterval = seconds(own.ping)
		}
		if o.move != nil {
			u.hello.Topics = u.topics.of(rec)
		}
		u.variantOf(rec).Encoding.Hello(w, &u.hello)
		u.hello = wire.Hello{} // keeps nothing of the session alive
		u.buf = w.Bytes()
	}
	move := o.move
	if o.metered {
		u.buckets.charge(slot, rec, o.tokens)
	}
	u.srv.putUpgrade(o)
	u.ps.Send(slot, poller.Bytes(u.buf), poller.Data)
	u.ps.Resume(slot)
	u.heartbeats.arm(slot, rec)
	u.changes.opened(slot, rec)
	u.events.opened(slot, rec)
	u.watch.opened(slot, rec)
	if move != nil {
		u.arrivals.open(slot, rec, move)
	}
}

// unixNow returns the time in Unix seconds.
func unixNow() uint32 { return uint32(time.Now().Unix()) }
