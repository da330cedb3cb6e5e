package push

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"belfry/message"
)

// blocking returns a Publisher whose pushes wait until release is closed.
func blocking() (p publisherFunc, entered chan struct{}, release chan struct{}) {
	entered, release = make(chan struct{}), make(chan struct{})
	return func(m *message.Message) error {
		entered <- struct{}{}
		<-release
		m.ID = "id"
		return nil
	}, entered, release
}

// Connections of a pool in use are not evicted, however many strangers connect from
// different addresses.
func TestPoolsOutliveStrangers(t *testing.T) {
	const most = 8
	s, _, _ := serve(t, Options{Limits: Limits{MaxConnections: most}})
	places := s.listeners[0].limit
	var pool []*visitor
	for i := range most / 2 {
		v := visit(t, s, "127.0.0.1")
		v.ask(t, smallPush)
		pool = append(pool, v)
		until(t, func() bool { return places.waiting() == i+1 })
	}
	for i := range 4 * most {
		visit(t, s, fmt.Sprintf("127.0.1.%d", i+1)).ask(t, healthCheck)
		until(t, func() bool { return places.waiting() == min(most, most/2+i+1) })
	}
	for i, v := range pool {
		if a := v.ask(t, smallPush); a.StatusCode != 202 {
			t.Errorf("connection %d of the pool: %d", i, a.StatusCode)
		}
	}
}

// Of the strangers' connections the one that has waited longest is evicted,
// whatever its address.
func TestLongestWaitingIsEvicted(t *testing.T) {
	const most = 8
	s, _, _ := serve(t, Options{Limits: Limits{MaxConnections: most}})
	places := s.listeners[0].limit
	var all []*visitor
	for i, from := range []string{"127.0.1.1", "127.0.1.2", "127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.1.3", "127.0.1.4", "127.0.1.5"} {
		v := visit(t, s, from)
		v.ask(t, healthCheck)
		all = append(all, v)
		until(t, func() bool { return places.waiting() == i+1 })
	}
	for i := range 2 {
		visit(t, s, fmt.Sprintf("127.0.2.%d", i+1)).ask(t, healthCheck)
		all[i].wantClosed(t, fmt.Sprint("connection ", i))
		until(t, func() bool { return places.waiting() == most })
	}
	for i, v := range all[2:] {
		if a := v.ask(t, healthCheck); a.StatusCode != 200 {
			t.Errorf("connection %d: %d", i+2, a.StatusCode)
		}
	}
}

// If an address has half of the places, its new connections evict its own, and not
// connections of other addresses that have waited longer.
func TestOneAddressHoldsHalf(t *testing.T) {
	const most = 8
	s, _, _ := serve(t, Options{Limits: Limits{MaxConnections: most}})
	places := s.listeners[0].limit
	var others []*visitor
	for i := range most / 2 {
		v := visit(t, s, fmt.Sprintf("127.0.1.%d", i+1))
		v.ask(t, healthCheck)
		others = append(others, v)
		until(t, func() bool { return places.waiting() == i+1 })
	}
	for range 5 * most {
		visit(t, s, "127.0.0.1").ask(t, healthCheck)
	}
	for i, v := range others {
		if a := v.ask(t, healthCheck); a.StatusCode != 200 {
			t.Errorf("connection %d: %d", i, a.StatusCode)
		}
	}
}

// A connection whose request was refused, and which only reads the rest of a body,
// is evicted before one that waits.
func TestAnsweredConnectionsAreEvicted(t *testing.T) {
	const most = 5
	s, _, _ := serve(t, Options{Limits: Limits{MaxConnections: most, MaxBodies: 2, BatchIdleTimeout: time.Hour}})
	idle := visit(t, s, "127.0.0.1")
	idle.ask(t, healthCheck)
	io.WriteString(visit(t, s, "127.0.1.1"), longBatch)
	until(t, func() bool { return s.Stats().Bodies == 1 })
	for i := range 20 {
		v := visit(t, s, fmt.Sprintf("127.0.2.%d", i+1))
		io.WriteString(v, longBatch+"{")
		if p := v.answer(t).problem(t); p.Type != CauseBodies.Type() {
			t.Fatalf("batch %d: %+v", i+2, p)
		}
		until(t, func() bool { return s.listeners[0].limit.answered() == min(i+1, most-2) })
	}
	for i := range most {
		if a := visit(t, s, "127.0.0.2").ask(t, smallPush); a.StatusCode != 202 {
			t.Errorf("push %d: %d %s", i, a.StatusCode, a.body)
		}
	}
	if a := idle.ask(t, healthCheck); a.StatusCode != 200 {
		t.Errorf("the connection that waited: %d", a.StatusCode)
	}
}

