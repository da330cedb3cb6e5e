package webhook

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener without sockets, for tests with virtual time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// refused is the error of a host at which nothing listens.
var refused = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}

// virtual returns a backend whose hosts are handlers, to be called in a bubble of
// synctest. A host without a handler refuses connections.
func virtual(t *testing.T, opt Options, hosts map[string]http.HandlerFunc) *Backend {
	listeners := map[string]*pipes{}
	for host, handler := range hosts {
		p := &pipes{make(chan net.Conn), make(chan struct{})}
		listeners[host+":80"] = p
		server := &http.Server{Handler: handler}
		var running sync.WaitGroup
		running.Go(func() { server.Serve(p) })
		t.Cleanup(func() {
			server.Close()
			running.Wait()
		})
	}
	b := backendAt(t, opt)
	b.endpoints[0].transport.DialContext = func(_ context.Context, _, address string) (net.Conn, error) {
		p := listeners[address]
		if p == nil {
			return nil, refused
		}
		ours, theirs := net.Pipe()
		p.conns <- theirs
		return ours, nil
	}
	return b
}

// script answers each request with the next status; the last one is for all that
// follow. It notes when requests came, and their ids.
type script struct {
	statuses   []int
	retryAfter string

	mu  sync.Mutex // guards what follows
	at  []time.Time
	ids []string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = append(s.at, time.Now())
	s.ids = append(s.ids, r.Header.Get("Webhook-Id"))
	status := s.statuses[min(len(s.at), len(s.statuses))-1]
	if status >= 400 && s.retryAfter != "" {
		w.Header().Set("Retry-After", s.retryAfter)
	}
	w.WriteHeader(status)
}

func TestRetries(t *testing.T) {
	for name, tc := range map[string]struct {
		script   *script
		once     bool // the call is not idempotent
		deadline time.Duration
		attempts int
		status   int // of the last answer
		least    time.Duration
	}{
		"success":             {script: &script{statuses: []int{200}}, attempts: 1, status: 200},
		"two failures":        {script: &script{statuses: []int{500, 502, 200}}, attempts: 3, status: 200, least: 150 * time.Millisecond},
		"not idempotent":      {script: &script{statuses: []int{500, 200}}, once: true, attempts: 1, status: 500},
		"too many":            {script: &script{statuses: []int{500}}, attempts: 4, status: 500},
		"refused":             {script: &script{statuses: []int{404, 200}}, attempts: 1, status: 404},
		"gone":                {script: &script{statuses: []int{410, 200}}, attempts: 1, status: 410},
		"not implemented":     {script: &script{statuses: []int{501, 200}}, attempts: 1, status: 501},
		"retry after":         {script: &script{statuses: []int{429, 200}, retryAfter: "3"}, attempts: 2, status: 200, least: 3 * time.Second},
		"retry after of 503":  {script: &script{statuses: []int{503, 200}, retryAfter: "3"}, attempts: 2, status: 200, least: 3 * time.Second},
		"retry after, a date": {script: &script{statuses: []int{429, 200}, retryAfter: "Sat, 01 Jan 2000 00:00:04 GMT"}, attempts: 2, status: 200, least: 4 * time.Second},
		"retry after an hour": {script: &script{statuses: []int{429, 200}, retryAfter: "3600"}, attempts: 1, status: 429},
		"no time left":        {script: &script{statuses: []int{429, 200}, retryAfter: "3"}, deadline: 2 * time.Second, attempts: 1, status: 429},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := tc.script
			b := virtual(t, Options{URLs: []string{"http://a"}, Retries: 3, Failures: 9}, map[string]http.HandlerFunc{"a": s.ServeHTTP})
			ctx, start := context.Background(), time.Now()
			if tc.deadline > 0 {
				within, cancel := context.WithTimeout(ctx, tc.deadline)
				defer cancel()
				ctx = within
			}
			c := event("")
			c.Idempotent = !tc.once
			answer, err := b.Call(ctx, c)
			var status *StatusError
			if errors.As(err, &status) {
				answer = status.Answer
			}
			if answer == nil || answer.Status != tc.status || len(s.at) != tc.attempts {
				t.Errorf("%s: %v %v after %d attempts", name, answer, err, len(s.at))
			}
			if took := time.Since(start); took < tc.least || took > 2*tc.least+time.Second {
				t.Errorf("%s: it took %v", name, took)
			}
			if ids := slices.Compact(s.ids); len(ids) != 1 {
				t.Errorf("%s: the attempts have different ids: %q", name, ids)
			}
			if got := b.Stats().Retries; got != uint64(tc.attempts-1) {
				t.Errorf("%s: %d retries counted", name, got)
			}
		})
	}
}

