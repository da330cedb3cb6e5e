package session

import (
	"math/rand/v2"
	"time"

	"belfry/ws"
)

// pingFrame is an empty ping: one is all that is ever needed.
var pingFrame = []byte{0x80 | byte(ws.OpPing), 0}

func seconds(ticks uint32) time.Duration { return time.Duration(ticks) * time.Second }

// beats are the times of heartbeats in ticks, 0 for those that are off.
type beats struct{ ping, early, pong, idleRead, idleWrite, idle, stuck uint32 }

func (o *Options) beats() beats {
	b := beats{ping: ticks(o.PingInterval), pong: ticks(o.PongTimeout),
		idleRead: ticks(o.IdleRead), idleWrite: ticks(o.IdleWrite), idle: ticks(o.Idle), stuck: ticks(o.BacklogTime)}
	b.early = b.ping / 10 // less than ping: a wait of 0 is none
	return b
}

// heartbeat looks at a session whose timer has come. Traffic only stamps a
// time and never touches the timer: whether it was in vain shows here, and
// then it is set anew. Times are read from a clock that stands still while the
// shard does (poller.Shard.Now), and all that arrived meanwhile was read.
func (h *shard) heartbeat(slot uint32, rec *record) {
	now, read, write := h.ps.Now(), h.ps.LastRead(slot), h.ps.LastWrite(slot)
	b := &h.beats
	over := func(limit, since uint32) bool { return limit > 0 && now-since >= limit }
	switch {
	case rec.flags&flagSlowed != 0: // we do not read what it sends
		h.armHeartbeat(slot, rec)
		return
	case b.stuck > 0 && h.ps.Stuck(slot) >= b.stuck:
		h.counters.limit(limitBacklogTime)
		h.ps.DropBacklog(slot)
		h.end(slot, ReasonSlow, "took nothing of what waits for too long")
		return
	case rec.flags&flagPinged != 0 && over(b.pong, rec.pingedAt):
		h.end(slot, ReasonPongTimeout, "")
		return
	case over(b.idleRead, read):
		h.end(slot, ReasonIdleRead, "")
		return
	case over(b.idleWrite, write):
		h.end(slot, ReasonIdleWrite, "")
		return
	case over(b.idle, max(read, write)):
		h.end(slot, ReasonIdle, "")
		return
	}
	if b.ping > 0 && rec.flags&flagPinged == 0 && now-max(read, rec.pingedAt) >= b.ping-b.early {
		h.counters.pingsOut.Add(1)
		rec.pingedAt = now
		if b.pong > 0 {
			rec.flags |= flagPinged // until the pong comes, or anything while nothing waits for the client
		}
		h.ps.SendControl(slot, pingFrame, 0)
	}
	h.armHeartbeat(slot, rec)
}

// armHeartbeat sets the timer to the first moment at which something could be
// due. A ping comes up to a tenth of its interval early, at random, so that
// sessions that opened together do not stay together.
func (h *shard) armHeartbeat(slot uint32, rec *record) {
	read, write := h.ps.LastRead(slot), h.ps.LastWrite(slot)
	b := &h.beats
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
	case b.ping > 0:
		consider(b.ping-rand.Uint32N(b.early+1), max(read, rec.pingedAt))
	}
	if h.ps.Backlogged(slot) {
		consider(b.stuck, h.ps.Now()-h.ps.Stuck(slot))
	}
	consider(b.idleRead, read)
	consider(b.idleWrite, write)
	consider(b.idle, max(read, write))
	if wait == never {
		h.ps.StopTimer(slot)
		return
	}
	h.ps.SetTimer(slot, h.ps.Now()+max(wait, 1))
}
