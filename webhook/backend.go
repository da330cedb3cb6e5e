package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Options configure a Backend.
type Options struct {
	Name string // for logs and metrics
	// URLs of the same service: http, https, or h2c for HTTP/2 without TLS. Calls
	// take turns over those that work.
	URLs []string

	Timeout       time.Duration // of an attempt, from the connection to the last byte of the answer; 0: 5 s
	MaxAnswer     int           // bytes of an answer's body; 0: 1 MiB; beyond: ErrAnswerTooBig
	InFlight      int           // calls in flight; 0: 256; beyond: ErrBusy
	InFlightBytes int64         // of the bodies of calls in flight; 0: 16 MiB; beyond: ErrBusy
	Retries       int           // further attempts of an idempotent call; 0: none

	Failures int           // in a row, after which a URL is left alone if several callers had them; 0: 5
	Pause    time.Duration // until a URL that was left alone gets a few calls as probes; 0: 5 s

	// Gate is for callers that have a place in it: Call is without one while it waits.
	Gate Gate
	Keys []Key       // every attempt is signed with each of them; none: not signed
	TLS  *tls.Config // nil: the system's certificate authorities
	Log  *zap.Logger // nil: none
}

// fill sets the defaults of options that are 0, and checks ranges.
func (o *Options) fill() error {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if len(o.URLs) == 0 {
		return fmt.Errorf("webhook: backend %q has no URL", o.Name)
	}
	return errors.Join(
		fill("Timeout", &o.Timeout, 5*time.Second, time.Millisecond, 10*time.Minute),
		fill("MaxAnswer", &o.MaxAnswer, 1<<20, 1, 1<<30),
		fill("InFlight", &o.InFlight, 256, 1, 1<<20),
		fill("InFlightBytes", &o.InFlightBytes, 16<<20, 1, 1<<50),
		fill("Retries", &o.Retries, 0, 0, 100),
		fill("Failures", &o.Failures, 5, 1, 1<<20),
		fill("Pause", &o.Pause, 5*time.Second, time.Millisecond, time.Hour),
	)
}

func fill[T int | int64 | time.Duration](name string, v *T, def, least, most T) error {
	if *v == 0 {
		*v = def
	}
	if *v < least || *v > most {
		return fmt.Errorf("webhook: %s is %v; allowed are %v to %v", name, *v, least, most)
	}
	return nil
}

// Backend is a service that is called. Any goroutine may use it.
type Backend struct {
	opt       Options
	endpoints []*endpoint
	next      atomic.Uint32 // counts calls; the first URL to try
	flight    flight
	counters  counters
}

// New returns a backend. It opens no connection. Errors name a URL only by its
// scheme and host.
func New(opt Options) (*Backend, error) {
	if err := opt.fill(); err != nil {
		return nil, err
	}
	b := &Backend{opt: opt, flight: flight{maxCalls: opt.InFlight, maxBytes: opt.InFlightBytes}}
	transports := newTransports(&b.opt)
	for _, text := range opt.URLs {
		e, err := newEndpoint(text, transports, &b.opt)
		if err != nil {
			return nil, err
		}
		b.endpoints = append(b.endpoints, e)
	}
	return b, nil
}

// Close closes the connections that are idle. Calls in flight end as their
// contexts do.
func (b *Backend) Close() {
	for _, e := range b.endpoints {
		e.transport.CloseIdleConnections()
	}
}

// Call sends a call and returns the answer if its status is 2xx. Otherwise the
// error is, or wraps, one of ErrBusy, ErrOpen, ErrTimeout, ErrAnswerTooBig,
// *StatusError, an error of ctx, or one of the connection. Call returns at once if
// the limits of calls in flight are reached, and when ctx ends.
func (b *Backend) Call(ctx context.Context, c *Call) (*Answer, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	size := int64(len(c.Body))
	if !b.flight.enter(size) {
		b.counters.calls[outcomeBusy].Add(1)
		return nil, ErrBusy
	}
	defer b.flight.leave(size)
	start := time.Now()
	answer, err := b.attempts(ctx, c)
	o := outcomeOf(err)
	b.counters.calls[o].Add(1)
	if o != outcomeOpen {
		b.counters.observe(time.Since(start))
	}
	return answer, err
}

// Refuse says whether Call would return ErrOpen, as long as no URL works again. It
// counts such a call, which the caller need not make then.
func (b *Backend) Refuse() bool {
	now := time.Now()
	for _, e := range b.endpoints {
		if !e.refuses(now) {
			return false
		}
	}
	b.counters.calls[outcomeOpen].Add(1)
	return true
}

// attempts tries a call until it is answered or may not be tried again.
func (b *Backend) attempts(ctx context.Context, c *Call) (*Answer, error) {
	header := c.header()
	for n := 0; ; n++ {
		answer, err := b.anyURL(ctx, c, header)
		if err == nil || !c.Idempotent || n >= b.opt.Retries || !mayRetry(err, n) {
			return answer, err
		}
		b.opt.Gate.Leave()
		again := pause(ctx, n, err)
		b.opt.Gate.Enter()
		if !again {
			return nil, err
		}
		b.counters.retries.Add(1)
	}
}

// anyURL makes one attempt. A URL that cannot be connected to has not seen the
// call, so that the next one may get it, idempotent or not.
func (b *Backend) anyURL(ctx context.Context, c *Call, header http.Header) (answer *Answer, err error) {
	first := b.next.Add(1)
	err = ErrOpen
	for i := range b.endpoints {
		e := b.endpoints[(first+uint32(i))%uint32(len(b.endpoints))]
		a, ok := e.enter(c.Caller, time.Now())
		if !ok {
			continue
		}
		answer, err = e.call(ctx, c, b.sign(c, header), a)
		if err == nil || !isDial(err) || ctx.Err() != nil {
			return answer, err
		}
	}
	return nil, err
}

// sign returns the header of an attempt: webhook-timestamp is the attempt's own
// time.
func (b *Backend) sign(c *Call, header http.Header) http.Header {
	h := header.Clone()
	now := time.Now()
	h["Webhook-Id"] = []string{c.ID}
	h["Webhook-Timestamp"] = []string{strconv.FormatInt(now.Unix(), 10)}
	if len(b.opt.Keys) > 0 {
		h["Webhook-Signature"] = []string{Sign(b.opt.Keys, c.ID, now, c.Body)}
	}
	return h
}
