package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"belfry/message"
	"belfry/message/strictjson"
	"belfry/session"
	"belfry/webhook"
	"belfry/ws"
)

// WebhookOptions configure a Webhook.
type WebhookOptions struct {
	Hook

	Headers []string // names of fields of the request that the webhook is told, in lower case; 16 at most
	Cookies []string // names of cookies that the webhook is told; 16 at most
	// Admit says that a client is admitted as its token grants if the webhook does
	// not answer. It needs an authenticator behind which the webhook stands.
	Admit      bool
	Subscribe  []string      // patterns of topics that every client may subscribe to
	RetryAfter time.Duration // Retry-After of a 503; 0: 5 s
}

// maxNames limits WebhookOptions.Headers and Cookies: each name is searched for on a
// shard.
const maxNames = 16

func (o *WebhookOptions) fill() error {
	if len(o.Headers) > maxNames || len(o.Cookies) > maxNames {
		return fmt.Errorf("auth: the webhook is told %d header fields and %d cookies; allowed are up to %d of each", len(o.Headers), len(o.Cookies), maxNames)
	}
	return fill("RetryAfter", &o.RetryAfter, 5*time.Second, 1, 24*time.Hour)
}

// Webhook has a backend decide about each client that connects or logs in. It
// decides alone, or about the clients that another authenticator has admitted.
type Webhook struct {
	*caller
	opt       WebhookOptions
	next      session.LoginAuthenticator // nil: the webhook decides alone
	everybody *message.Patterns
	count     [connectResults]atomic.Uint64
}

var _ session.LoginAuthenticator = (*Webhook)(nil)

// connectResult is what became of a client.
type connectResult uint8

const (
	connectAdmitted    connectResult = iota // by the webhook
	connectRefused                          // by the webhook
	connectUnanswered                       // admitted as the token grants: there was no answer
	connectUnavailable                      // refused: there was no answer
	connectAnswer                           // refused: the answer is not valid
	connectTopic                            // refused: a topic that it may not subscribe to
	connectQueue                            // refused: too many wait
	connectResults
)

var connectNames = [connectResults]string{"admitted", "refused", "admitted_without", "unavailable", "bad_answer", "topic", "queue"}

// NewWebhook returns a Webhook for the clients that next admits; nil: for all
// clients.
func NewWebhook(next session.LoginAuthenticator, o WebhookOptions) (*Webhook, error) {
	if o.Admit && next == nil {
		return nil, errors.New("auth: the webhook is the only authenticator; nobody can be admitted without its answer")
	}
	c, err := newCaller(o.Hook)
	if err = errors.Join(err, o.fill()); err != nil {
		return nil, err
	}
	everybody, err := message.CompilePatterns(o.Subscribe)
	if err != nil {
		return nil, fmt.Errorf("auth.subscribe: %w", err)
	}
	return &Webhook{caller: c, opt: o, next: next, everybody: everybody}, nil
}

// Close ends the calls and the goroutines. Clients that wait get 503.
func (w *Webhook) Close() { w.close() }

// Stats may be called from any goroutine.
func (w *Webhook) Stats() HookStats {
	decisions := make(map[string]uint64, connectResults)
	for i := range w.count {
		decisions[connectNames[i]] = w.count[i].Load()
	}
	return w.stats(decisions)
}

// decision is a client that waits for the webhook.
type decision struct {
	event  string // connect or login
	since  time.Time
	facts  []byte // what is known of the client: members of a JSON object
	from   netip.AddrPort
	topics []string // that the request asks for
	bytes  int      // reserved in the queue
	later  func(session.Grant, *ws.Refusal)
}

// Authenticate implements session.Authenticator.
func (w *Webhook) Authenticate(at *session.Attempt, later func(session.Grant, *ws.Refusal)) (session.Grant, *ws.Refusal, bool) {
	var q request
	if refusal := q.readQuery(at.Request, func([]byte, string) bool { return true }); refusal != nil {
		return session.Grant{}, refusal, false
	}
	from := at.Remote()
	d := &decision{event: "connect", since: time.Now(), from: from, topics: q.topics, later: later, facts: w.appendRequest(make([]byte, 0, 512), at.Request, from, at.Encoding)}
	return w.decide(d, func(later func(session.Grant, *ws.Refusal)) (session.Grant, *ws.Refusal, bool) {
		return w.next.Authenticate(at, later)
	})
}

// Login implements session.LoginAuthenticator. Credentials go to the webhook only
// if nothing here can verify them.
func (w *Webhook) Login(c *session.Client, credentials []byte, later func(session.Grant, *ws.Refusal)) (session.Grant, *ws.Refusal, bool) {
	facts := appendClient(nil, c)
	if w.next == nil {
		facts = strictjson.AppendString(append(facts, `,"credentials":`...), credentials)
	}
	return w.decide(&decision{event: "login", since: time.Now(), from: c.Addr, later: later, facts: facts}, func(later func(session.Grant, *ws.Refusal)) (session.Grant, *ws.Refusal, bool) {
		return w.next.Login(c, credentials, later)
	})
}

