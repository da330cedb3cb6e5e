package push

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"belfry/message"
)

// visitor is a client connection of a test.
type visitor struct {
	net.Conn
	r *bufio.Reader
}

// visit connects from an address of 127.0.0.0/8.
func visit(t *testing.T, s *Server, from string) *visitor {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	return &visitor{c, bufio.NewReader(c)}
}

// ask sends a request and reads the answer.
func (v *visitor) ask(t *testing.T, request string) answer {
	t.Helper()
	if _, err := io.WriteString(v, request); err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, v.r)
}

const (
	healthCheck = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
	smallPush   = "POST /v1/all HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi"
)

// wantClosed waits until the server has closed the connection.
func (v *visitor) wantClosed(t *testing.T, who string) {
	t.Helper()
	if _, err := v.r.ReadByte(); err == nil {
		t.Errorf("%s: more bytes come", who)
	} else if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Errorf("%s was not closed", who)
	}
}

// Connections that wait for a request do not keep out new ones: the one that has
// waited longest is evicted.
func TestIdleConnectionsAreEvicted(t *testing.T) {
	const most = 4
	s, _, _ := serve(t, Options{Limits: Limits{MaxConnections: most}})
	var idle []*visitor
	for i := range most {
		idle = append(idle, visit(t, s, "127.0.0.1"))
		idle[i].ask(t, healthCheck)
		until(t, func() bool { return s.listeners[0].limit.waiting() == i+1 }) // it waits only after its answer was written
	}
	idle[0].ask(t, healthCheck) // now the second has waited longest
	until(t, func() bool { return s.listeners[0].limit.waiting() == most })
	for i, request := range []string{smallPush, healthCheck} {
		if a := visit(t, s, "127.0.0.1").ask(t, request); a.StatusCode >= 300 {
			t.Errorf("new connection %d: %d %s", i+1, a.StatusCode, a.body)
		}
		idle[i+1].wantClosed(t, fmt.Sprint("connection ", i+1))
		until(t, func() bool { return s.listeners[0].limit.waiting() == most })
	}
	for _, i := range []int{0, 3} {
		if a := idle[i].ask(t, smallPush); a.StatusCode != 202 {
			t.Errorf("connection %d: %d", i, a.StatusCode)
		}
	}
	if st := s.Stats(); st.ConnectionsEvicted != 2 || st.ConnectionsRefused != 0 {
		t.Errorf("%d evicted, %d refused", st.ConnectionsEvicted, st.ConnectionsRefused)
	}
}

// waiting returns the number of connections that wait for a request or for their
// clients to read.
func (l *connLimit) waiting() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r := rankAnonymous; r < rankCount; r++ {
		for e := l.evictable[r].first; e != nil; e = e.next {
			n++
		}
	}
	return n
}

// If an address takes the other places with heads that do not arrive, new
// connections of it and of other addresses evict these, and not the connections of
// other addresses.
func TestHeadsThatDoNotArriveAreEvicted(t *testing.T) {
	const most = 8
	s, _, _ := serve(t, Options{Limits: Limits{MaxConnections: most, ReadHeaderTimeout: time.Hour, ReadTimeout: time.Hour}})
	backend := visit(t, s, "127.0.0.1")
	backend.ask(t, smallPush)
	until(t, func() bool { return s.listeners[0].limit.waiting() == 1 })
	var heads []*visitor
	for range most - 1 {
		v := visit(t, s, "127.0.0.2")
		io.WriteString(v, "POST /v1/all HTTP/1.1\r\nHost: loc")
		heads = append(heads, v)
	}
	until(t, func() bool { return s.listeners[0].limit.waiting() == most })
	if a := visit(t, s, "127.0.0.3").ask(t, smallPush); a.StatusCode != 202 {
		t.Errorf("a new connection: %d", a.StatusCode)
	}
	heads[0].wantClosed(t, "the oldest head")
	if a := visit(t, s, "127.0.0.2").ask(t, healthCheck); a.StatusCode != 200 {
		t.Errorf("the same address: %d", a.StatusCode)
	}
	heads[1].wantClosed(t, "the next head")
	if a := backend.ask(t, smallPush); a.StatusCode != 202 {
		t.Errorf("the idle connection of another address: %d", a.StatusCode)
	}
}

