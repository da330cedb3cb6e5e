package push

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"belfry/message"
)

// publisherFunc is a function as a Publisher.
type publisherFunc func(*message.Message) error

func (f publisherFunc) PublishWithin(_ context.Context, m *message.Message, _ message.Wait) (bool, error) {
	return false, f(m)
}

func get(t *testing.T, addr net.Addr, path string) answer {
	t.Helper()
	return rawTo(t, addr.String(), "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

func TestHealth(t *testing.T) {
	var reasons atomic.Value
	reasons.Store([]string(nil))
	f := func() []string { return reasons.Load().([]string) }
	var degraded atomic.Value
	degraded.Store([]string(nil))
	lost := func() []string { return degraded.Load().([]string) }
	s, _, _ := serve(t, Options{Ready: f, Healthy: f, Degraded: lost, Stats: func() any { return map[string]int{"sessions": 7} },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "belfry_sessions 7\n") })})
	for path, want := range map[string]string{
		"/healthz": `{"healthy":true}`, "/readyz": `{"ready":true}`, "/v1/stats": `{"sessions":7}`, "/metrics": "belfry_sessions 7",
	} {
		if a := get(t, s.Addr(), path); a.StatusCode != 200 || a.body != want+"\n" {
			t.Errorf("%s: %d %q", path, a.StatusCode, a.body)
		}
	}
	degraded.Store([]string{"no NATS", "no peer"})
	for path, want := range map[string]string{"/healthz": `{"healthy":true}`, "/readyz": `{"ready":true,"degraded":["no NATS","no peer"]}`} {
		if a := get(t, s.Addr(), path); a.StatusCode != 200 || a.body != want+"\n" {
			t.Errorf("degraded, %s: %d %q", path, a.StatusCode, a.body)
		}
	}
	degraded.Store([]string(nil))
	reasons.Store([]string{`nats: "gone"`, "shard 1 stalled"})
	for path, name := range map[string]string{"/healthz": "healthy", "/readyz": "ready"} {
		want := `{"` + name + `":false,"reasons":["nats: \"gone\"","shard 1 stalled"]}` + "\n"
		if a := get(t, s.Addr(), path); a.StatusCode != 503 || a.body != want {
			t.Errorf("%s: %d %q", path, a.StatusCode, a.body)
		}
	}
	if p := get(t, s.Addr(), "/v1/stats?x=1").problem(t); p.Field != "x" {
		t.Errorf("%+v", p)
	}
}

// A node may be ready and degraded.
func TestDegraded(t *testing.T) {
	var reasons []string
	s, _, _ := serve(t, Options{Ready: func() []string { return reasons }, Degraded: func() []string { return []string{"nats: away", "no peers"} }})
	if a := get(t, s.Addr(), "/readyz"); a.StatusCode != 200 || a.body != `{"ready":true,"degraded":["nats: away","no peers"]}`+"\n" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	reasons = []string{"shutting down"}
	if a := get(t, s.Addr(), "/readyz"); a.StatusCode != 503 || a.body != `{"ready":false,"reasons":["shutting down"],"degraded":["nats: away","no peers"]}`+"\n" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := get(t, s.Addr(), "/healthz"); a.body != "{\"healthy\":true}\n" {
		t.Errorf("/healthz: %s", a.body)
	}
}

func TestConfigRoute(t *testing.T) {
	_, ts, _ := start(t, Options{Keys: []Key{{"", "first-key"}}, Config: func() any { return map[string]int{"shards": 2} }})
	if a := request(t, ts, "GET", "/v1/config", nil); a.StatusCode != 401 {
		t.Errorf("without a key: %d", a.StatusCode)
	}
	if a := request(t, ts, "GET", "/v1/config", nil, "Authorization: Bearer first-key"); a.StatusCode != 200 || a.body != "{\"shards\":2}\n" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	_, without, _ := start(t, Options{})
	if a := request(t, without, "GET", "/v1/config", nil); a.StatusCode != 404 {
		t.Errorf("without the option: %d", a.StatusCode)
	}
}

func TestStatsThatCannotBeEncoded(t *testing.T) {
	s, _, _ := serve(t, Options{Stats: func() any { return func() {} }})
	if p := get(t, s.Addr(), "/v1/stats").problem(t); p.Status != 500 {
		t.Errorf("%+v", p)
	}
}

