package session

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"belfry/ws"
)

func TestSSERefusals(t *testing.T) {
	r := sseRig(t, Options{Authenticator: &Open{}})
	for _, c := range []struct {
		method, target, fields string
		status                 int
	}{
		{"HEAD", "/sse", "", 405},
		{"POST", "/sse", "Content-Length: 0\r\n", 405},
		{"OPTIONS", "/sse", "", 405},
		{"GET", "/sse", "Content-Length: 1\r\n", 413},
		{"GET", "/sse?topic=a..b", "", 400},
		{"GET", "/sse?encoding=x", "", 400},
		{"GET", "/sse?uid=u", "", 401},
		{"GET", "/sse?topic=t", "", 403},
		{"GET", "/sse", "Origin: https://evil.example\r\n", 403},
		{"GET", "/sse", "Origin: null\r\n", 403},
		{"GET", "/SSE", "", 404},
		{"GET", "/ws", "", 426},
		{"GET", "/sse", "Origin: http://push.example\r\n", 200},
		{"GET", "/sse?_=1", "Last-Event-ID: 7\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", 200},
	} {
		s := r.answerTo(c.method, c.target, c.fields)
		if s.resp.StatusCode != c.status {
			t.Errorf("%s %s %q: %s, want %d", c.method, c.target, c.fields, s.resp.Status, c.status)
		}
		if c.status != 200 && (s.resp.Header.Get("Access-Control-Allow-Origin") != "" || s.resp.Header.Get("Content-Type") != "text/plain; charset=utf-8") {
			t.Errorf("%s %s %q: %v", c.method, c.target, c.fields, s.resp.Header)
		}
	}
	w, err := r.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	io.WriteString(w, "GET /sse HTTP/1.0\r\n\r\n")
	if status, err := w.answer(); status != 505 {
		t.Errorf("HTTP/1.0: %d, %v", status, err)
	}
}

// A page of another origin may read the stream, with its cookies, where it may
// open a WebSocket.
func TestSSEOtherOrigin(t *testing.T) {
	origins, err := ws.CompileOrigins([]string{"https://app.example"})
	if err != nil {
		t.Fatal(err)
	}
	r := sseRig(t, Options{Origins: origins})
	s := r.answerTo("GET", "/sse", "Origin: https://app.example\r\nCookie: a=b\r\n")
	s.accepted()
	if h := s.resp.Header; h.Get("Access-Control-Allow-Origin") != "https://app.example" || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Vary") != "Origin" {
		t.Errorf("%v", h)
	}
	if s := r.answerTo("GET", "/sse", "Origin: https://evil.example\r\n"); s.resp.StatusCode != 403 {
		t.Errorf("%v", s.resp)
	}
}

// comeBack fails unless the answer is a stream that says when to come back and
// why, and ends.
func (s *stream) comeBack(retry, why string) {
	s.t.Helper()
	s.accepted()
	if got := s.rest(); !strings.HasSuffix(got, "\nretry: "+retry+"\n\n") || !strings.HasPrefix(got, ": "+why) || strings.Contains(got, "data:") {
		s.t.Errorf("%q; want %q and to come back after %s ms", got, why, retry)
	}
}

// Any status but 200 would end a browser's EventSource for good.
func TestSSETryLater(t *testing.T) {
	r := sseRig(t, Options{MaxSessions: 1, RetryAfter: 7 * time.Second})
	first := r.stream("/sse")
	r.answerTo("GET", "/sse", "").comeBack("7000", "503 this server")
	r.answerTo("GET", "/sse", "Origin: http://push.example\r\n").comeBack("7000", "503 this server")
	if s := r.answerTo("GET", "/sse", "Origin: http://evil.example\r\n"); s.resp.StatusCode != 403 {
		t.Errorf("%v", s.resp)
	}
	if n := r.Stats().Upgrades[[2]string{"503", string(CauseSessions)}]; n != 2 {
		t.Errorf("counted as 503: %d", n)
	}
	first.Close()
	eventually(t, "room again", func() bool { return r.Stats().Sessions == 0 })
	r.stream("/sse")
}