// answered returns the number of connections that only read the rest of a body.
func (l *connLimit) answered() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := l.evictable[rankAnswered].first; e != nil; e = e.next {
		n++
	}
	return n
}

// answer reads an answer.
func (v *visitor) answer(t *testing.T) answer {
	t.Helper()
	return readAnswer(t, v.r)
}

// Requests for other routes do not keep places of the reserve, and health checks
// whose body does not arrive do not either.
func TestReserveIsNotHeld(t *testing.T) {
	for _, request := range []string{longBatch, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", "GET /healthz HTTP/1.1\r\nbad\r\n\r\n"} {
		p, entered, release := blocking()
		s, _, _ := serve(t, Options{Limits: Limits{MaxConnections: 64, ReadTimeout: time.Hour}, Publisher: p})
		for range 64 {
			io.WriteString(visit(t, s, "127.0.0.1"), smallPush)
			<-entered
		}
		for i := range 80 {
			v := visit(t, s, fmt.Sprintf("127.0.1.%d", i+1))
			io.WriteString(v, request)
			if _, err := v.r.ReadByte(); err != nil && i < 60 {
				t.Fatalf("%q: %v", request, err)
			}
		}
		for range 3 {
			if a := visit(t, s, "127.0.0.2").ask(t, healthCheck); a.StatusCode != 200 {
				t.Errorf("%q: health %d", request, a.StatusCode)
			}
		}
		close(release)
	}
}

// A request to a route without a body is answered before its body has arrived. The
// connection can be used again.
func TestAnswerBeforeTheBody(t *testing.T) {
	s, _, _ := serve(t, Options{Limits: Limits{MaxConnections: 2, ReadTimeout: time.Hour, WriteTimeout: time.Hour},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, strings.Repeat("x", 1<<20)) })})
	for _, path := range []string{"/healthz", "/metrics", "/v1/stats", "/v1/nothing", "/other"} {
		v := visit(t, s, "127.0.0.1")
		if a := v.ask(t, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf"); a.StatusCode != 200 && a.StatusCode != 404 {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
		if a := v.ask(t, "a body"+smallPush); a.StatusCode != 202 { // the push behind the body is not lost
			t.Errorf("behind the body of %s: %d", path, a.StatusCode)
		}
		v.Close()
	}
}

// unreading connects, sends a request and reads nothing.
func unreading(t *testing.T, s *Server, from, request string) *visitor {
	t.Helper()
	v := visit(t, s, from)
	if _, err := io.WriteString(v, request); err != nil {
		t.Fatal(err)
	}
	return v
}

// stalled returns the number of connections that wait for their clients to read.
func (l *connLimit) stalled() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r := rankAnonymous; r < rankCount; r++ {
		for e := l.evictable[r].first; e != nil; e = e.next {
			if !e.value.idle {
				n++
			}
		}
	}
	return n
}

const large = 32 << 20 // more than the kernel buffers of a connection

