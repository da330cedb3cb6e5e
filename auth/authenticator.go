package auth

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/session"
	"belfry/ws"
)

// Authenticator admits clients by their tokens. New makes one, Start starts its
// goroutines, and Close ends them.
type Authenticator struct {
	opt       Options
	open      session.Open // for clients without a token
	everybody *message.Patterns
	missing   string // the text for a client without a token
	keys      *source
	verifier  *verifier
	queue     *tokenQueue
	count     counters

	stopping context.Context
	stop     context.CancelFunc
	running  sync.WaitGroup
}

var _ session.LoginAuthenticator = (*Authenticator)(nil)

// job is a token on its way through the queue.
type job struct {
	token  string
	topics []string // that the request asks for
	later  func(session.Grant, *ws.Refusal)
	again  bool // the keys were read because of this token

	answered bool // later was called
}

// New returns an Authenticator. It reads the files of keys, and returns an error
// that names the setting if one is not valid. A JWKS with a URL is read after Start.
func New(o Options) (*Authenticator, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	if !o.JWT.Configured() {
		return nil, errors.New("auth: no key for tokens; set auth.jwt.secret, auth.jwt.public_key_file or auth.jwt.jwks")
	}
	a := &Authenticator{opt: o, queue: newTokenQueue(o.Queue, o.Verifiers)}
	a.stopping, a.stop = context.WithCancel(context.Background())
	var err error
	if a.everybody, err = message.CompilePatterns(o.Subscribe); err != nil {
		return nil, fmt.Errorf("auth.subscribe: %w", err)
	}
	a.open = session.Open{Unproven: o.Unproven, Topics: a.everybody}
	if o.LeaveTopics {
		a.open.Topics, _ = message.CompilePatterns([]string{"*"})
	}
	if a.keys, err = newSource(&a.opt); err != nil {
		return nil, err
	}
	a.verifier = newVerifier(&a.opt, a.keys.set.Load)
	a.missing = missing(o.Cookie)
	return a, nil
}

// missing returns the text for a client without a token. Without the name of a cookie
// it fits into a close frame, 123 bytes.
func missing(cookie string) string {
	text := "token: missing; send it as Authorization: Bearer, as ?token="
	if cookie != "" {
		text += ", as the cookie " + cookie
	}
	return text + ", or in Sec-WebSocket-Protocol beside belfry.v1 or belfry.plain"
}

// Start starts the goroutines.
func (a *Authenticator) Start() {
	a.keys.reading = IsURL(a.opt.JWT.JWKS) // tokens wait for the first reading
	a.queue.awake = a.opt.Verifiers
	for range a.opt.Verifiers {
		a.running.Go(a.work)
	}
	a.running.Go(func() { a.keys.run(a.stopping) })
}

// Close ends the goroutines. Tokens that wait get 503. It must be called once, after
// Start.
func (a *Authenticator) Close() {
	a.stop()
	a.running.Wait()
	for _, j := range a.queue.close() {
		j.later(session.Grant{}, ws.Unavailable("this server stops", a.opt.RetryAfter).WithCause(session.CauseShutdown))
	}
}

// Authenticate implements session.Authenticator.
func (a *Authenticator) Authenticate(at *session.Attempt, later func(session.Grant, *ws.Refusal)) (session.Grant, *ws.Refusal, bool) {
	q, refusal := readRequest(at.Request, a.opt.Cookie, a.opt.MaxToken)
	if a.opt.LeaveTopics {
		q.topics = nil
	}
	switch {
	case refusal != nil:
		a.count.refused(refusal.Cause)
		return session.Grant{}, refusal, false
	case q.place != "":
		return a.enqueue(&job{token: string(q.token), topics: q.topics, later: later})
	case a.opt.Anonymous || a.opt.Unproven && claimsUser(at.Request):
		g, refusal, pending := a.open.Authenticate(at, later)
		if a.opt.LeaveTopics {
			g.Topics = nil
		}
		return g, refusal, pending
	}
	a.count.refused(session.CauseTokenMissing)
	return session.Grant{}, ws.Unauthorized(a.missing).WithCause(session.CauseTokenMissing), false
}

func claimsUser(r *ws.Request) bool {
	_, ok := r.Query("uid")
	return ok
}

// Login implements session.LoginAuthenticator.
func (a *Authenticator) Login(_ *session.Client, credentials []byte, later func(session.Grant, *ws.Refusal)) (session.Grant, *ws.Refusal, bool) {
	var refusal *ws.Refusal
	switch n := len(credentials); {
	case n == 0:
		refusal = ws.Unauthorized("token: empty").WithCause(session.CauseTokenMissing)
	case n > a.opt.MaxToken:
		refusal = tooLong(n, a.opt.MaxToken)
	default:
		return a.enqueue(&job{token: string(credentials), later: later})
	}
	a.count.refused(refusal.Cause)
	return session.Grant{}, refusal, false
}

// enqueue gives a token to the verifiers. It never waits.
func (a *Authenticator) enqueue(j *job) (session.Grant, *ws.Refusal, bool) {
	if a.queue.put(j) {
		return session.Grant{}, nil, true
	}
	a.count.queueFull.Add(1)
	a.count.refused(session.CauseAuthQueue)
	return session.Grant{}, ws.Unavailable("too many tokens wait to be verified (auth.queue)", a.opt.RetryAfter).WithCause(session.CauseAuthQueue), false
}

// work is the goroutine of a verifier.
func (a *Authenticator) work() {
	for a.stopping.Err() == nil {
		j, ok := a.queue.take(a.stopping.Done())
		if !ok {
			return
		}
		a.decide(j)
	}
}

// decide verifies a token and calls later, unless the token has to wait for keys. A
// panic costs one client and not the process.
func (a *Authenticator) decide(j *job) {
	defer func() {
		if fault := recover(); fault != nil {
			a.opt.Log.Error("a token could not be verified: a fault of this server", zap.Any("panic", fault), zap.ByteString("stack", debug.Stack()))
			if !j.answered {
				a.answer(j, session.Grant{}, errFault)
			}
		}
	}()
	seen := a.keys.set.Load()
	g, err := a.verifier.verify(j.token)
	for err == errUnknownKey {
		why := a.keys.await(seen, a.retry(j))
		if why == nil {
			return
		}
		if why != errKeysChanged {
			err = why
			break
		}
		seen = a.keys.set.Load()
		g, err = a.verifier.verify(j.token)
	}
	if err == nil {
		if refusal := addTopics(&g, j.topics, a.everybody); refusal != nil {
			a.count.refused(refusal.Cause)
			j.answered = true
			j.later(session.Grant{}, refusal)
			return
		}
	}
	a.answer(j, g, err)
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
		a.answer(j, session.Grant{}, refuseKeys("this server stops"))
	}
}

// answer tells the server what was decided, and counts it.
func (a *Authenticator) answer(j *job, g session.Grant, err error) {
	j.answered = true
	switch e := err.(type) {
	case nil:
		a.count.accepted.Add(1)
		j.later(g, nil)
	case *refused:
		a.count.refused(e.cause)
		j.later(session.Grant{}, e.refusal(a.opt.RetryAfter))
	default:
		a.count.refused(session.CauseInternal)
		j.later(session.Grant{}, &ws.Refusal{Status: 500, Cause: session.CauseInternal, Detail: err.Error()})
	}
}

// Degraded returns what is wrong with the keys, for /readyz.
func (a *Authenticator) Degraded() []string { return a.keys.degraded() }
