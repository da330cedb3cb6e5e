package auth

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

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
	missing   string                 // the text for a client without a token
	inForce   atomic.Pointer[tokens] // a reload replaces them
	queue     *tokenQueue
	count     counters

	mu       sync.Mutex // held to replace inForce, and to stop
	stopping context.Context
	stop     context.CancelFunc
	running  sync.WaitGroup
}

var _ session.LoginAuthenticator = (*Authenticator)(nil)

// job is a token on its way through the queue. Jobs are used again, so that a storm of
// connections makes little garbage.
type job struct {
	token  []byte  // the job's own
	by     *tokens // whose cache key is for
	key    tokenKey
	topics []string // that the request asks for
	later  func(session.Grant, *ws.Refusal)
	again  bool // the keys were read because of this token
}

var jobs = sync.Pool{New: func() any { return new(job) }}

func newJob(token []byte, key tokenKey, topics []string, later func(session.Grant, *ws.Refusal)) *job {
	j := jobs.Get().(*job)
	*j = job{token: append(j.token[:0], token...), key: key, topics: topics, later: later}
	return j
}

// free gives back a job that was decided. Its buffer still holds the token, as the memory
// of a process does that has freed it.
func (j *job) free() {
	if cap(j.token) <= maxScratch {
		*j = job{token: j.token}
		jobs.Put(j)
	}
}

// New returns an Authenticator. It reads the files of keys, and returns an error
// that names the setting if one is not valid. A JWKS with a URL is read after Start.
func New(o Options) (*Authenticator, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	if !o.JWT.Configured() {
		return nil, errUnconfigured
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
	t, err := newTokens(o)
	if err != nil {
		return nil, err
	}
	a.inForce.Store(t)
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
	t := a.inForce.Load()
	t.keys.reading = IsURL(a.opt.JWT.JWKS) // tokens wait for the first reading
	a.queue.awake = a.opt.Verifiers
	for range a.opt.Verifiers {
		a.running.Go(a.work)
	}
	a.read(t)
}

// Close ends the goroutines. Tokens that wait get 503. It must be called once, after
// Start.
func (a *Authenticator) Close() {
	a.mu.Lock()
	a.stop()
	a.mu.Unlock()
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
		return a.token(q.token, q.topics, later)
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
		return a.token(credentials, nil, later)
	}
	a.count.refused(refusal.Cause)
	return session.Grant{}, refusal, false
}

// token decides about a token: at once if its signature is known to be valid.
func (a *Authenticator) token(token []byte, topics []string, later func(session.Grant, *ws.Refusal)) (session.Grant, *ws.Refusal, bool) {
	t := a.inForce.Load()
	g, key, ok := t.verifier.recall(token)
	if ok {
		refusal := a.complete(&g, topics)
		return g, refusal, false
	}
	j := newJob(token, key, topics, later)
	j.by = t
	return a.enqueue(j)
}

// complete adds the topics that the request asks for to a grant, and counts what was
// decided. Nothing is granted together with a refusal.
func (a *Authenticator) complete(g *session.Grant, topics []string) (refusal *ws.Refusal) {
	if refusal = addTopics(g, topics, a.everybody); refusal != nil {
		a.count.refused(refusal.Cause)
		*g = session.Grant{}
		return refusal
	}
	a.count.accepted.Add(1)
	return nil
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

// Degraded returns what is wrong with the keys, for /readyz.
func (a *Authenticator) Degraded() []string { return a.inForce.Load().keys.degraded() }
