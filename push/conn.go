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

// healthReserve is how many connections beyond MaxConnections each address
// takes that are served /healthz, /readyz and /metrics alone, so that a node
// that is busy is not taken for one that is sick.
const healthReserve = 64

// listener hands out places. A connection that finds none is answered with a
// 503 and closed: if it waited, as with netutil.LimitListener, its client would
// not learn why.
type listener struct {
	net.Listener
	places  *places
	reserve *places
	count   *counters
	refusal problem
}

func newListener(l net.Listener, most int, count *counters) *listener {
	return &listener{Listener: l, places: newPlaces(most), reserve: newPlaces(healthReserve), count: count,
		refusal: problem{cause: CauseBusy, detail: fmt.Sprintf("allowed are at most %d connections (api.max_connections), and all of them are being served", most)}}
}

// Accept returns the next connection that has a place.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp := c.(*net.TCPConn)
		mine := &conn{TCPConn: tcp, remote: remoteOf(c.RemoteAddr()), count: l.count}
		mine.link.of = mine
		victim, ok := l.places.take(mine)
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
			_ = victim.TCPConn.SetReadDeadline(past)
		}
		l.count.connections.Add(1)
		return mine, nil
	}
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// conn is a connection with a place. It embeds the concrete type so that
// net/http finds CloseWrite.
type conn struct {
	*net.TCPConn
	remote     netip.Prefix
	healthOnly bool // it has a place of the reserve
	count      *counters
	closing    sync.Once

	// leaving is set when the connection gave way to another one: it is read
	// no further, and a request that came in the same moment is refused, so
	// that its sender knows that nothing was delivered.
	leaving atomic.Bool

	frames framing       // of the goroutine that reads
	served atomic.Uint64 // requests that net/http has begun to serve

	at    *places
	own   *owner      // guarded by at.mu
	link  link[*conn] // likewise; in own.waiting
	waits bool        // likewise; for a request
}

// changed follows what net/http does with the connection.
func (c *conn) changed(state http.ConnState) {
	if state == http.StateActive {
		c.served.Add(1)
	}
	c.at.mu.Lock()
	defer c.at.mu.Unlock()
	if c.leaving.Load() {
		return
	}
	switch state {
	case http.StateIdle:
		c.at.wait(c)
	case http.StateActive, http.StateHijacked:
		c.at.stopWaiting(c)
	}
}

// Read reads and follows where requests begin and end.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.frames.scan(p[:n])
	return n, err
}

// Write writes, with the reason phrases of RFC 9110 and a Date in what
// net/http answers by itself.
func (c *conn) Write(p []byte) (int, error) {
	q, closes := c.count.amend(p)
	if q == nil {
		return c.TCPConn.Write(p)
	}
	if _, err := c.TCPConn.Write(q); err != nil {
		return 0, err
	}
	if closes {
		c.takeIn()
	}
	return len(p), nil
}

// takeIn reads on for a while before net/http closes: see Server.takeIn.
func (c *conn) takeIn() {
	if c.TCPConn.CloseWrite() == nil && c.TCPConn.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(c.TCPConn, maxRest))
	}
}

// SetReadDeadline sets the deadline, unless the connection gave way. That sets
// leaving and then the deadline, this the deadline and then looks at leaving, so
// the deadline that is over always wins.
func (c *conn) SetReadDeadline(t time.Time) error {
	err := c.TCPConn.SetReadDeadline(t)
	if c.leaving.Load() {
		err = c.TCPConn.SetReadDeadline(past)
	}
	return err
}

// Close gives the place back and closes the connection.
func (c *conn) Close() error {
	c.closing.Do(func() {
		c.at.mu.Lock()
		if !c.leaving.Load() {
			c.at.free(c)
		}
		c.at.mu.Unlock()
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
		mine.changed(state)
	}
}

// connOf returns the connection that a request came by, nil if it has not come
// by a listener of ours.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// faulty says whether the framing of a request on the connection was ambiguous.
func (c *conn) faulty() bool { return c != nil && c.frames.faulty.Load() }

// whole says whether the request that is being served has been read to its end.
func (c *conn) whole() bool { return c != nil && c.frames.done.Load() >= c.served.Load() }