// decide asks the authenticator before the webhook, and then the webhook. It runs
// on a shard and never waits.
func (w *Webhook) decide(d *decision, before func(later func(session.Grant, *ws.Refusal)) (session.Grant, *ws.Refusal, bool)) (session.Grant, *ws.Refusal, bool) {
	if d.bytes = len(d.facts); !w.queue.reserve(d.bytes) {
		return session.Grant{}, w.full(), false
	}
	if w.next == nil {
		w.enqueue(d, session.Grant{})
		return session.Grant{}, nil, true
	}
	g, refusal, pending := before(func(g session.Grant, refusal *ws.Refusal) {
		if refusal = w.admit(d, g, refusal); refusal != nil {
			d.later(session.Grant{}, refusal)
		}
	})
	if pending {
		return session.Grant{}, nil, true
	}
	refusal = w.admit(d, g, refusal)
	return session.Grant{}, refusal, refusal == nil
}

// admit goes on with a client when its token was verified. It returns why the client
// is refused; nil if the webhook decides. What the token grants waits, too.
func (w *Webhook) admit(d *decision, g session.Grant, refusal *ws.Refusal) *ws.Refusal {
	n := grantBytes(&g)
	if refusal == nil && !w.queue.reserveMore(n) {
		refusal = w.full()
	}
	if refusal != nil {
		w.queue.release(d.bytes)
		return refusal
	}
	d.bytes += n
	w.enqueue(d, g)
	return nil
}

// full refuses a client because there is no room for its decision.
func (w *Webhook) full() *ws.Refusal {
	w.count[connectQueue].Add(1)
	return ws.Unavailable("too many clients wait for a decision (auth.webhook.queue_bytes)", w.opt.RetryAfter).WithCause(session.CauseHookQueue)
}

// grantBytes is what a grant takes in memory.
func grantBytes(g *session.Grant) int {
	n := len(g.UID) + len(g.Meta)
	for _, list := range [][]string{g.Topics, g.Subscribe, g.Publish} {
		for _, text := range list {
			n += 16 + len(text)
		}
	}
	return n
}

// enqueue has the webhook decide about a client with a grant.
func (w *Webhook) enqueue(d *decision, g session.Grant) {
	w.queue.add(func() {
		answered := false
		answer := func(g session.Grant, refusal *ws.Refusal) {
			answered = true
			w.queue.release(d.bytes)
			d.later(g, refusal)
		}
		w.guard(func() { answer(w.ask(d, g)) }, func() {
			if !answered {
				answer(session.Grant{}, &ws.Refusal{Status: 500, Cause: session.CauseInternal, Detail: "a fault of this server"})
			}
		})
	})
}

// ask calls the webhook. It runs on a goroutine of the queue.
func (w *Webhook) ask(d *decision, g session.Grant) (session.Grant, *ws.Refusal) {
	answer, err := w.call(d.since, webhook.CallerOf(g.UID, ws.ClientPrefix(d.from.Addr())), "belfry.session."+d.event, []webhook.Attribute{{Name: "uid", Value: g.UID}}, w.body(d, &g))
	if status, reason, ok := refusedWith(err); ok {
		w.count[connectRefused].Add(1)
		if reason == "" {
			reason = "this client is refused (auth.webhook)"
		}
		return session.Grant{}, &ws.Refusal{Status: status, Cause: session.CauseHookRefused, Detail: reason}
	}
	result := connectAdmitted
	switch {
	case errors.Is(err, errStopping):
		return session.Grant{}, ws.Unavailable("this server stops", w.opt.RetryAfter).WithCause(session.CauseShutdown)
	case err != nil && !w.opt.Admit:
		w.warn("the connect webhook does not decide", "clients are refused with 503", err)
		w.count[connectUnavailable].Add(1)
		return session.Grant{}, ws.Unavailable("the service that decides about clients does not answer (auth.webhook)", w.opt.RetryAfter).WithCause(session.CauseHookUnavailable)
	case err != nil:
		w.warn("the connect webhook does not decide", "clients are admitted by their tokens", err)
		result = connectUnanswered
	default:
		if g, err = readGrant(answer, g); err != nil {
			w.warn("the connect webhook gives an answer that is not valid", "clients are refused with 503", err)
			w.count[connectAnswer].Add(1)
			return session.Grant{}, ws.Unavailable("the service that decides about clients gives an answer that is not valid; the server's log has the reason (auth.webhook)", w.opt.RetryAfter).
				WithCause(session.CauseHookAnswer)
		}
	}
	if refusal := addTopics(&g, d.topics, w.everybody); refusal != nil {
		w.count[connectTopic].Add(1)
		return session.Grant{}, refusal
	}
	w.count[result].Add(1)
	return g, nil
}

// body returns what the webhook is told, as JSON.
func (w *Webhook) body(d *decision, g *session.Grant) []byte {
	b := make([]byte, 0, len(d.facts)+512)
	b = strictjson.AppendString(append(b, `{"event":`...), d.event)
	if w.next != nil {
		b = strictjson.AppendString(append(b, `,"uid":`...), g.UID)
		b = appendGrant(append(b, `,"grant":`...), g)
	}
	return append(append(append(b, ','), d.facts...), '}')
}