// Connections whose answers are not read can be evicted. They do not delay the
// scrapes and requests of other clients.
func TestUnreadAnswersAreEvicted(t *testing.T) {
	var scrapes atomic.Int64
	text := strings.Repeat("x", large)
	p, entered, release := blocking()
	s, _, _ := serve(t, Options{Publisher: p, Limits: Limits{MaxConnections: 4, MaxRequests: 2, WriteTimeout: time.Hour, ReadTimeout: time.Hour},
		Stats: func() any { return text },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			scrapes.Add(1)
			io.WriteString(w, text)
		})})
	defer close(release)
	places := s.listeners[0].limit
	io.WriteString(visit(t, s, "127.0.0.1"), smallPush)
	<-entered
	var slow []*visitor
	for i, path := range []string{"/metrics", "/v1/stats", "/metrics"} {
		slow = append(slow, unreading(t, s, fmt.Sprintf("127.0.1.%d", i+1), "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"))
		until(t, func() bool { return places.stalled() == i+1 })
	}
	if n := s.Stats().InFlight; n != 1 {
		t.Errorf("%d requests are being served while answers are not read, want the push", n)
	}
	if a := visit(t, s, "127.0.0.2").ask(t, healthCheck); a.StatusCode != 200 || a.Close {
		t.Errorf("a newcomer: %d, close %v", a.StatusCode, a.Close)
	}
	if n, err := io.Copy(io.Discard, slow[0].r); err == nil && n >= large {
		t.Error("the first slow reader was not evicted")
	}
	slow[1].Close()
	slow[2].Close()
	until(t, func() bool { return places.stalled() == 0 })
}

// The connection of a client that pipelines and does not read can be evicted.
func TestPipelinedAndUnread(t *testing.T) {
	p, entered, release := blocking()
	s, _, _ := serve(t, Options{Publisher: p, Limits: Limits{MaxConnections: 2, WriteTimeout: time.Hour, ReadTimeout: time.Hour}})
	defer close(release)
	io.WriteString(visit(t, s, "127.0.0.1"), smallPush)
	<-entered
	v := visit(t, s, "127.0.1.1")
	go func() {
		many := strings.Repeat(healthCheck, 1000)
		for {
			if _, err := io.WriteString(v, many); err != nil {
				return
			}
		}
	}()
	until(t, func() bool { return s.listeners[0].limit.stalled() == 1 })
	if a := visit(t, s, "127.0.0.2").ask(t, healthCheck); a.StatusCode != 200 || a.Close {
		t.Errorf("a newcomer: %d, close %v", a.StatusCode, a.Close)
	}
}

// Slow scrapes share renderings, and no scrape is refused.
func TestSlowScrapesShare(t *testing.T) {
	var scrapes atomic.Int64
	text := strings.Repeat("x", large)
	s, _, _ := serve(t, Options{Metrics: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scrapes.Add(1)
		io.WriteString(w, text)
	})})
	begun := time.Now()
	const readers = 30
	for i := range readers {
		unreading(t, s, "127.0.1.1", "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
		until(t, func() bool { return s.listeners[0].limit.stalled() == i+1 })
	}
	v := visit(t, s, "127.0.0.1")
	if a := v.ask(t, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"); a.StatusCode != 200 || a.ContentLength != large {
		t.Errorf("%d", a.StatusCode)
	}
	if n, most := scrapes.Load(), 2+int64(time.Since(begun)/sharedAge); n > most {
		t.Errorf("%d renderings for %d readers, want at most %d", n, readers, most)
	}
	scrapes.Store(0)
}

// Without slow readers every scrape gets a new rendering. Scrapes that come during a
// rendering share the next one.
func TestScrapesAreNew(t *testing.T) {
	var scrapes atomic.Int64
	at, release := make(chan struct{}, 1), make(chan struct{})
	s := &sharedAnswer{render: func() (*rendering, error) {
		n := scrapes.Add(1)
		at <- struct{}{}
		<-release
		return &rendering{body: []byte(fmt.Sprint(n))}, nil
	}}
	got := make(chan string)
	ask := func() {
		r := s.get()
		text := string(r.body)
		s.release(r) // before the next request
		got <- text
	}
	go ask()
	<-at
	for range 10 {
		go ask()
	}
	until(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.next != nil && s.next.readers == 10 })
	release <- struct{}{}
	if first := <-got; first != "1" {
		t.Errorf("the first got rendering %s", first)
	}
	<-at
	release <- struct{}{}
	for range 10 {
		if n := <-got; n != "2" {
			t.Errorf("rendering %s, want 2", n)
		}
	}
	close(release)
	go ask()
	if n := <-got; n != "3" {
		t.Errorf("later rendering %s, want 3", n)
	}
	<-at
	until(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.last == nil && s.next == nil }) // no rendering is kept
}
