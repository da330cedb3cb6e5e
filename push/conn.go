package push

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// HealthReserve returns the size of the reserve: the number of connections that
// each address accepts beyond MaxConnections. They can use only /healthz, /readyz
// and /metrics. So health checks work on a busy node.
func HealthReserve(maxConnections int) int { return min(64, maxConnections) }

// listener gives each connection a place. If there is none, it answers with a 503
// and closes the connection. If the connection waited instead, as with
// netutil.LimitListener, its client would not learn why.
type listener struct {
	net.Listener
	limit   *connLimit
	reserve *connLimit
	count   *counters
	tls     *tls.Config // nil: no TLS
	refusal problem
	closed  chan struct{}
	closing sync.Once

	mu      sync.Mutex    // guards resumed
	resumed chan struct{} // closed by resume; nil: the listener is not held
}

func newListener(l net.Listener, most int, count *counters) *listener {
	return &listener{Listener: l, limit: newConnLimit(most), reserve: newConnLimit(HealthReserve(most)), count: count, closed: make(chan struct{}),
		refusal: problem{cause: CauseBusy, detail: fmt.Sprintf("allowed are at most %d connections (api.max_connections), and all of them are being served", most)}}
}

// Accept returns the next connection that has a place.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.accept()
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
			if l.tls == nil { // a client of TLS could not read it
				_, _ = c.Write(l.refusal.whole()) // it does not block: the buffer of a new socket has room
			}
			_ = c.Close()
			continue
		}
		if victim != nil {
			l.count.connsEvicted.Add(1)
			victim.evict()
		}
		l.count.connections.Add(1)
		if l.tls != nil {
			mine.secure(l.tls)
		}
		return mine, nil
	}
}

// expired is a deadline in the past.
var expired = time.Unix(1, 0)

// conn is a connection that has a place. It embeds the concrete type so that
// net/http finds CloseWrite.
type conn struct {
	*net.TCPConn
	remote     netip.Prefix
	tls        *tls.Conn // nil: no TLS
	healthOnly bool      // its place is in the reserve
	count      *counters
	closing    sync.Once

	// evicted is set when another connection gets the place of this one. It is
	// not read any more. A request that arrives at the same moment is refused,
	// so that its client knows that nothing was delivered.
	evicted atomic.Bool

	frames framing       // owned by the goroutine that reads
	served atomic.Uint64 // requests that net/http has begun to serve

	serving atomic.Bool // a handler is running
	client  clientGone

	write slowWriter // owned by the goroutine that writes

	// Owned by the goroutine that serves.
	batch         bool // the request being served is a batch
	health        bool // a health route was requested
	authenticated bool // a request that needs a key has succeeded

	limit *connLimit

	// Guarded by limit.mu.
	remoteConns *remoteConns
	rank        evictRank   // says in which queues the connection is
	link        link[*conn] // in limit.evictable[rank]
	remoteLink  link[*conn] // in remoteConns.evictable[rank]
	idle        bool        // it waits for a request
}

func newConn(tcp *net.TCPConn, count *counters) *conn {
	c := &conn{TCPConn: tcp, remote: remoteOf(tcp.RemoteAddr()), count: count}
	c.link.value, c.remoteLink.value = c, c
	c.client.init(tcp)
	return c
}

// evict ends a connection whose place another one got. If it waits for a request,
// its reader is woken, so that a request that arrives at the same moment is
// answered. Otherwise it is closed at once: no request of it can be lost.
func (c *conn) evict() {
	if c.idle { // read without the lock: it does not change once evicted is set
		_ = c.TCPConn.SetReadDeadline(expired)
	} else {
		_ = c.TCPConn.Close()
	}
}

// onState follows the states of the connection in net/http.
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

// answered records that the answer is out and only the rest of a body is read. It
// returns false if the connection must be closed instead, because it has no place.
func (c *conn) answered() bool {
	if c == nil {
		return true // it comes from a listener that is not ours, without places
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

// Read reads and follows where requests begin and end. It returns at once from the
// read of one byte with which net/http watches for clients that go away (see
// clientGone).
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 1 && c.serving.Load() && c.whole() {
		return 0, nil
	}
	n, err := c.read(p)
	c.frames.scan(p[:n])
	return n, err
}

// Write writes. In answers that net/http writes by itself it corrects the reason
// phrase (RFC 9110) and adds a Date.
func (c *conn) Write(p []byte) (int, error) {
	q, closes := c.count.amend(p)
	if q == nil {
		return c.send(p)
	}
	if _, err := c.send(q); err != nil {
		return 0, err
	}
	if closes {
		c.discardRest()
	}
	return len(p), nil
}

// discardRest reads on for a while before net/http closes the connection, for the
// reason given at Server.discardRest.
func (c *conn) discardRest() {
	if c.answered() && c.CloseWrite() == nil && c.TCPConn.SetReadDeadline(time.Now().Add(restTime)) == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(c.TCPConn, maxRest))
	}
}

// SetReadDeadline sets the deadline, unless the connection was evicted. An
// eviction sets evicted and then the expired deadline. SetReadDeadline sets the
// deadline and then checks evicted, so the expired deadline always remains.
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
	if !c.evicted.Load() {
		c.closeNotify()
	}
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

// connOf returns the connection of a request, nil if it does not come from a
// listener of this package.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// ambiguous reports whether a request on the connection had ambiguous framing.
func (c *conn) ambiguous() bool { return c != nil && c.frames.ambiguous.Load() }

// whole reports whether the request that is being served was read to its end.
func (c *conn) whole() bool { return c != nil && c.frames.done.Load() >= c.served.Load() }