// Each attempt has a timestamp of its own, which the signature covers.
func TestTimestampOfAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stamps []string
		b := virtual(t, Options{URLs: []string{"http://a"}, Retries: 1, Keys: []Key{mustKey(t, 1)}}, map[string]http.HandlerFunc{"a": func(w http.ResponseWriter, r *http.Request) {
			stamps = append(stamps, r.Header.Get("Webhook-Timestamp"))
			body, _ := io.ReadAll(r.Body)
			if err := Verify(r.Header, body, []Key{mustKey(t, 1)}, time.Now()); err != nil {
				t.Error(err)
			}
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(429)
		}})
		c := event("body")
		c.Idempotent = true
		b.Call(context.Background(), c)
		if len(stamps) != 2 || stamps[0] == stamps[1] {
			t.Errorf("%q", stamps)
		}
	})
}

// 503 with Retry-After is about the server: no call goes there before, but never
// longer than a minute. 429 is about one call.
func TestUnavailable(t *testing.T) {
	for _, tc := range []struct {
		status     int
		retryAfter string
		wait       time.Duration // until the next call gets through
	}{{503, "20", 20 * time.Second}, {503, "99999", time.Minute}, {503, "", 0}, {503, "soon", 0}, {429, "20", 0}} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{statuses: []int{tc.status, 200}, retryAfter: tc.retryAfter}
			b := virtual(t, Options{URLs: []string{"http://a"}}, map[string]http.HandlerFunc{"a": s.ServeHTTP})
			b.Call(context.Background(), event(""))
			if tc.wait > 0 {
				time.Sleep(tc.wait - 1)
				if _, err := b.Call(context.Background(), event("")); !errors.Is(err, ErrOpen) || b.Stats().Open != 1 {
					t.Errorf("%v: %v", tc, err)
				}
				time.Sleep(time.Nanosecond)
			}
			if _, err := b.Call(context.Background(), event("")); err != nil {
				t.Errorf("%v: %v", tc, err)
			}
		})
	}
}

// Calls take turns over the URLs. One that cannot be connected to is passed over,
// even for calls that are not idempotent; one that fails afterwards is not.
func TestURLs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &script{statuses: []int{200}}, &script{statuses: []int{200}}
		backend := virtual(t, Options{URLs: []string{"http://a", "http://b", "http://gone"}, Failures: 3}, map[string]http.HandlerFunc{"a": a.ServeHTTP, "b": b.ServeHTTP})
		for range 30 {
			if _, err := backend.Call(context.Background(), event("")); err != nil {
				t.Fatal(err)
			}
		}
		if len(a.at)+len(b.at) != 30 || len(a.at) < 10 || len(b.at) < 10 {
			t.Errorf("%d and %d calls", len(a.at), len(b.at))
		}
		if s := backend.Stats(); s.Open != 1 || s.URLs != 3 {
			t.Errorf("%+v", s)
		}
		b.statuses = []int{500}
		failed := 0
		for range 12 {
			if _, err := backend.Call(context.Background(), event("")); err != nil {
				failed++
			}
		}
		if failed != 3 { // then b is left alone
			t.Errorf("%d calls failed", failed)
		}
	})
	none := backendAt(t, Options{URLs: []string{"http://127.0.0.1:1", "http://127.0.0.1:2"}})
	if _, err := none.Call(context.Background(), event("")); !isDial(err) || !strings.Contains(err.Error(), "127.0.0.1:") {
		t.Errorf("%v", err)
	}
}
