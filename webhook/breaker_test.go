package webhook

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// After five failures a URL is left alone. After the pause three calls are probes,
// and if one succeeds the others follow.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zap.InfoLevel)
		var works atomic.Bool
		seen, release := make(chan bool, 100), make(chan bool)
		b := virtual(t, Options{URLs: []string{"http://a/?hidden"}, Log: zap.New(core)}, map[string]http.HandlerFunc{"a": func(w http.ResponseWriter, r *http.Request) {
			seen <- true
			if !works.Load() {
				w.WriteHeader(500)
				return
			}
			<-release
		}})
		call := func() error {
			_, err := b.Call(context.Background(), event(""))
			return err
		}
		for range 5 {
			if err := call(); outcomeOf(err) != outcomeFailed {
				t.Fatal(err)
			}
		}
		if err := call(); !errors.Is(err, ErrOpen) || b.Stats().Open != 1 {
			t.Errorf("%v %+v", err, b.Stats())
		}
		time.Sleep(5*time.Second + 1)
		for range 3 {
			if err := call(); outcomeOf(err) != outcomeFailed { // the probes fail
				t.Errorf("a probe: %v", err)
			}
		}
		if err := call(); !errors.Is(err, ErrOpen) || b.Stats().Open != 1 {
			t.Errorf("after the probes: %v", err)
		}
		time.Sleep(5*time.Second + 1)
		works.Store(true)
		probes := make(chan error)
		for range 3 {
			go func() { probes <- call() }()
		}
		synctest.Wait()
		if err := call(); !errors.Is(err, ErrOpen) {
			t.Errorf("beside the probes: %v", err)
		}
		release <- true
		if err := <-probes; err != nil {
			t.Error(err)
		}
		close(release)
		if err := call(); err != nil || b.Stats().Open != 0 || len(seen) != 12 {
			t.Errorf("%v %+v, %d requests", err, b.Stats(), len(seen))
		}
		for range 2 {
			if err := <-probes; err != nil {
				t.Error(err)
			}
		}
		b.wantCalls(t, map[string]uint64{"failed": 8, "open": 3, "ok": 4})
		var lines []string
		for _, l := range logged.All() {
			lines = append(lines, l.Message)
			if f := l.ContextMap(); f["backend"] != "test" || f["host"] != "a" {
				t.Errorf("%v", f)
			}
		}
		if want := []string{"a backend fails", "a backend answers again"}; !slices.Equal(lines, want) {
			t.Errorf("logged %q, want %q", lines, want)
		}
	})
}

// A URL that fails more often than not is left alone too, refusals do not count,
// and old failures are forgotten.
func TestBreakerRatio(t *testing.T) {
	for name, tc := range map[string]struct {
		statuses []int // repeated
		every    time.Duration
		open     bool
	}{
		"three of four":       {statuses: []int{500, 200, 500, 500}, open: true},
		"one of four":         {statuses: []int{500, 200, 200, 200}},
		"refusals":            {statuses: []int{403}},
		"too many requests":   {statuses: []int{429}},
		"three of four, rare": {statuses: []int{500, 200, 500, 500}, every: time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			b := virtual(t, Options{URLs: []string{"http://a"}}, map[string]http.HandlerFunc{"a": func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(tc.statuses[n%len(tc.statuses)])
				n++
			}})
			for range 80 {
				b.Call(context.Background(), event(""))
				time.Sleep(tc.every)
			}
			if open := b.Stats().Calls["open"] > 0; open != tc.open {
				t.Errorf("%s: %+v", name, b.Stats())
			}
		})
	}
}

// as returns a call of a client.
func as(caller Caller) *Call {
	c := event("")
	c.Caller = caller
	return c
}

// failing returns a call that picky fails.
func failing(caller Caller) *Call {
	c := as(caller)
	c.Body = []byte("fail")
	return c
}

// picky answers calls.
func picky(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == int64(len("fail")) {
		w.WriteHeader(500)
	}
}

// One client, or two, that make a backend fail do not keep it from the others,
// however often they do, and also if there are few successes. The third does.
func TestBreakerNeedsCallers(t *testing.T) {
	for name, tc := range map[string]struct {
		callers []Caller // that fail in turn
		every   int      // failures for each success of somebody else; 0: none
		open    bool
	}{
		"one":                   {callers: []Caller{1}},
		"one beside others":     {callers: []Caller{1}, every: 7},
		"two":                   {callers: []Caller{1, 2}},
		"two beside others":     {callers: []Caller{1, 2}, every: 7},
		"three":                 {callers: []Caller{1, 2, 3}, open: true},
		"three, in turn":        {callers: []Caller{1, 1, 1, 1, 1, 1, 2, 2, 3}, open: true},
		"three, beside others":  {callers: []Caller{1, 2, 3}, every: 4, open: true},
		"many, of which one is": {callers: []Caller{1, 1, 1, 1, 1, 1, 1, 1, 1, 4}, every: 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := virtual(t, Options{URLs: []string{"http://a"}}, map[string]http.HandlerFunc{"a": picky})
			for n := range 400 {
				b.Call(context.Background(), failing(tc.callers[n%len(tc.callers)]))
				if tc.every > 0 && n%tc.every == 0 {
					b.Call(context.Background(), as(9))
				}
				time.Sleep(5 * time.Millisecond)
			}
			if open := b.Stats().Calls["open"] > 0; open != tc.open {
				t.Errorf("%s: %v", name, b.Stats().Calls)
			}
			if _, err := b.Call(context.Background(), as(9)); (err != nil) != tc.open {
				t.Errorf("%s: the call of another client: %v", name, err)
			}
		})
	}
}

