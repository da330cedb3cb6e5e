package webhook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newBackend returns a backend at a server with that handler.
func newBackend(t *testing.T, opt Options, handler http.HandlerFunc) *Backend {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	opt.URLs = append(opt.URLs, server.URL+"/hook?secret=hidden")
	return backendAt(t, opt)
}

func backendAt(t *testing.T, opt Options) *Backend {
	t.Helper()
	opt.Name = "test"
	b, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// event returns a call of a client that has not called before.
func event(body string) *Call {
	return &Call{Caller: Caller(callers.Add(1)), ID: "n:1/2", Type: "belfry.message", Source: "/nodes/a", Body: []byte(body), ContentType: "application/json"}
}

var callers atomic.Uint64

// mustKey returns a key of 32 equal bytes.
func mustKey(t testing.TB, b byte) Key {
	t.Helper()
	return Key{bytes.Repeat([]byte{b}, 32)}
}

// calls compares the counters of calls that are not 0.
func (b *Backend) wantCalls(t *testing.T, want map[string]uint64) {
	t.Helper()
	for result, n := range b.Stats().Calls {
		if n != want[result] {
			t.Errorf("%d calls %s, want %d", n, result, want[result])
		}
	}
}

func TestAnswers(t *testing.T) {
	b := newBackend(t, Options{MaxAnswer: 8}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch string(body) {
		case "ok":
			io.WriteString(w, "12345678")
		case "none":
			w.WriteHeader(http.StatusNoContent)
		case "long":
			io.WriteString(w, "123456789")
		case "elsewhere":
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		case "no":
			http.Error(w, "no", http.StatusForbidden)
		case "broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "cut":
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "12")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	for _, tc := range []struct {
		body, answer string
		status       int // of a StatusError
		err          error
	}{
		{body: "ok", answer: "12345678"},
		{body: "none"},
		{body: "long", err: ErrAnswerTooBig},
		{body: "elsewhere", status: 307},
		{body: "no", status: 403, answer: "no\n"},
		{body: "broken", status: 500},
		{body: "cut", err: io.ErrUnexpectedEOF},
	} {
		answer, err := b.Call(context.Background(), event(tc.body))
		var status *StatusError
		switch {
		case tc.status != 0:
			if !errors.As(err, &status) || status.Answer.Status != tc.status || tc.answer != "" && string(status.Answer.Body) != tc.answer {
				t.Errorf("%s: %v", tc.body, err)
			}
		case !errors.Is(err, tc.err):
			t.Errorf("%s: %v, want %v", tc.body, err, tc.err)
		case err == nil && string(answer.Body) != tc.answer:
			t.Errorf("%s: %q", tc.body, answer.Body)
		}
		if err != nil && strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: the error shows the query: %v", tc.body, err)
		}
	}
	b.wantCalls(t, map[string]uint64{"ok": 2, "too_big": 1, "refused": 2, "failed": 1, "error": 1})
	if s := b.Stats(); s.InFlight != 0 || s.Bytes != 0 || s.Latency.Count != 7 || s.Latency.Buckets[(latencyFirst<<16).Seconds()] != 7 {
		t.Errorf("%+v", s)
	}
}

// An answer of 10 MB is cut off, whether its length is known or not, and the
// connection is closed.
func TestAnswerTooBig(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		ended := make(chan int, 1)
		b := newBackend(t, Options{MaxAnswer: 1000}, func(w http.ResponseWriter, r *http.Request) {
			sent := 0
			defer func() { ended <- sent }()
			if !chunked {
				w.Header().Set("Content-Length", "10000000")
			}
			for sent < 10_000_000 {
				n, err := w.Write(make([]byte, 10_000))
				if sent += n; err != nil {
					return
				}
			}
		})
		if _, err := b.Call(context.Background(), event("")); !errors.Is(err, ErrAnswerTooBig) {
			t.Errorf("chunked %v: %v", chunked, err)
		}
		if sent := <-ended; sent >= 10_000_000 {
			t.Errorf("chunked %v: the backend could send it all", chunked)
		}
	}
}

