package session

import (
	"time"

	"go.uber.org/zap"

	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

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
		if refusal := h.upgrades.startWaiting(slot); refusal != nil {
			h.refuseUpgrade(slot, o, refusal)
			return
		}
		rec.state = stateJoin
		h.upgrades.put(rec, o)
		h.ps.Pause(slot)
		return
	}
	h.accept(slot, rec, o)
}

// enter puts the session into the tables of users and topics.
func (h *shard) enter(slot uint32, rec *record, o *upgrade) error {
	if o.uid != "" {
		_, hash := h.srv.homeOf(o.uid)
		h.evictOldest(hash, o.uid)
		if err := h.users.enter(slot, rec, hash, o.uid); err != nil {
			return err
		}
		if !h.users.join(slot, rec) {
			rec.awaited++
		}
	}
	for _, topic := range o.topics {
		t, joined, err := h.topics.join(slot, rec, topic)
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

// evictOldest ends the oldest sessions of a user until there is room for one
// more. It ends the oldest and not the newcomer, because the oldest may be the
// dead half of a connection that its owner has just replaced.
func (h *shard) evictOldest(hash uint32, uid string) {
	if h.opt.MaxPerUser <= 0 {
		return
	}
	first, ok := h.users.find(hash, []byte(uid))
	if !ok {
		return
	}
	slot, n := h.users.oldest(first)
	for ; n >= h.opt.MaxPerUser; n-- {
		rec := h.rec(slot)
		newer := rec.newer
		h.counters.limit(limitPerUser)
		if rec.state == stateJoin {
			h.refuse(slot, &ws.Refusal{Status: 429, Cause: CauseUserSessions, Detail: "too many sessions of this user"})
		} else {
			h.end(slot, ReasonReplaced, "")
		}
		if newer == 0 {
			return
		}
		slot = newer - 1
	}
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
	h.accept(slot, rec, h.upgrades.take(rec))
}

// accept is the third step of an upgrade: the answer, and in the same write
// what the encoding has to say first. o is done with.
func (h *shard) accept(slot uint32, rec *record, o *upgrade) {
	h.upgrades.stopWaiting(rec)
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