// A backend that cannot be connected to is down, whoever finds out.
func TestBreakerUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := virtual(t, Options{URLs: []string{"http://gone"}}, nil)
		for range 5 {
			b.Call(context.Background(), as(1))
		}
		if _, err := b.Call(context.Background(), as(2)); !errors.Is(err, ErrOpen) {
			t.Error(err)
		}
		time.Sleep(5*time.Second + 1)
		if _, err := b.Call(context.Background(), as(1)); !isDial(err) {
			t.Errorf("the probe: %v", err)
		}
		if _, err := b.Call(context.Background(), as(2)); !errors.Is(err, ErrOpen) {
			t.Errorf("after the probe: %v", err)
		}
	})
}

// A client whose calls fail or hang cannot keep a backend closed that works again for
// the others.
func TestBreakerProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		b := virtual(t, Options{URLs: []string{"http://a"}, Timeout: 10 * time.Minute}, map[string]http.HandlerFunc{"a": func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.ContentLength == 4: // "hang"
				io.Copy(io.Discard, r.Body) // else the server does not notice that the client has gone
				<-r.Context().Done()
			case down.Load() || r.ContentLength == 5: // "fail."
				w.WriteHeader(500)
			}
		}})
		call := func(ctx context.Context, who Caller, body string) error {
			c := as(who)
			c.Body = []byte(body)
			_, err := b.Call(ctx, c)
			return err
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		open := func() {
			down.Store(true)
			for n := range Caller(5) {
				call(ctx, n, "")
			}
			down.Store(false)
			if err := call(ctx, 9, ""); !errors.Is(err, ErrOpen) {
				t.Fatal(err)
			}
			time.Sleep(5*time.Second + 1)
		}
		open()
		for range 10 {
			call(ctx, 1, "fail.")
		}
		if err := call(ctx, 1, ""); !errors.Is(err, ErrOpen) {
			t.Errorf("a client probes twice: %v", err)
		}
		if err := call(ctx, 2, ""); err != nil {
			t.Errorf("beside a client whose calls fail: %v", err)
		}
		open()
		hanging := make(chan error, 1)
		go func() { hanging <- call(ctx, 1, "hang") }()
		synctest.Wait()
		if err := call(ctx, 2, ""); err != nil {
			t.Errorf("beside a client whose calls hang: %v", err)
		}
		cancel()
		<-hanging
		// The only client probes again after a further pause.
		ctx = context.Background()
		open()
		call(ctx, 1, "fail.")
		time.Sleep(4 * time.Second)
		if err := call(ctx, 1, ""); !errors.Is(err, ErrOpen) {
			t.Errorf("within the pause: %v", err)
		}
		time.Sleep(time.Second)
		if err := call(ctx, 1, ""); err != nil {
			t.Errorf("after the pause: %v", err)
		}
	})
}

// A probe that is given up says nothing: another call may probe.
func TestBreakerCanceledProbe(t *testing.T) {
	now := time.Now()
	b := newBreaker(1, time.Second, func(bool) {})
	a, _ := b.enter(1, now)
	b.leave(a, ErrTimeout, now)
	now = now.Add(time.Second)
	a, ok := b.enter(1, now)
	if _, second := b.enter(2, now); !ok || second {
		t.Error(ok, second)
	}
	b.leave(a, context.Canceled, now)
	if a, ok = b.enter(1, now); !ok {
		t.Error("no call may probe")
	}
	b.leave(a, nil, now)
	if _, ok = b.enter(2, now); !ok {
		t.Error("not closed")
	}
}

// A caller is the user, or the address as limits count it.
func TestCallerOf(t *testing.T) {
	one, two := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/64")
	all := []Caller{CallerOf("ann", one), CallerOf("bob", one), CallerOf("", one), CallerOf("", two), CallerOf("", netip.Prefix{})}
	if CallerOf("ann", two) != all[0] || len(slices.Compact(slices.Sorted(slices.Values(all)))) != len(all) {
		t.Error(all)
	}
}