// A backend that hangs, and one that sends a byte now and then, are given up after
// the time-out.
func TestTimeout(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"hangs": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"drips": func(w http.ResponseWriter, r *http.Request) {
			for ticks := time.NewTicker(time.Millisecond); r.Context().Err() == nil; <-ticks.C {
				io.WriteString(w, "x")
				w.(http.Flusher).Flush()
			}
		},
	} {
		b := newBackend(t, Options{Timeout: 50 * time.Millisecond}, handler)
		if _, err := b.Call(context.Background(), event("")); !errors.Is(err, ErrTimeout) {
			t.Errorf("%s: %v", name, err)
		}
		b.wantCalls(t, map[string]uint64{"timeout": 1})
	}
}

// A call ends with its caller's context, and this does not count against the backend.
func TestCanceled(t *testing.T) {
	in := make(chan bool)
	b := newBackend(t, Options{Failures: 1}, func(w http.ResponseWriter, r *http.Request) {
		in <- true
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-in
		cancel()
	}()
	if _, err := b.Call(ctx, event("")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	b.wantCalls(t, map[string]uint64{"canceled": 1})
	if s := b.Stats(); s.Open != 0 {
		t.Errorf("%+v", s)
	}
}

// Calls beyond the limits fail at once, and their places come back.
func TestBusy(t *testing.T) {
	for _, opt := range []Options{{InFlight: 2}, {InFlightBytes: 9}} {
		in, out := make(chan bool), make(chan bool)
		b := newBackend(t, opt, func(w http.ResponseWriter, r *http.Request) {
			in <- true
			<-out
		})
		errs := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := b.Call(context.Background(), event("1234"))
				errs <- err
			}()
			<-in
		}
		if s := b.Stats(); s.InFlight != 2 || s.Bytes != 8 {
			t.Errorf("%+v", s)
		}
		if _, err := b.Call(context.Background(), event("56")); !errors.Is(err, ErrBusy) {
			t.Error(err)
		}
		close(out)
		for range 2 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		go func() { <-in }()
		if _, err := b.Call(context.Background(), event("a body that is longer than the limit, but alone")); err != nil {
			t.Error(err)
		}
		b.wantCalls(t, map[string]uint64{"ok": 3, "busy": 1})
	}
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct{ url, want string }{
		{"", "cannot be read"},
		{"ftp://user:hidden@a/?hidden", "ftp://a of backend"},
		{"http://a b/hidden", "cannot be read"},
		{"/hidden", "cannot be read"},
		{"http://a/#hidden", "cannot be read"},
	} {
		_, err := New(Options{Name: "n", URLs: []string{tc.url}})
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", tc.url, err)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("no URL")
	}
	if _, err := New(Options{URLs: []string{"http://a"}, Retries: -1}); err == nil || !strings.Contains(err.Error(), "Retries is -1; allowed are 0 to 100") {
		t.Error(err)
	}
}

func TestCheckCall(t *testing.T) {
	b := backendAt(t, Options{URLs: []string{"http://127.0.0.1:1"}})
	for _, change := range []func(*Call){
		func(c *Call) { c.ID = "" },
		func(c *Call) { c.ID = "a.b" },
		func(c *Call) { c.ID = strings.Repeat("a", 129) },
		func(c *Call) { c.Type = "" },
		func(c *Call) { c.Source = "" },
		func(c *Call) { c.Extensions = []Attribute{{"Uid", "1"}} },
		func(c *Call) { c.Extensions = []Attribute{{"time", "1"}} },
		func(c *Call) { c.Extensions = []Attribute{{strings.Repeat("a", 21), "1"}} },
	} {
		c := event("")
		change(c)
		if _, err := b.Call(context.Background(), c); err == nil || isDial(err) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	b.wantCalls(t, nil)
}