// With HealthAddress, the health routes are not at the API's address. At their own
// address they need no key and accept every Host.
func TestHealthAddress(t *testing.T) {
	s, _, _ := serve(t, Options{HealthAddress: "127.0.0.1:0", Metrics: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})})
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if a := get(t, s.Addr(), path); a.StatusCode != 404 {
			t.Errorf("%s at the API: %d", path, a.StatusCode)
		}
		a := rawTo(t, s.HealthAddr().String(), "GET "+path+" HTTP/1.1\r\nHost: 10.0.0.7\r\nConnection: close\r\n\r\n")
		if a.StatusCode != 200 {
			t.Errorf("%s at its address: %d", path, a.StatusCode)
		}
	}
	for _, path := range []string{"/v1/all", "/v1/stats", "/"} {
		if a := get(t, s.HealthAddr(), path); a.StatusCode != 404 {
			t.Errorf("%s at the health address: %d", path, a.StatusCode)
		}
	}
}

func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := New(Options{Publisher: &recorder{}, Address: "127.0.0.1:0", HealthAddress: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("%v", err)
	}
	if s.Addr() != nil || s.HealthAddr() != nil || s.Serve(context.Background()) == nil {
		t.Error("one address is bound although the other failed")
	}
}

// At shutdown requests that are being served end normally, new ones are not
// accepted, and /readyz says why.
func TestGracefulShutdown(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s, stop, served := serve(t, Options{HealthAddress: "127.0.0.1:0", Publisher: publisherFunc(func(m *message.Message) error {
		entered <- struct{}{}
		<-release
		m.ID = "late"
		return nil
	})})
	done := make(chan answer)
	go func() {
		done <- rawTo(t, s.Addr().String(), "POST /v1/all HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi")
	}()
	<-entered
	stop()
	until(t, func() bool {
		c, err := net.Dial("tcp", s.Addr().String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if a := get(t, s.HealthAddr(), "/readyz"); a.StatusCode != 503 || !strings.Contains(a.body, "shutting down") {
		t.Errorf("/readyz: %d %s", a.StatusCode, a.body)
	}
	close(release)
	if a := <-done; a.StatusCode != 202 || a.body != "{\"id\":\"late\"}\n" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestShutdownTimeout(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s, stop, served := serve(t, Options{Limits: Limits{ShutdownTimeout: 20 * time.Millisecond}, Publisher: publisherFunc(func(m *message.Message) error {
		close(entered)
		<-release
		return nil
	})})
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST /v1/all HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi")
	<-entered
	stop()
	if err := <-served; err != nil { // although a request does not end
		t.Error(err)
	}
	close(release)
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("answered after the end")
	}
}

func TestConcurrentRequestsAreBounded(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s, _, _ := serve(t, Options{Limits: Limits{MaxRequests: 2}, Publisher: publisherFunc(func(m *message.Message) error {
		entered <- struct{}{}
		<-release
		return nil
	})})
	const request = "POST /v1/all HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
	done := make(chan int)
	for range 2 {
		go func() { done <- rawTo(t, s.Addr().String(), request).StatusCode }()
		<-entered
	}
	a := rawTo(t, s.Addr().String(), request)
	if p := a.problem(t); p.Status != 503 || p.Type != CauseBusy.Type() || a.Header.Get("Retry-After") != "1" || !strings.Contains(p.Detail, "2 requests") {
		t.Errorf("%+v", p)
	}
	if a := get(t, s.Addr(), "/healthz"); a.StatusCode != 200 {
		t.Errorf("a busy server fails its health check: %d", a.StatusCode)
	}
	if n := s.Stats().InFlight; n != 2 {
		t.Errorf("%d in flight", n)
	}
	close(release)
	for range 2 {
		if status := <-done; status != 202 {
			t.Error(status)
		}
	}
}

func TestSlowHead(t *testing.T) {
	s, _, _ := serve(t, Options{Limits: Limits{ReadHeaderTimeout: 50 * time.Millisecond}})
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST /v1/all HTTP/1.1\r\nHost: loc")
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("the connection was not closed: %v", err)
	}
}

func TestIdleConnection(t *testing.T) {
	s, _, _ := serve(t, Options{Limits: Limits{IdleTimeout: 50 * time.Millisecond}})
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	r := bufio.NewReader(c)
	readAnswer(t, r)
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("the idle connection: %v", err)
	}
}

func TestLongHead(t *testing.T) {
	s, _, _ := serve(t, Options{Limits: Limits{MaxHeaderBytes: 1000}})
	a := rawTo(t, s.Addr().String(), "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 10_000)+"\r\n\r\n")
	if p := a.problem(t); p.Status != 431 || !a.Close || a.Header.Get("Date") == "" {
		t.Errorf("%+v", p)
	}
}

// A panic after the answer has begun closes the connection, so that the client does
// not take the incomplete answer for a complete one.
func TestPanicInTheMiddle(t *testing.T) {
	s, _, _ := serve(t, Options{Dev: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(200)
		io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic("boom")
	})})
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /assets/page HTTP/1.1\r\nHost: localhost\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("a complete answer: %q", b)
	}
	resp.Body.Close()
}
