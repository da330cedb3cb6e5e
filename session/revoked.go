package session

import (
	"sync"
	"sync/atomic"
	"time"

	"belfry/ws"
)

// revoked are the last calls of ExpireUser and ExpireIssuedBefore with a time. They
// are kept for as long as an upgrade can take: a client whose credentials were checked
// before the call, and which becomes a session after it, must not slip through. There
// may be tens of thousands, when a node learns the revocations of others, and shards
// ask for each upgrade; so both cost one look-up. Any goroutine.
type revoked struct {
	keep time.Duration // how long a call is kept at least; twice as long at most
	some atomic.Bool   // there is one; else the lock is not taken

	mu         sync.Mutex           // guards what follows
	young, old map[string]time.Time // by uid, "" for all users: the latest time of a call
	since      time.Duration        // of Server.clock, when young was begun
}

// add keeps a call.
func (r *revoked) add(uid string, before time.Time, now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now)
	if r.young == nil {
		r.young, r.since = map[string]time.Time{}, now
	}
	if before.After(r.young[uid]) {
		r.young[uid] = before
	}
	r.some.Store(true)
}

// forget drops the calls that are old. The caller holds the lock.
func (r *revoked) forget(now time.Duration) {
	switch age := now - r.since; {
	case r.young == nil || age < r.keep:
		return
	case age < 2*r.keep && len(r.young) > 0:
		r.young, r.old, r.since = map[string]time.Time{}, r.young, now
	default:
		r.young, r.old = nil, nil
	}
	r.some.Store(len(r.young)+len(r.old) > 0)
}

// refusal refuses credentials that were issued before the time of a call. If their
// time is not known they pass: they may be newer than the call. The clock is read only
// if there was a call.
func (r *revoked) refusal(g *Grant, clock func() time.Duration) *ws.Refusal {
	if !r.some.Load() || g.Issued.IsZero() {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(clock())
	for _, calls := range []map[string]time.Time{r.young, r.old} {
		if g.Issued.Before(calls[""]) || g.UID != "" && g.Issued.Before(calls[g.UID]) {
			return ws.Unauthorized("the credentials were revoked").WithCause(CauseExpired)
		}
	}
	return nil
}
