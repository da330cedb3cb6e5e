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
	places  *places
	reserve *places
	count   *counters
	refusal problem
}

func newListener(l net.Listener, most int, count *counters) *listener {
	return &listener{Listener: l, places: newPlaces(most), reserve: newPlaces(HealthReserve(most)), count: count,
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
			victim.giveWay()
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

	serving atomic.Bool // a handler runs
	client  presence

	write slowWriter // of the goroutine that writes

	// Of the goroutine that serves.
	batch  bool // what is served is a batch
	health bool // what was asked for is health
	proven bool // it has carried what needs a key

	at      *places
	own     *owner      // guarded by at.mu, and the rest
	rank    rank        // the list that it is in
	link    link[*conn] // in at.giving[rank]
	ownLink link[*conn] // in own.giving[rank]
	waits   bool        // for a request
}

func newConn(tcp *net.TCPConn, count *counters) *conn {
	c := &conn{TCPConn: tcp, remote: remoteOf(tcp.RemoteAddr()), count: count}
	c.link.of, c.ownLink.of = c, c
	c.client.init(tcp)
	return c
}

// giveWay tells a connection whose place was given away. One that waits for a
// request is woken, so that a request of the same moment is answered; on the
// others nothing is to be lost.
func (c *conn) giveWay() {
	if c.waits { // it stays so: whoever changes it looks at leaving first
		_ = c.TCPConn.SetReadDeadline(past)
	} else {
		_ = c.TCPConn.Close()
	}
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
		c.waits = true
		c.at.move(c, c.patience())
	case http.StateActive:
		c.waits = false
		c.at.move(c, rankServed)
	}
}

// patience returns the rank of the connection while it waits.
func (c *conn) patience() rank {
	if c.proven {
		return rankProven
	}
	return rankStranger
}

// lingers says that the connection was answered and only reads on. It returns
// false if there is no place to do so.
func (c *conn) lingers() bool {
	if c == nil {
		return true // of another listener, which does as it likes
	}
	c.at.mu.Lock()
	defer c.at.mu.Unlock()
	if c.leaving.Load() || c.healthOnly && !c.health {
		return false
	}
	c.waits = false
	c.at.move(c, rankAnswered)
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
		c.takeIn()
	}
	return len(p), nil
}

// takeIn reads on for a while before net/http closes: see Server.takeIn.
func (c *conn) takeIn() {
	if c.lingers() && c.TCPConn.CloseWrite() == nil && c.TCPConn.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
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
