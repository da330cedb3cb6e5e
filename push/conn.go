package push

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// HealthReserve returns how many connections beyond MaxConnections each address
// takes that are served /healthz, /readyz and /metrics alone, so that a node
// that is busy is not taken for one that is sick.
func HealthReserve(maxConnections int) int { return min(64, maxConnections) }

// listener hands out places. A connection that finds none is answered with a
// 503 and closed: if it waited, as with netutil.LimitListener, its client would
// not learn why.
type listener struct {
	net.Listener
	limit   *connLimit
	reserve *connLimit
	count   *counters
	refusal problem
}

func newListener(l net.Listener, most int, count *counters) *listener {
	return &listener{Listener: l, limit: newConnLimit(most), reserve: newConnLimit(HealthReserve(most)), count: count,
		refusal: problem{cause: CauseBusy, detail: fmt.Sprintf("allowed are at most %d connections (api.max_connections), and all of them are being served", most)}}
}

// Accept returns the next connection that has a place.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		mine := newConn(c.(*net.TCPConn), l.count)
		victim, ok := l.limit.take(mine)
		if !ok {
			mine.healthOnly = true
			victim, ok = l.reserve.take(mine)
		}
		if !ok {
			l.count.connsRefused.Add(1)
			_, _ = c.Write(l.refusal.whole()) // a new socket's buffer has room: this does not block
			_ = c.Close()
			continue
		}
		if victim != nil {
			l.count.connsEvicted.Add(1)
			victim.evict()
		}
		l.count.connections.Add(1)
		return mine, nil
	}
}

// expired is a deadline that is over.
var expired = time.Unix(1, 0)

// conn is a connection with a place. It embeds the concrete type so that
// net/http finds CloseWrite.
type conn struct {
	*net.TCPConn
	remote     netip.Prefix
	healthOnly bool // it has a place of the reserve
	count      *counters
	closing    sync.Once

	// evicted is set when the connection gave way to another one: it is read
	// no further, and a request that came in the same moment is refused, so
	// that its sender knows that nothing was delivered.
	evicted atomic.Bool

	frames framing       // of the goroutine that reads
	served atomic.Uint64 // requests that net/http has begun to serve

	serving atomic.Bool // a handler runs
	client  presence

	write slowWriter // of the goroutine that writes

	// Of the goroutine that serves.
	batch         bool // what is served is a batch
	health        bool // what was asked for is health
	authenticated bool // it has carried what needs a key

	limit       *connLimit
	remoteConns *remoteConns // guarded by at.mu, and the rest
	rank        evictRank    // the list that it is in
	link        link[*conn]  // in at.giving[rank]
	remoteLink  link[*conn]  // in own.giving[rank]
	idle        bool         // for a request
}

func newConn(tcp *net.TCPConn, count *counters) *conn {
	c := &conn{TCPConn: tcp, remote: remoteOf(tcp.RemoteAddr()), count: count}
	c.link.of, c.remoteLink.of = c, c
	c.client.init(tcp)
	return c
}

// evict tells a connection whose place was given away. One that waits for a
// request is woken, so that a request of the same moment is answered; on the
// others nothing is to be lost.
func (c *conn) evict() {
	if c.idle { // it stays so: whoever changes it looks at leaving first
		_ = c.TCPConn.SetReadDeadline(expired)
	} else {
		_ = c.TCPConn.Close()
	}
}

// onState follows what net/http does with the connection.
func (c *conn) onState(state http.ConnState) {
	if state == http.StateActive {
		c.served.Add(1)
	}
	c.limit.mu.Lock()
	defer c.limit.mu.Unlock()
	if c.evicted.Load() {
		return
	}
	switch state {
	case http.StateIdle:
		c.idle = true
		c.limit.move(c, c.waitRank())
	case http.StateActive:
		c.idle = false
		c.limit.move(c, rankServed)
	}
}

// waitRank returns the rank of the connection while it waits.
func (c *conn) waitRank() evictRank {
	if c.authenticated {
		return rankKeyed
	}
	return rankAnonymous
}

// answered says that the connection was answered and only reads on. It returns
// false if there is no place to do so.
func (c *conn) answered() bool {
	if c == nil {
		return true // of another listener, which does as it likes
	}
	c.limit.mu.Lock()
	defer c.limit.mu.Unlock()
	if c.evicted.Load() || c.healthOnly && !c.health {
		return false
	}
	c.idle = false
	c.limit.move(c, rankAnswered)
	return true
}

// Read reads and follows where requests begin and end. It does not take part in
// net/http's watch for clients that go away (see presence).
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 1 && c.serving.Load() && c.whole() {
		return 0, nil
	}
	n, err := c.TCPConn.Read(p)
	c.frames.scan(p[:n])
	return n, err
}

// Write writes, with the reason phrases of RFC 9110 and a Date in what
// net/http answers by itself.
func (c *conn) Write(p []byte) (int, error) {
	q, closes := c.count.amend(p)
	if q == nil {
		return c.write.write(c, p)
	}
	if _, err := c.write.write(c, q); err != nil {
		return 0, err
	}
	if closes {
		c.discardRest()
	}
	return len(p), nil
}

// discardRest reads on for a while before net/http closes: see Server.takeIn.
func (c *conn) discardRest() {
	if c.answered() && c.TCPConn.CloseWrite() == nil && c.TCPConn.SetReadDeadline(time.Now().Add(restTime)) == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(c.TCPConn, maxRest))
	}
}

// SetReadDeadline sets the deadline, unless the connection gave way. That sets
// leaving and then the deadline, this the deadline and then looks at leaving, so
// the deadline that is over always wins.
func (c *conn) SetReadDeadline(t time.Time) error {
	err := c.TCPConn.SetReadDeadline(t)
	if c.evicted.Load() {
		err = c.TCPConn.SetReadDeadline(expired)
	}
	return err
}

// Close gives the place back and closes the connection.
func (c *conn) Close() error {
	c.closing.Do(func() {
		c.limit.mu.Lock()
		if !c.evicted.Load() {
			c.limit.free(c)
		}
		c.limit.mu.Unlock()
		c.count.connections.Add(-1)
	})
	return c.TCPConn.Close()
}

// connKey is the key of the conn in a request's context.
type connKey struct{}

// withConn is the ConnContext of an http.Server.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if mine, ok := c.(*conn); ok {
		return context.WithValue(ctx, connKey{}, mine)
	}
	return ctx
}

// connState is the ConnState of an http.Server.
func connState(c net.Conn, state http.ConnState) {
	if mine, ok := c.(*conn); ok {
		mine.onState(state)
	}
}

// connOf returns the connection that a request came by, nil if it has not come
// by a listener of ours.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// ambiguous says whether the framing of a request on the connection was ambiguous.
func (c *conn) ambiguous() bool { return c != nil && c.frames.ambiguous.Load() }

// whole says whether the request that is being served has been read to its end.
func (c *conn) whole() bool { return c != nil && c.frames.done.Load() >= c.served.Load() }
