package session

import (
	"belfry/poller"
	"belfry/ws"
)

// The sessions of a user are a list in their records, the youngest first; the
// table finds it by the hash of the uid. The uid's bytes are kept once.

// findUser returns the youngest session of uid.
func (h *shard) findUser(hash uint32, uid []byte) (slot uint32, ok bool) {
	for p := h.users.Probe(hash); p.Next(); {
		if string(h.uids.Get(h.rec(p.Val()).uid)) == string(uid) {
			return p.Val(), true
		}
	}
	return 0, false
}

// enterUser makes slot the youngest session of uid.
func (h *shard) enterUser(slot uint32, rec *record, uid string) error {
	h.usersChanged++
	_, hash := h.srv.homeOf(uid)
	first, ok := h.findUser(hash, []byte(uid))
	if !ok {
		str, err := h.uids.Put([]byte(uid))
		if err != nil {
			return err
		}
		if err := h.users.Insert(hash, slot); err != nil {
			h.uids.Free(str)
			return err
		}
		rec.uid, rec.userHash = str, hash
		return nil
	}
	if h.opt.MaxPerUser > 0 {
		h.evictOldest(first)
		if first, ok = h.findUser(hash, []byte(uid)); !ok {
			return h.enterUser(slot, rec, uid)
		}
	}
	old := h.rec(first)
	h.users.Replace(hash, first, slot)
	rec.uid, rec.userHash = old.uid, hash
	rec.older, old.newer = first+1, slot+1
	return nil
}

// evictOldest ends the user's oldest sessions until there is room for one more.
// The oldest and not the newcomer, because it may be the dead half of a
// connection that its owner has just replaced.
func (h *shard) evictOldest(first uint32) {
	n, slot := 1, first
	for h.rec(slot).older != 0 {
		slot = h.rec(slot).older - 1
		n++
	}
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

// leaveUser takes a session off its user's list.
func (h *shard) leaveUser(slot uint32, rec *record) {
	if rec.uid == 0 {
		return
	}
	h.usersChanged++
	h.opt.Interest.LeaveUser(h.uids.Get(rec.uid))
	if rec.older != 0 {
		h.rec(rec.older - 1).newer = rec.newer
	}
	switch {
	case rec.newer != 0:
		h.rec(rec.newer - 1).older = rec.older
	case rec.older != 0:
		h.users.Replace(rec.userHash, slot, rec.older-1)
	default:
		h.users.Delete(rec.userHash, slot)
		h.uids.Free(rec.uid)
	}
	rec.uid, rec.older, rec.newer = 0, 0, 0
}

// UserReady implements Waiter. Any goroutine.
func (h *shard) UserReady(token uint64) bool {
	return h.ps.Post(poller.QueueControl, poller.Mail{Kind: mailUserReady, ID: token})
}

// TopicReady implements Waiter. Any goroutine.
func (h *shard) TopicReady(token uint64) bool {
	return h.ps.Post(poller.QueueControl, poller.Mail{Kind: mailTopicReady, ID: token})
}
