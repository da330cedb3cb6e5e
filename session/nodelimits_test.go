package session

import (
	"bytes"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"belfry/ws"
)

// The bucket admits a burst, then the rate, whoever asks. Time that passes unused
// counts up to the burst.
func TestConnectRateBucket(t *testing.T) {
	if newConnectRate(&NodeLimits{}) != nil {
		t.Error("a limit without a rate")
	}
	c := newConnectRate(&NodeLimits{ConnectRate: 10, ConnectBurst: 3})
	at := time.Hour
	for i, want := range []bool{true, true, true, false, false} {
		if c.take(at) != want {
			t.Errorf("connection %d: %v", i, !want)
		}
	}
	at += 100 * time.Millisecond
	if !c.take(at) || c.take(at) {
		t.Error("one connection comes free in a tenth of a second")
	}
	at += time.Hour
	admitted := atomic.Int64{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if c.take(at) {
					admitted.Add(1)
				}
			}
		})
	}
	if wg.Wait(); admitted.Load() != 3 {
		t.Errorf("%d admitted at once", admitted.Load())
	}
}

// Beyond the rate connections get 503 before their request is parsed, with a
// Retry-After of their own. Health checks are answered.
func TestConnectRate(t *testing.T) {
	r := newRig(t, Options{NodeLimits: NodeLimits{ConnectRate: 1, ConnectBurst: 2}, RetryAfter: 10 * time.Second, Healthy: func() bool { return true }})
	var now atomic.Int64
	r.on(0, func(h *shard) { h.srv.clock = func() time.Duration { return time.Duration(now.Load()) } })
	for i := range r.shards {
		r.on(i, func(*shard) {}) // every shard's goroutine sees it
	}
	open := func(request []byte) *http.Response {
		w, _ := r.connect()
		defer w.Close()
		w.Write(request)
		resp, err := http.ReadResponse(w.br, nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	for i := range 2 {
		if resp := open(request("/ws", "")); resp.StatusCode != 101 {
			t.Fatalf("connection %d: %s", i, resp.Status)
		}
	}
	delays := map[string]bool{}
	for range 20 {
		resp := open(request("/ws", ""))
		after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if resp.StatusCode != 503 || err != nil || after < 10 || after > 30 {
			t.Fatalf("%s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
		}
		delays[resp.Header.Get("Retry-After")] = true
	}
	if len(delays) < 3 {
		t.Errorf("all refused clients come back together: after %v s", delays)
	}
	if resp := open([]byte("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")); resp.StatusCode != 200 {
		t.Errorf("a health check: %s", resp.Status)
	}
	if resp := open([]byte("HEAD /healthz HTTP/1.0\r\n\r\n")); resp.StatusCode != 200 {
		t.Errorf("a health check with HEAD: %s", resp.Status)
	}
	for _, text := range []string{"GET /healthzzz HTTP/1.1\r\nHost: a\r\n\r\n", "nonsense"} {
		if resp := open([]byte(text)); resp.StatusCode != 503 {
			t.Errorf("%.20q: %s", text, resp.Status)
		}
	}
	st := r.Stats()
	if st.Limits["upgrade.rate"] != 22 || st.Upgrades[[2]string{"503", "connect_rate"}] != 22 {
		t.Errorf("%v %v", st.Limits, st.Upgrades)
	}
	now.Store(int64(time.Minute))
	if resp := open(request("/ws", "")); resp.StatusCode != 101 {
		t.Errorf("later: %s", resp.Status)
	}
}

// What authenticators hold is bounded, and given back when they have decided, also
// if the client has gone. A second decision changes nothing.
func TestWaitingBytes(t *testing.T) {
	auth := make(lateAuth, 16)
	head := len(request("/ws", ""))
	r := newRig(t, Options{Authenticator: auth, Poller: onePoller(), NodeLimits: NodeLimits{WaitingBytes: int64(2*head + head/2)}})
	open := func() *rawConn {
		w, _ := r.connect()
		w.Write(request("/ws", ""))
		return w
	}
	first, second := open(), open()
	decideFirst, decideSecond := <-auth, <-auth
	if n := r.Stats().WaitingBytes; n != int64(2*head) {
		t.Errorf("%d bytes are held; want %d", n, 2*head)
	}
	if status, err := open().answer(); status != 503 || err != nil {
		t.Errorf("beyond the limit: %d %v", status, err)
	}
	if st := r.Stats(); st.Limits["upgrade.waiting_bytes"] != 1 || st.Upgrades[[2]string{"503", "pending"}] != 1 {
		t.Errorf("%v %v", st.Limits, st.Upgrades)
	}
	first.Close() // its request is still held
	eventually(t, "gone", func() bool { return r.Stats().Closed["gone"] == 1 })
	if status, err := open().answer(); status != 503 || err != nil {
		t.Errorf("a client that leaves frees what is held for it: %d %v", status, err)
	}
	decideFirst(Grant{}, nil)
	decideFirst(Grant{}, nil)
	third := open()
	(<-auth)(Grant{}, ws.Forbidden("no"))
	if status, err := third.answer(); status != 403 || err != nil {
		t.Errorf("the third: %d %v", status, err)
	}
	decideSecond(Grant{}, nil)
	if status, err := second.answer(); status != 101 || err != nil {
		t.Errorf("the second: %d %v", status, err)
	}
	if n := r.Stats().WaitingBytes; n != 0 {
		t.Errorf("%d bytes are held at the end", n)
	}
}

// panicking is an Authenticator that panics.
type panicking struct{}

func (panicking) Authenticate(*Attempt, func(Grant, *ws.Refusal)) (Grant, *ws.Refusal, bool) {
	panic("injected")
}

// An authenticator that decides at once, or panics, holds nothing afterwards.
func TestWaitingBytesAtOnce(t *testing.T) {
	r := newRig(t, Options{})
	r.mustWire("/ws?uid=u", "")
	if n := r.Stats().WaitingBytes; n != 0 {
		t.Errorf("%d bytes are held", n)
	}
	r = newRig(t, Options{Authenticator: panicking{}})
	r.faults = true
	w, _ := r.connect()
	w.Write(bytes.Clone(request("/ws", "")))
	w.ended(t)
	if n := r.Stats().WaitingBytes; n != 0 {
		t.Errorf("%d bytes are held after a panic", n)
	}
}
