package auth

import (
	"slices"
	"sync/atomic"
	"time"

	"belfry/session"
	"belfry/ws"
)

// causes are why credentials are refused, in the order of counters.causes. Any other
// cause counts as the last one.
var causes = [...]ws.Cause{
	session.CauseTokenMissing, session.CauseTokenPlace, session.CauseTokenSize, session.CauseTokenMalformed,
	session.CauseTokenAlgorithm, session.CauseTokenKey, session.CauseTokenSignature, session.CauseTokenExpired,
	session.CauseTokenEarly, session.CauseTokenClaims, session.CauseTokenRevoked,
	session.CauseAuthQueue, session.CauseAuthKeys, session.CauseUID, session.CauseTopic, session.CauseInternal,
}

// counters are what an Authenticator counts.
type counters struct {
	accepted  atomic.Uint64
	queueFull atomic.Uint64
	causes    [len(causes)]atomic.Uint64
}

func (c *counters) refused(cause ws.Cause) {
	i := slices.Index(causes[:], cause)
	if i < 0 {
		i = len(causes) - 1
	}
	c.causes[i].Add(1)
}

// Stats is a snapshot of an Authenticator. The counters count from New.
type Stats struct {
	Tokens         map[string]uint64 // by what became of them: "accepted", or the cause of the refusal
	Queue          int               // tokens that wait for a verifier now
	QueueFull      uint64            // tokens that found no place in the queue
	TooLong        uint64            // tokens longer than Options.MaxToken
	Parked         int               // tokens that wait for keys now
	CacheHits      uint64
	Keys           int           // in force
	Readings       uint64        // of the JWKS
	FailedReadings uint64        // of those
	Age            time.Duration // since the JWKS was read; 0: there is none, or it was never read
}

// Stats may be called from any goroutine.
func (a *Authenticator) Stats() Stats {
	keys, cache := a.inForce.Load().keys, a.inForce.Load().verifier.cache
	st := Stats{
		Tokens:         map[string]uint64{"accepted": a.count.accepted.Load()},
		Queue:          a.queue.len(),
		QueueFull:      a.count.queueFull.Load(),
		Keys:           len(keys.set.Load().keys),
		Readings:       keys.readings.all.Load(),
		FailedReadings: keys.readings.failed.Load(),
		Age:            keys.age(),
	}
	for i, cause := range causes {
		st.Tokens[string(cause)] = a.count.causes[i].Load()
	}
	st.TooLong = st.Tokens[string(session.CauseTokenSize)]
	if cache != nil {
		st.CacheHits = cache.hits.Load()
	}
	keys.mu.Lock()
	defer keys.mu.Unlock()
	st.Parked = len(keys.parked)
	return st
}