// Too many connections of an address: the proxy tells the address, so the
// request is there.
func TestSSETooManyOfAddress(t *testing.T) {
	r := sseRig(t, Options{MaxPerAddress: 1, RetryAfter: 7 * time.Second,
		Proxy: ProxyOptions{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Header: ws.XForwardedFor}})
	const from = "X-Forwarded-For: 192.0.2.1\r\n"
	r.answerTo("GET", "/sse", from).accepted()
	r.answerTo("GET", "/sse", from).comeBack("7000", "429 this address")
}

// Without a proxy the address is known before the request is read, and the refusal
// is plain HTTP. So is that of a connection whose request does not arrive. Both say
// when to come back, for clients other than EventSource.
func TestSSERefusedBeforeTheRequest(t *testing.T) {
	r := sseRig(t, Options{MaxPerAddress: 2, MaxPending: 2, RetryAfter: 7 * time.Second, Poller: onePoller()})
	plain := func(s *stream, status int) {
		t.Helper()
		if h := s.resp.Header; s.resp.StatusCode != status || h.Get("Retry-After") != "7" || h.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s, %v; want %d", s.resp.Status, h, status)
		}
	}
	r.stream("/sse")
	r.stream("/sse")
	plain(r.answerTo("GET", "/sse", ""), 429)
	begun := r.half("127.0.1.1")
	read := r.loop.Stats().ReadBytes
	io.WriteString(begun, "/sse HTTP/1.1\r\nAccept: text/event-stream\r\n")
	// If the connection were closed with unread bytes, the client would get a reset.
	eventually(t, "read", func() bool { return r.loop.Stats().ReadBytes > read })
	r.half("127.0.1.1") // takes the place of its address's oldest
	plain(r.answered(begun, "GET"), 429)
	eventually(t, "its place taken", func() bool { return r.pending.Load() == 1 }) // which half counts from
	r.half("127.0.1.2")
	late := r.half("127.0.1.3") // all places are taken
	plain(r.answered(late, "GET"), 503)
}

// A node with as many connections as it keeps, those that are ending included,
// closes at once what it refuses.
func TestSSETooManyConnections(t *testing.T) {
	r := sseRig(t, Options{MaxSessions: 1, MaxPending: 1, RetryAfter: 7 * time.Second, Poller: onePoller()})
	w, err := r.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	// The whole request is there when the shard sees the connection.
	release := r.block(0)
	io.WriteString(w, "GET /sse HTTP/1.1\r\nHost: x\r\n\r\n")
	r.conns.Add(1 << 20)
	defer r.conns.Add(-1 << 20)
	release()
	r.answered(w, "GET").comeBack("7000", "503 this server")
}

// At shutdown a stream says when to come back, and ends; so does one that is
// not open yet.
func TestSSEShutdown(t *testing.T) {
	auth := &laterAuth{asked: make(chan struct{}, 1)}
	r := sseRig(t, Options{Authenticator: auth, ReconnectAfter: 4 * time.Second, RetryAfter: 7 * time.Second})
	open, said := r.stream("/sse"), r.stream("/sse?encoding=belfry.v1")
	waits, err := r.connect()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(waits, "GET /sse?later= HTTP/1.1\r\nHost: x\r\n\r\n")
	<-auth.asked
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
		defer cancel()
		done <- r.Shutdown(ctx, 0, 0)
	}()
	open.want(": 1001 server is going away\nretry: 4000\n")
	if got := open.rest(); got != "" {
		t.Errorf("and then %q", got)
	}
	if got := said.rest(); !strings.Contains(got, `{"type":"bye","code":1001,"reason":"shutdown","reconnect":true,"after":4}`) || !strings.HasSuffix(got, "retry: 4000\n\n") {
		t.Errorf("%q", got)
	}
	r.answered(waits, "GET").comeBack("7000", "503 this server is going away")
	for _, s := range []net.Conn{open, said, waits} {
		s.Close()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// laterAuth admits every client, but never decides about clients that ask for later.
type laterAuth struct{ asked chan struct{} }

func (a *laterAuth) Authenticate(r *Attempt, _ func(Grant, *ws.Refusal)) (g Grant, refusal *ws.Refusal, pending bool) {
	if _, pending = r.Request.Query("later"); pending {
		a.asked <- struct{}{}
	}
	return Grant{}, nil, pending
}
