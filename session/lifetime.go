package session

// untilOld returns the time in ticks until a session has reached its lifetime; ok is false
// if it has none. Nothing is stored for it: the session's id, which it keeps in another
// process too, decides where in the spread its lifetime is, and its age is that of the
// record by the wall clock.
func (h *heartbeats) untilOld(slot uint32, rec *record) (left uint32, ok bool) {
	if h.opt.Lifetime <= 0 || rec.openedAt == 0 {
		return 0, false
	}
	now := unixSeconds(h.opt.now())
	age, life := now-min(now, rec.openedAt), h.opt.lifetimeOf(uint64(h.ps.ID(slot))^uint64(h.index)<<48)
	return life - min(age, life), true
}

// lifetimeOf returns the lifetime in seconds of the session with an id.
func (o *Options) lifetimeOf(id uint64) uint32 {
	life, spread := uint64(ticks(o.Lifetime)), uint64(ticks(o.LifetimeSpread))
	return uint32(life - spread + mix(id)%(2*spread+1))
}

// mix spreads numbers that follow each other (the finalizer of splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
