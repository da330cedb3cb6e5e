package webhook

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// endpoint is one URL of a backend.
type endpoint struct {
	opt       *Options
	url       *url.URL
	host      string // for errors and the log, which do not repeat the rest of the URL
	basic     string // Authorization, from the user and password of the URL; "" for none
	transport *http.Transport
	breaker   *breaker
	until     atomic.Int64 // Unix ns before which the URL is left alone because it asked for it
	gone      atomic.Int64 // Unix ns of the last log line about status 410
}

func newEndpoint(text string, t transports, opt *Options) (*endpoint, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Fragment != "" {
		return nil, fmt.Errorf("webhook: a URL of backend %q cannot be read; write it like https://host:port/path", opt.Name)
	}
	e := &endpoint{opt: opt, url: u, host: u.Host}
	switch u.Scheme {
	case "http", "https":
		e.transport = t.http
	case "h2c":
		u.Scheme, e.transport = "http", t.h2c
	default:
		return nil, fmt.Errorf("webhook: URL %s://%s of backend %q; allowed are http, https, and h2c for HTTP/2 without TLS", u.Scheme, u.Host, opt.Name)
	}
	if u.User != nil {
		password, _ := u.User.Password()
		e.basic = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
		u.User = nil
	}
	e.breaker = newBreaker(opt.Failures, opt.Pause, e.changed)
	return e, nil
}

// isFailure says whether the backend is to blame for err. A backend that refuses a
// call (4xx) works.
func isFailure(err error) bool {
	o := outcomeOf(err)
	return o != outcomeOK && o != outcomeRefused
}

// changed is called when the breaker opens or closes.
func (e *endpoint) changed(open bool) {
	if open {
		e.opt.Log.Warn("a backend fails", zap.String("backend", e.opt.Name), zap.String("host", e.host),
			zap.String("effect", "calls go to its other URLs, or fail at once"), zap.Duration("next_try", e.opt.Pause))
		return
	}
	e.opt.Log.Info("a backend answers again", zap.String("backend", e.opt.Name), zap.String("host", e.host))
}

// healthy says whether the URL may be called.
func (e *endpoint) healthy(now time.Time) bool {
	return e.until.Load() <= now.UnixNano() && !e.breaker.open(now)
}

// refuses says whether enter would refuse every caller.
func (e *endpoint) refuses(now time.Time) bool {
	return e.until.Load() > now.UnixNano() || e.breaker.refuses(now)
}

// enter says whether the URL may be called now. Then the breaker wants the outcome
// of the attempt.
func (e *endpoint) enter(caller Caller, now time.Time) (a attempt, ok bool) {
	if e.until.Load() > now.UnixNano() {
		return a, false
	}
	return e.breaker.enter(caller, now)
}

// call makes an attempt and tells the breaker of it, also if it panics.
func (e *endpoint) call(ctx context.Context, c *Call, h http.Header, a attempt) (answer *Answer, err error) {
	err = context.Canceled
	defer func() { e.breaker.leave(a, err, time.Now()) }()
	answer, err = e.attempt(ctx, c, h)
	return answer, err
}

// attempt sends a call once. h belongs to it.
func (e *endpoint) attempt(ctx context.Context, c *Call, h http.Header) (*Answer, error) {
	within, cancel := context.WithTimeout(ctx, e.opt.Timeout)
	defer cancel()
	if e.basic != "" && h["Authorization"] == nil {
		h["Authorization"] = []string{e.basic}
	}
	body := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(c.Body)), nil }
	req := (&http.Request{Method: http.MethodPost, URL: e.url, Host: e.url.Host, Header: h, Body: http.NoBody, ContentLength: int64(len(c.Body)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(within)
	if len(c.Body) > 0 {
		req.Body, _ = body()
		req.GetBody = body
	}
	answer, err := e.exchange(req)
	switch {
	case errors.Is(err, ErrAnswerTooBig):
		return nil, err
	case err != nil:
		return nil, e.failed(ctx, within, err)
	}
	return e.judge(answer)
}

// exchange sends a request and reads the answer. It gives the caller's place in the
// gate up meanwhile.
func (e *endpoint) exchange(req *http.Request) (*Answer, error) {
	e.opt.Gate.Leave()
	defer e.opt.Gate.Enter()
	resp, err := e.transport.RoundTrip(req) // not http.Client, which follows redirects
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() // closes the connection if the body was not read to its end
	if resp.ContentLength > int64(e.opt.MaxAnswer) {
		return nil, ErrAnswerTooBig
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, int64(e.opt.MaxAnswer)+1))
	switch {
	case err != nil:
		return nil, err
	case len(content) > e.opt.MaxAnswer:
		return nil, ErrAnswerTooBig
	}
	return &Answer{Status: resp.StatusCode, Header: resp.Header, Body: content}, nil
}

// failed tells apart who has ended an attempt that has no answer.
func (e *endpoint) failed(ctx, within context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case within.Err() != nil:
		return ErrTimeout
	}
	var n net.Error
	if errors.As(err, &n) && n.Timeout() { // of the dial or of the TLS handshake
		return ErrTimeout
	}
	return fmt.Errorf("%s: %w", e.host, err)
}

// judge returns an answer of status 2xx, and a *StatusError for every other one.
func (e *endpoint) judge(a *Answer) (*Answer, error) {
	if a.Status/100 == 2 {
		return a, nil
	}
	now := time.Now()
	err := &StatusError{Answer: a, RetryAfter: parseRetryAfter(a.Header.Get("Retry-After"), now)}
	switch a.Status {
	case http.StatusServiceUnavailable:
		// 503 is about the server, so that every call waits. 429 may be about one
		// client: only that call waits, or one client could keep all others out.
		if err.RetryAfter > 0 {
			e.until.Store(now.Add(min(err.RetryAfter, maxUntil)).UnixNano())
		}
	case http.StatusGone:
		if last := e.gone.Load(); now.UnixNano()-last > int64(time.Minute) && e.gone.CompareAndSwap(last, now.UnixNano()) {
			e.opt.Log.Warn("a backend answers 410 Gone", zap.String("backend", e.opt.Name), zap.String("host", e.host),
				zap.String("fix", "if the service has moved, change its URL in the configuration"))
		}
	}
	return nil, err
}

// maxUntil limits how long a 503 with Retry-After keeps calls away from a URL.
const maxUntil = time.Minute

// isDial says whether an attempt failed before anything was sent.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && strings.HasPrefix(op.Op, "dial")
}
