package session

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"belfry/ws"
)

// NodeLimits limit what connections cost the node before they are sessions, and
// after they have ended.
type NodeLimits struct {
	ConnectRate  int // new connections a second; 0: any number; beyond: 503, or a refusal of Admit
	ConnectBurst int // of them at once; 0: twice ConnectRate

	// WaitingBytes are the bytes of requests, with what follows them, and of
	// credentials that an Authenticator has not decided about; 0: 64 MiB; beyond: 503.
	WaitingBytes int64

	ClosingBytes    int // that a client may send between our close frame and its own; 0: 16 KiB; beyond: discarded
	HalfClosedBytes int // of a connection that is shut down for writing that are read and discarded; 0: 1 MiB; beyond: not read
}

// fill sets the defaults, and checks ranges.
func (l *NodeLimits) fill() error {
	return errors.Join(
		fill("ConnectRate", &l.ConnectRate, 0, 0, 1<<20),
		fill("ConnectBurst", &l.ConnectBurst, 2*l.ConnectRate, 0, 1<<24),
		fill("WaitingBytes", &l.WaitingBytes, 64<<20, 1, 1<<50),
		fill("ClosingBytes", &l.ClosingBytes, 16<<10, 1, 1<<30),
		fill("HalfClosedBytes", &l.HalfClosedBytes, 1<<20, 1, 1<<30),
	)
}

// connectRate limits how fast the node accepts connections. The shards share it
// without a lock: it is the time at which all connections so far would have been
// due, had they come evenly (the generic cell rate algorithm, ITU-T I.371).
type connectRate struct {
	each  time.Duration // between two connections at the rate
	ahead time.Duration // how far due may be ahead of the clock
	due   atomic.Int64  // on Server.clock
}

// newConnectRate returns nil if there is no limit.
func newConnectRate(l *NodeLimits) *connectRate {
	if l.ConnectRate == 0 {
		return nil
	}
	each := time.Second / time.Duration(l.ConnectRate)
	return &connectRate{each: each, ahead: each * time.Duration(max(l.ConnectBurst, 1)-1)}
}

// take admits one connection, or returns false. Any goroutine.
func (c *connectRate) take(now time.Duration) bool {
	for {
		due := c.due.Load()
		at := max(due, int64(now))
		if at-int64(now) > int64(c.ahead) {
			return false
		}
		if c.due.CompareAndSwap(due, at+int64(c.each)) {
			return true
		}
	}
}

// tooFast says whether a request comes on a connection beyond Options.ConnectRate
// and must be refused before it is parsed. A request for HealthPath is not: a load
// balancer would take a node for dead that refuses a storm.
func (u *upgrader) tooFast(slot uint32, p []byte) bool {
	if u.rec(slot).flags&flagLate == 0 {
		return false
	}
	if u.opt.Healthy == nil {
		return true
	}
	for _, health := range [...]string{"GET " + HealthPath, "HEAD " + HealthPath} {
		if n := min(len(p), len(health)); string(p[:n]) == health[:n] {
			return false
		}
	}
	return true
}

// overRate is the refusal of a connection beyond Options.ConnectRate.
func (f *refuser) overRate() *ws.Refusal {
	f.counters.limit(limitConnectRate)
	return overRate(f.opt)
}

// overRate has a random Retry-After, so that refused clients do not come back together.
func overRate(o *Options) *ws.Refusal {
	after := o.RetryAfter + rand.N(2*o.RetryAfter)
	return ws.Unavailable("clients connect faster than this server admits them (upgrade.rate)", after).WithCause(CauseConnectRate)
}

// heldBytes are bytes that an authenticator is given. They count until it has decided,
// also if the connection has ended before: the authenticator may keep them until then.
type heldBytes struct {
	srv      *Server
	n        int
	released atomic.Bool // a second answer would release the bytes again
}

// keepBytes counts n bytes that an authenticator is about to be given. It returns a
// refusal if too many are held.
func (e *env) keepBytes(n int) *ws.Refusal {
	if e.srv.waitingBytes.Add(int64(n)) > e.opt.WaitingBytes {
		e.srv.waitingBytes.Add(-int64(n))
		e.counters.limit(limitWaitingBytes)
		return ws.Unavailable("the requests and credentials that wait for authentication have too many bytes (upgrade.waiting_bytes); try again", e.opt.RetryAfter).WithCause(CausePending)
	}
	return nil
}

// keep is keepBytes for what release ends.
func (b *heldBytes) keep(e *env, n int) *ws.Refusal {
	refusal := e.keepBytes(n)
	if refusal == nil {
		b.srv, b.n = e.srv, n
	}
	return refusal
}

// release ends what keep began. It returns false if that was done before. Any
// goroutine.
func (b *heldBytes) release() bool {
	if b.released.Swap(true) {
		return false
	}
	b.srv.waitingBytes.Add(-int64(b.n))
	return true
}
