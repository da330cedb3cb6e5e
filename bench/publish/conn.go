package publish

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"belfry/bench"
)

// Defaults of a Conn.
const (
	Timeout  = 30 * time.Second
	RetryFor = 10 * time.Second
)

const (
	// fresh is how long a connection may be unused. After that a new one is
	// made, because servers close idle connections (Node.js after 5 s).
	fresh = 4 * time.Second
	// The time between two offers is as long as the time that has already
	// passed, within these bounds, because more requests do not help an
	// overloaded server.
	minPause = time.Millisecond
	maxPause = 100 * time.Millisecond
)

// Pause returns how long to wait before a message that a busy server refused is
// offered again; waited is how long it has waited already.
func Pause(waited time.Duration) time.Duration { return min(max(waited, minPause), maxPause) }

// Conn publishes one message after the other on a connection that it makes when
// needed. One goroutine may use it.
type Conn struct {
	// Timeout bounds the wait for one answer. RetryFor bounds how long a
	// message that a busy server refuses is offered again.
	Timeout, RetryFor time.Duration
	// Refused counts the answers of a busy server.
	Refused int

	request *Request
	clock   bench.Clock
	conn    net.Conn // nil: not connected
	used    time.Time
	in, out []byte

	watched context.Context // interrupts conn when it is done; nil: none
	unwatch func() bool
}

// NewConn returns a Conn for r's messages. The Conn owns r from now on.
func NewConn(r *Request) *Conn {
	return &Conn{Timeout: Timeout, RetryFor: RetryFor, request: r, clock: bench.NewClock(), in: make([]byte, 0, 4096)}
}

// Close closes the connection. The next Push makes another.
func (c *Conn) Close() {
	if c.watched != nil {
		c.unwatch()
		c.watched = nil
	}
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// Connect makes the connection now, so that the first Push does not have to.
func (c *Conn) Connect(ctx context.Context) error {
	c.Close()
	d := net.Dialer{Timeout: c.Timeout}
	conn, err := d.DialContext(ctx, "tcp", c.request.Address)
	if err != nil {
		return fmt.Errorf("the server's API: %w", ended(ctx, err))
	}
	c.conn, c.used = conn, time.Now()
	return nil
}

// Push publishes m with a payload of size bytes and returns the stamp in it,
// taken just before the bytes are sent. While the server reports that it is
// busy and has delivered nothing, Push offers m again with a new stamp. After
// any other error the message may or may not have been delivered.
func (c *Conn) Push(ctx context.Context, m bench.Message, size int) (stamp int64, err error) {
	for begun := time.Now(); ; {
		status, body, err := c.offer(ctx, &m, size)
		switch {
		case err != nil:
			c.Close()
			return 0, fmt.Errorf("publishing: %w", err)
		case c.request.Accepts(status, body):
			return m.Stamp, nil
		case !Busy(status) || time.Since(begun) > c.RetryFor:
			return 0, fmt.Errorf("publishing: status %d: %.200s", status, body)
		}
		c.Refused++
		if err := bench.Sleep(ctx, Pause(time.Since(begun))); err != nil {
			return 0, err
		}
	}
}

// offer stamps and sends m and reads the answer. Its body is valid until the
// next offer.
func (c *Conn) offer(ctx context.Context, m *bench.Message, size int) (status int, body []byte, err error) {
	if c.watched != nil && c.watched != ctx {
		if !c.unwatch() { // the end of ctx may interrupt the connection at any moment
			c.Close()
		}
		c.watched = nil
	}
	if c.conn == nil || time.Since(c.used) > fresh {
		if err := c.Connect(ctx); err != nil {
			return 0, nil, err
		}
	}
	if c.watched == nil {
		conn := c.conn
		c.watched = ctx
		c.unwatch = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	}
	if err := c.conn.SetDeadline(time.Now().Add(c.Timeout)); err != nil {
		return 0, nil, err
	}
	if ctx.Err() != nil { // checked last, because ctx may have ended before the deadline was set
		return 0, nil, context.Cause(ctx)
	}
	m.Stamp = c.clock.Now()
	c.out = c.request.Append(c.out[:0], *m, size)
	if _, err := c.conn.Write(c.out); err != nil {
		return 0, nil, ended(ctx, err)
	}
	for c.in = c.in[:0]; ; {
		c.in = slices.Grow(c.in, 512)
		n, err := c.conn.Read(c.in[len(c.in):cap(c.in)])
		if err != nil {
			return 0, nil, ended(ctx, err)
		}
		c.in = c.in[:len(c.in)+n]
		status, whole, body, err := ParseResponse(c.in)
		switch {
		case err != nil:
			return 0, nil, err
		case whole == 0:
			continue
		case whole < len(c.in):
			return 0, nil, fmt.Errorf("the server sent an answer without a request: %.100q", c.in[whole:])
		}
		c.used = time.Now()
		return status, body, nil
	}
}

// ended returns the cause of ctx's end instead of the error that it caused on a
// connection.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
