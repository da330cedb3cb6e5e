package session

import (
	"belfry/message"
	"belfry/poller"
	"belfry/ws"
)

// Cap is a limit on the sessions of a user.
type Cap uint8

const (
	NoCap    Cap = iota // no limit is reached
	CapUser             // Options.MaxPerUser
	CapClass            // Options.MaxPerClass, of the session's device class
)

// Places knows the sessions that users have in the whole cluster.
type Places interface {
	// Needed says whether there is another node, so that places have to be asked for.
	// Like Reserve it is called on a shard's goroutine and must not block.
	Needed() bool
	// Reserve asks for a place for one more session of a user. later is called once, from
	// another goroutine, within about a second, with the limit that the session would
	// exceed. A place that no session takes is free again a few seconds later.
	Reserve(uid, class string, later func(Cap))
}

// needsPlace says whether a session that a grant permits needs a place.
func (o *Options) needsPlace(g *Grant) bool {
	return o.Places != nil && o.RefuseNewest && o.limitsUsers() && g.UID != "" && o.Places.Needed()
}

// reached counts a hit of a limit on the sessions of a user, and says which it is.
func (c *counters) reached(which Cap) string {
	if which == CapClass {
		c.limit(limitPerClass)
		return "the user has as many sessions of this device class as it may (session.max_per_user_class)"
	}
	c.limit(limitPerUser)
	return "the user has as many sessions as it may (session.max_per_user)"
}

// refusesNewest says which limit of this node a further session of a user would exceed,
// if such sessions are refused.
func (u *upgrader) refusesNewest(g *Grant) Cap {
	if g.UID == "" || !u.opt.RefuseNewest || !u.opt.limitsUsers() {
		return NoCap
	}
	_, hash := u.srv.homeOf(g.UID)
	first, ok := u.users.find(hash, []byte(g.UID))
	if !ok {
		return NoCap
	}
	class, _ := u.grants.classes.number(g.DeviceClass)
	all, same := u.count(first, class)
	switch most := u.grants.classes.most(class); {
	case most > 0 && same >= most:
		return CapClass
	case u.opt.MaxPerUser > 0 && all >= u.opt.MaxPerUser:
		return CapUser
	}
	return NoCap
}

// limitsUsers says whether there is a limit on the sessions of a user.
func (o *Options) limitsUsers() bool { return o.MaxPerUser > 0 || len(o.MaxPerClass) > 0 }

// count returns how many sessions the user has whose youngest is first, and how many of
// them are of a device class.
func (u *upgrader) count(first uint32, class uint8) (all, same int) {
	for at := first + 1; at != 0; at = u.rec(at - 1).older {
		all++
		if u.grants.class(u.rec(at-1)) == class {
			same++
		}
	}
	return all, same
}

// evictOldest ends the oldest sessions of a user until there is room for one more of a
// device class. It ends the oldest and not the newcomer, because the oldest may be the
// dead half of a connection that its owner has just replaced.
func (u *upgrader) evictOldest(hash uint32, uid string, class uint8) {
	if !u.opt.limitsUsers() {
		return
	}
	first, ok := u.users.find(hash, []byte(uid))
	if !ok {
		return
	}
	all, same := u.count(first, class)
	if most := u.grants.classes.most(class); most > 0 && same >= most {
		u.evict(first, same-most+1, CapClass, class)
		all -= same - most + 1
	}
	if most := u.opt.MaxPerUser; most > 0 && all >= most {
		if first, ok = u.users.find(hash, []byte(uid)); ok {
			u.evict(first, all-most+1, CapUser, 0)
		}
	}
}

// evict ends the n oldest sessions of the user whose youngest is first; for CapClass
// only those of a device class.
func (u *upgrader) evict(first uint32, n int, which Cap, class uint8) {
	slot, _ := u.users.oldest(first)
	for n > 0 {
		rec := u.rec(slot)
		newer := rec.newer
		if which == CapUser || u.grants.class(rec) == class {
			n--
			u.replace(slot, which)
		}
		if newer == 0 {
			return
		}
		slot = newer - 1
	}
}

// replace ends a session of a user that has too many.
func (u *upgrader) replace(slot uint32, which Cap) {
	u.counters.reached(which)
	if u.rec(slot).state == stateJoin {
		u.refuser.refuse(slot, userSessions("too many sessions of this user"))
		return
	}
	u.closer.end(slot, ReasonReplaced, "")
}

// userSessions is the refusal of a session of a user that has too many.
func userSessions(text string) *ws.Refusal {
	return &ws.Refusal{Status: 429, Cause: CauseUserSessions, Detail: text}
}

// Evict ends an open session of this node with 4006, because its user has too many in
// the cluster. Nothing happens if it has ended. Any goroutine; it does not wait.
func (s *Server) Evict(key message.SessionKey, which Cap) {
	_ = s.order(key.SID(s.opt.Node), 0, func(h *shard, slot uint32) { h.upgrader.replace(slot, which) })
}

// askForPlace asks Options.Places about an upgrade, if it has to be asked. The upgrade
// then waits: it goes on with register, or is refused.
func (u *upgrader) askForPlace(slot uint32, o *upgrade) (waits bool) {
	if o.placed || !u.opt.needsPlace(&o.grant) || u.refusesNewest(&o.grant) != NoCap {
		return false
	}
	if refusal := u.upgrades.startWaiting(slot); refusal != nil {
		u.refuser.refuseUpgrade(slot, o, refusal)
		return true
	}
	o.placed = true
	rec, id := u.rec(slot), u.ps.ID(slot)
	rec.state = stateAuth
	u.upgrades.put(rec, o)
	u.ps.Pause(slot)
	u.opt.Places.Reserve(o.grant.UID, o.grant.DeviceClass, func(which Cap) {
		u.decided(func(*shard) { u.ps.Protect(id, func() { u.placeDecided(id, which) }) })
	})
	return true
}

// placeDecided goes on with an upgrade after Options.Places has answered. The connection
// may be gone by then.
func (u *upgrader) placeDecided(id poller.ID, which Cap) {
	slot, ok := u.ps.Lookup(id)
	if !ok || u.rec(slot).state != stateAuth {
		return
	}
	o := u.upgrades.take(u.rec(slot))
	if which != NoCap {
		u.refuser.refuseUpgrade(slot, o, userSessions(u.counters.reached(which)))
		return
	}
	u.register(slot, o)
}

// place asks Options.Places about a session of nobody that logs in, and goes on with its
// login. Until then its auth command is in progress.
func (rs *renewals) place(slot uint32, rec *record, rn *renewal, g Grant) {
	if !rs.opt.needsPlace(&g) {
		rs.leaving.begin(slot, rec, rn, g)
		return
	}
	rs.opt.Places.Reserve(g.UID, g.DeviceClass, func(which Cap) {
		rs.env.decided(func(*shard) { rs.ps.Protect(rn.id, func() { rs.placeDecided(rn, g, which) }) })
	})
}

func (rs *renewals) placeDecided(rn *renewal, g Grant, which Cap) {
	slot, ok := rs.ps.Lookup(rn.id)
	switch {
	case !ok || rs.waiting[rn.id] != rn || rn.move != nil:
	case which != NoCap:
		rs.refuse(slot, rs.rec(slot), rn, "forbidden", rs.counters.reached(which))
	default:
		rs.leaving.begin(slot, rs.rec(slot), rn, g)
	}
}
