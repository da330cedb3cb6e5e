package session

import (
	"math/rand/v2"
	"time"

	"belfry/poller"
)

func seconds(ticks uint32) time.Duration { return time.Duration(ticks) * time.Second }

// heartbeats look at sessions whose timer has expired: they ping, and end
// sessions that are silent or do not read. Owned by the shard.
type heartbeats struct {
	env
	closer    *closer
	events    *eventing
	fanout    *fanoutRuns // to which pings give way
	intervals intervals
	grants    *grants
	renewals  *renewals
	h         *shard
	own       intervals // of the session that is looked at, if its grant names limits
}

// intervals are the times of heartbeats in ticks; 0 turns one off.
type intervals struct{ ping, jitter, pong, idleRead, idleWrite, idle, backlogTime uint32 }

func (o *Options) intervals() intervals {
	b := intervals{ping: ticks(o.PingInterval), pong: ticks(o.PongTimeout),
		idleRead: ticks(o.IdleRead), idleWrite: ticks(o.IdleWrite), idle: ticks(o.Idle), backlogTime: ticks(o.BacklogTime)}
	b.jitter = b.ping / 10 // less than ping: a wait of 0 is none
	return b
}

// of returns the intervals of a session. They are valid until the next call.
func (h *heartbeats) of(rec *record) *intervals {
	own := h.grants.limitsOf(rec)
	if own == nil {
		return &h.intervals
	}
	h.own = h.intervals
	h.own.ping, h.own.jitter = own.ping, own.ping/10
	h.own.idle, h.own.idleRead, h.own.idleWrite = own.idle, own.idleRead, own.idleWrite
	return &h.own
}

// lifetime returns the time in ticks until a session expires; ok is false if it never
// does. The clock of the grant goes on while the shard stands still, so the time is
// counted anew whenever the timer is set.
func (h *heartbeats) lifetime(rec *record) (left uint32, ok bool) {
	it := h.grants.of(rec)
	if it == nil || it.expires == 0 {
		return 0, false
	}
	now := unixSeconds(h.opt.now())
	return it.expires - min(now, it.expires), true
}

// check looks at a session whose timer has expired. Traffic only writes a time
// into the record and never touches the timer. So the timer may have expired too
// early; then it is set again. The clock stands still while the shard does not
// run (poller.Shard.Now), and everything that arrived meanwhile was read before
// the timers.
func (h *heartbeats) check(slot uint32, rec *record) {
	if left, ok := h.lifetime(rec); ok && left == 0 {
		h.closer.end(slot, ReasonExpired, "")
		return
	}
	if left, ok := h.untilOld(slot, rec); ok && left == 0 && !h.h.busy(slot, rec) {
		h.h.advise(slot, ReasonLifetime)
		return
	}
	if until, ok := h.renewals.until(slot, rec); ok && h.ps.Now() >= until {
		h.renewals.timedOut(slot, rec)
		return
	}
	b, v := h.of(rec), h.variantOf(rec)
	if b.backlogTime > 0 && h.ps.BacklogAge(slot) >= b.backlogTime && rec.flags&flagsUnread == 0 {
		h.counters.limit(limitBacklogTime)
		h.ps.DropBacklog(slot)
		h.closer.end(slot, ReasonSlow, "read nothing for too long (backlog.timeout)")
		return
	}
	if h.overdue(slot, rec, v) != ReasonNone {
		if !h.ps.ReadNow(slot) || rec.state != stateOpen {
			return // what it read has ended the session
		}
		if reason := h.overdue(slot, rec, v); reason != ReasonNone {
			h.closer.end(slot, reason, "")
			return
		}
	}
	if rec.flags&(flagsUnread&^flagHeld|flagPinged) == 0 && b.ping > 0 {
		silent := h.ps.Now() - max(h.lastSign(slot, rec, v), rec.pingedAt)
		if silent >= b.ping-b.jitter && (!h.fanout.active || silent >= b.ping+b.ping/pingDelay) {
			h.ping(slot, rec, v)
		}
	}
	h.arm(slot, rec)
}

