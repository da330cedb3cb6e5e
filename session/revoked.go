package session

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"belfry/ws"
)

// revoked are the last calls of ExpireUser and ExpireIssuedBefore with a time. They
// are kept for as long as an upgrade can take: a client whose credentials were checked
// before the call, and which becomes a session after it, must not slip through. Any
// goroutine.
type revoked struct {
	some  atomic.Bool // there is one; else the lock is not taken
	mu    sync.Mutex  // guards calls
	calls []revocation
}

// revocation is one such call.
type revocation struct {
	uid    string // "": all users
	before time.Time
	until  time.Duration // of Server.clock, after which it is forgotten
}

// add keeps a call.
func (r *revoked) add(uid string, before time.Time, now, keep time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now)
	r.calls = append(r.calls, revocation{uid, before, now + keep})
	r.some.Store(true)
}

// forget drops the calls that are old. The caller holds the lock.
func (r *revoked) forget(now time.Duration) {
	r.calls = slices.DeleteFunc(r.calls, func(c revocation) bool { return c.until <= now })
	r.some.Store(len(r.calls) > 0)
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
	for _, c := range r.calls {
		if (c.uid == "" || c.uid == g.UID) && g.Issued.Before(c.before) {
			return ws.Unauthorized("the credentials were revoked").WithCause(CauseExpired)
		}
	}
	return nil
}
