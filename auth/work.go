package auth

import (
	"errors"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"belfry/session"
	"belfry/ws"
)

// decided is a decision about a token.
type decided struct {
	job     *job
	grant   session.Grant
	refusal *ws.Refusal
}

// A verifier tells shards its decisions a few at a time, because the first one wakes a
// shard, and those that come within the same turn cost it little. It does so when it
// has maxUntold of them, when the first one is untoldTime old, and before it sleeps.
const (
	maxUntold  = 16
	untoldTime = 100 * time.Microsecond
)

// work is the goroutine of a verifier.
func (a *Authenticator) work() {
	untold := make([]decided, 0, maxUntold)
	var since time.Time // of the first one
	tell := func() {
		for i := range untold {
			a.tell(&untold[i])
		}
		clear(untold)
		untold = untold[:0]
	}
	defer tell()
	for a.stopping.Err() == nil {
		j, ok := a.queue.take(a.stopping.Done(), tell)
		if !ok {
			return
		}
		d, ok := a.decide(j)
		if !ok {
			continue
		}
		now := time.Now()
		if len(untold) == 0 {
			since = now
		}
		if untold = append(untold, d); len(untold) == maxUntold || now.Sub(since) >= untoldTime {
			tell()
		}
	}
}

// tell tells a shard a decision. A panic costs one client and not the process.
func (a *Authenticator) tell(d *decided) {
	defer func() {
		if fault := recover(); fault != nil {
			a.fault(fault)
		}
	}()
	d.job.later(d.grant, d.refusal)
	d.job.free()
}

func (a *Authenticator) fault(fault any) {
	a.opt.Log.Error("a token could not be verified: a fault of this server", zap.Any("panic", fault), zap.ByteString("stack", debug.Stack()))
}

// decide verifies a token. It returns false if the token has to wait for keys: then it
// comes again. A panic costs one client and not the process.
func (a *Authenticator) decide(j *job) (d decided, ok bool) {
	defer func() {
		if fault := recover(); fault != nil {
			a.fault(fault)
			d, ok = a.decided(j, session.Grant{}, errFault), true
		}
	}()
	t := a.inForce.Load()
	if j.by != t {
		j.by, j.key = t, t.verifier.find(j.token)
	}
	seen := t.keys.set.Load()
	g, err := t.verifier.verifyFound(j.token, j.key)
	for err == errUnknownKey {
		why := t.keys.await(seen, a.retry(j))
		if why == nil {
			return decided{}, false
		}
		if why != errKeysChanged {
			err = why
			break
		}
		seen = t.keys.set.Load()
		g, err = t.verifier.verifyFound(j.token, j.key)
	}
	if a.inForce.Load() != t { // a reload meanwhile: t counts no more
		return a.decide(j)
	}
	return a.decided(j, g, err), true
}

var errFault = errors.New("token: could not be verified, by a fault of this server")

// retry returns what is done with a token when the keys were read because of it, nil
// if that has happened before.
func (a *Authenticator) retry(j *job) func() {
	if j.again {
		return nil
	}
	return func() {
		j.again = true
		a.enqueueAgain(j)
	}
}

// enqueueAgain gives a token to the verifiers after the keys were read.
func (a *Authenticator) enqueueAgain(j *job) {
	if !a.queue.put(j) {
		d := a.decided(j, session.Grant{}, refuseKeys("this server stops"))
		a.tell(&d)
	}
}

// decided returns the answer for a token, and counts it.
func (a *Authenticator) decided(j *job, g session.Grant, err error) decided {
	d := decided{job: j, grant: g}
	switch e := err.(type) {
	case nil:
		d.refusal = a.complete(&d.grant, j.topics)
		return d
	case *refused:
		d.refusal = e.refusal(a.opt.RetryAfter)
	default:
		d.refusal = &ws.Refusal{Status: 500, Cause: session.CauseInternal, Detail: err.Error()}
	}
	d.grant = session.Grant{}
	a.count.refused(d.refusal.Cause)
	return d
}