// pingDelay is the part of the ping interval by which a ping waits for a fan-out
// run at most. A ping costs as much as a delivery, and its pong as much again. On
// a host that has just enough CPU for its pings, a message to all would take
// three times as long beside them.
const pingDelay = 4

// overdue returns why a session has to end: what is awaited of its client has not
// come in time, or nothing was written for too long. It is ReasonNone while the
// shard does not read the session, which then cannot show that it lives.
func (h *heartbeats) overdue(slot uint32, rec *record, v *variant) Reason {
	b, now, read, write := h.of(rec), h.ps.Now(), h.events.lastRead(slot, rec), h.ps.LastWrite(slot)
	over := func(limit, since uint32) bool { return limit > 0 && now-since >= limit }
	switch {
	case rec.flags&flagsUnread != 0 || h.ps.Deferred(slot):
		return ReasonNone
	case rec.flags&flagPinged != 0 && over(b.pong, rec.pingedAt):
		return ReasonPongTimeout
	case v.answers && over(b.idleRead, read):
		return ReasonIdleRead
	case over(b.idleWrite, write):
		return ReasonIdleWrite
	case over(b.idle, max(read, write)):
		return ReasonIdle
	}
	return ReasonNone
}

// ping sends a ping, if the transport has pings.
func (h *heartbeats) ping(slot uint32, rec *record, v *variant) {
	rec.pingedAt = h.ps.Now()
	if h.buf = v.Transport.AppendPing(h.buf[:0]); len(h.buf) == 0 {
		return
	}
	h.counters.pingsOut.Add(1)
	if h.intervals.pong > 0 && v.answers && rec.flags&flagHeld == 0 {
		rec.flags |= flagPinged // cleared by the pong, or by any input while the client has no backlog
	}
	h.ps.Send(slot, poller.Bytes(h.buf), poller.Control)
}

// lastSign returns the tick of the last sign of life. For a client that can answer
// it is the last read. A client that cannot answer is pinged only so that proxies
// do not close the connection, so it is the last write: failed writes and
// TCP_USER_TIMEOUT show that such a client is gone.
func (h *heartbeats) lastSign(slot uint32, rec *record, v *variant) uint32 {
	if v.answers {
		return h.events.lastRead(slot, rec)
	}
	return h.ps.LastWrite(slot)
}

// arm sets the timer to the first moment at which something could be due. A ping
// comes up to a tenth of its interval early, at random, so that sessions that
// opened together are not pinged together.
func (h *heartbeats) arm(slot uint32, rec *record) {
	read, write := h.events.lastRead(slot, rec), h.ps.LastWrite(slot)
	b, v := h.of(rec), h.variantOf(rec)
	const never = ^uint32(0)
	wait := never
	consider := func(limit, since uint32) {
		if limit > 0 {
			wait = min(wait, limit-min(limit, h.ps.Now()-since))
		}
	}
	switch {
	case rec.flags&flagPinged != 0:
		consider(b.pong, rec.pingedAt)
		if b.ping > 0 && b.ping < b.pong { // the pong may have come when the next ping is due
			consider(b.ping, rec.pingedAt)
		}
	case b.ping > 0:
		consider(b.ping-rand.Uint32N(b.jitter+1), max(h.lastSign(slot, rec, v), rec.pingedAt))
	}
	if h.ps.Backlogged(slot) {
		consider(b.backlogTime, h.ps.Now()-h.ps.BacklogAge(slot))
	}
	if rec.flags&flagHeld == 0 { // eventing.release sets the timer again
		if v.answers {
			consider(b.idleRead, read)
		}
		consider(b.idleWrite, write)
		consider(b.idle, max(read, write))
	}
	if left, ok := h.lifetime(rec); ok {
		wait = min(wait, left)
	}
	if left, ok := h.untilOld(slot, rec); ok {
		wait = min(wait, left) // 0: it is busy, and looked at again in a second
	}
	if until, ok := h.renewals.until(slot, rec); ok {
		wait = min(wait, until-min(h.ps.Now(), until))
	}
	if wait == never {
		h.ps.StopTimer(slot)
		return
	}
	h.ps.SetTimer(slot, h.ps.Now()+max(wait, 1))
}
