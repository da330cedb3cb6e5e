package main

import (
	"belfry/cluster"
	"belfry/config"
	"belfry/message"
	"belfry/metrics"
	"belfry/session"
)

// caps are the limits on the sessions of a user in the cluster.
func caps(c *config.Config) cluster.Caps {
	return cluster.Caps{PerUser: c.Session.MaxPerUser, PerClass: c.Session.PerUserClass(), RefuseNewest: c.Session.PerUserPolicy == "refuse-newest"}
}

// places asks the homes of users for places. A shard must not wait for the lock of a
// cluster.Directory, so the goroutine that passes on changes does it.
type places struct{ *directory }

// placeAsk is a question of a shard.
type placeAsk struct {
	uid, class string
	later      func(session.Cap)
}

// Needed implements session.Places.
func (p places) Needed() bool { return p.HasPeers() }

// Reserve implements session.Places. At most upgrade.max_waiting clients wait for it.
func (p places) Reserve(uid, class string, later func(session.Cap)) {
	p.mu.Lock()
	p.asks = append(p.asks, placeAsk{uid, class, later})
	p.mu.Unlock()
	p.awaken()
}

// capOf says which limit a place is refused for.
func capOf(p cluster.Place) session.Cap {
	switch p {
	case cluster.PlaceFullUser:
		return session.CapUser
	case cluster.PlaceFullClass:
		return session.CapClass
	}
	return session.NoCap
}

// ask passes on the questions that are queued.
func (d *directory) ask() {
	d.mu.Lock()
	asks := d.asks
	d.asks = nil
	d.mu.Unlock()
	for _, a := range asks {
		d.Reserve(a.uid, a.class, func(p cluster.Place) { a.later(capOf(p)) })
	}
}

// evict ends a session of this node for the home of its user.
func (n *belfry) evict(key message.SessionKey, byClass bool) {
	if byClass {
		n.sessions.Evict(key, session.CapClass)
		return
	}
	n.sessions.Evict(key, session.CapUser)
}

// capValues returns what caps count.
func capValues(st *cluster.Stats, v *metrics.Cluster) {
	v.CapsAsked = map[string]uint64{"free": st.PlacesFree, "full": st.PlacesFull, "unsure": st.PlacesUnsure}
	v.CapsEvicted, v.CapsOver = st.Evicted, uint64(st.Over)
}