// If all connections are being served, health routes can still be reached, and no
// others.
func TestHealthHasAReserve(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s, _, _ := serve(t, Options{Limits: Limits{MaxConnections: 2, ReadHeaderTimeout: time.Hour, ReadTimeout: time.Hour},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}),
		Publisher: publisherFunc(func(m *message.Message) error {
			entered <- struct{}{}
			<-release
			return nil
		})})
	defer close(release)
	for range 2 {
		io.WriteString(visit(t, s, "127.0.0.1"), smallPush)
		<-entered
	}
	health := func() {
		t.Helper()
		for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
			v := visit(t, s, "127.0.0.1")
			if a := v.ask(t, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); a.StatusCode != 200 || !a.Close {
				t.Errorf("%s: %d, close %v", path, a.StatusCode, a.Close)
			}
			v.wantClosed(t, path)
		}
	}
	health()
	v := visit(t, s, "127.0.0.1")
	if p := v.ask(t, smallPush).problem(t); p.Type != CauseBusy.Type() || !strings.Contains(p.Detail, "2 connections") {
		t.Errorf("a push on a connection of the reserve: %+v", p)
	}
	v.wantClosed(t, "a push on a connection of the reserve")
	for range 64 + 5 { // they send nothing
		visit(t, s, "127.0.0.2")
	}
	health()
}

// A request that arrives while its connection is being evicted is refused, so that
// the client knows that nothing was delivered.
func TestRequestOnAnEvictedConnection(t *testing.T) {
	s, _, _ := serve(t, Options{})
	v := visit(t, s, "127.0.0.1")
	v.ask(t, smallPush)
	until(t, func() bool { return s.listeners[0].limit.waiting() == 1 })
	p := s.listeners[0].limit
	func() {
		p.mu.Lock() // net/http reads the request, and then waits for the lock
		defer p.mu.Unlock()
		c := p.evictable.first()
		if _, err := io.WriteString(v, smallPush); err != nil {
			t.Fatal(err)
		}
		until(t, func() bool { return c.served.Load() == 2 }) // before that the connection would be closed unread
		c.evicted.Store(true)
		p.free(c)
	}()
	a := v.answer(t)
	if p := a.problem(t); p.Type != CauseBusy.Type() || !a.Close {
		t.Errorf("%+v, close %v", p, a.Close)
	}
	v.wantClosed(t, "it")
	until(t, func() bool { return s.Stats().Connections == 0 })
	if p.open != 0 || len(p.remotes) != 0 || p.evictable != (evictQueues{}) {
		t.Errorf("%d places taken by %d addresses", p.open, len(p.remotes))
	}
}

// connModel is a connLimit that walks over all connections.
type connModel struct {
	max       int
	conns     []*conn
	evictable [rankCount][]*conn // the connection that has waited longest first
}

// victim returns the connection that c evicts, nil for none, and whether c gets a
// place.
func (m *connModel) victim(c *conn) (victim *conn, ok bool) {
	if len(m.conns) < m.max {
		return nil, true
	}
	own := 0
	for _, other := range m.conns {
		if other.remote == c.remote {
			own++
		}
	}
	for _, queue := range m.evictable {
		for _, other := range queue {
			if own < m.max/2 || other.remote == c.remote {
				return other, true
			}
		}
	}
	return nil, false
}

func (m *connModel) add(c *conn) {
	m.conns = append(m.conns, c)
	m.evictable[rankAnonymous] = append(m.evictable[rankAnonymous], c)
}

func (m *connModel) remove(c *conn) {
	m.conns = without(m.conns, c)
	m.move(c, rankServed)
}

// move makes c the last of a rank.
func (m *connModel) move(c *conn, to evictRank) {
	for r := range m.evictable {
		m.evictable[r] = without(m.evictable[r], c)
	}
	if to != rankServed {
		m.evictable[to] = append(m.evictable[to], c)
	}
}

func without(conns []*conn, c *conn) []*conn {
	return slices.DeleteFunc(slices.Clone(conns), func(other *conn) bool { return other == c })
}

func TestConnLimitAgainstModel(t *testing.T) {
	m := &connModel{max: 20}
	l := newConnLimit(m.max)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50_000 {
		op := rng.IntN(6)
		if op < 2 || len(m.conns) == 0 {
			c := &conn{remote: netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(rng.IntN(5) * rng.IntN(2))}), 32)}
			c.link.value, c.remoteLink.value = c, c
			want, place := m.victim(c)
			victim, ok := l.take(c)
			if victim != want || ok != place {
				t.Fatalf("%d open: evicted %p, want %p; place %v, want %v", len(m.conns), victim, want, ok, place)
			}
			if victim != nil {
				m.remove(victim)
			}
			if ok {
				m.add(c)
			}
			continue
		}
		c := m.conns[rng.IntN(len(m.conns))]
		before := c.rank
		switch op {
		case 2:
			c.onState(http.StateActive)
		case 3:
			c.authenticated = c.authenticated || rng.IntN(4) == 0
			c.onState(http.StateIdle)
		case 4:
			c.answered()
		case 5:
			l.free(c)
			m.remove(c)
		}
		if c.rank != before {
			m.move(c, c.rank)
		}
	}
}

func TestRemoteAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7:1": "192.0.2.7/32", "[::ffff:192.0.2.7]:1": "192.0.2.7/32",
		"[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "[fe80::1%lo]:1": "fe80::/64",
	} {
		if got := remoteOf(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text))); got.String() != want {
			t.Errorf("%s: %v, want %s", text, got, want)
		}
	}
}
