package publish

import (
	"context"
	"fmt"
	"net"
	"time"

	"belfry/bench"
)

const (
	// Timeout bounds the wait for one answer.
	Timeout = 30 * time.Second
	// Patience bounds how long a message is offered that is refused because
	// the server is busy.
	Patience = 10 * time.Second

	fresh = time.Second // a connection unused for longer is made anew: servers close those that are silent
	pause = time.Millisecond
)

// Conn publishes one message after the other. It is used by one goroutine.
type Conn struct {
	// Refused counts the answers that said busy; the message was offered again.
	Refused int

	request *Request
	clock   bench.Clock
	conn    net.Conn // nil: not connected
	used    time.Time
	in, out []byte
}

// Dial connects to where r's messages go.
func Dial(r *Request) (*Conn, error) {
	c := &Conn{request: r, clock: bench.NewClock(), in: make([]byte, 0, 4096)}
	return c, c.dial()
}

func (c *Conn) dial() error {
	c.Close()
	conn, err := net.DialTimeout("tcp", c.request.Address, Timeout)
	if err != nil {
		return fmt.Errorf("the server's API: %w", err)
	}
	c.conn, c.used = conn, time.Now()
	return nil
}

// Close closes the connection. The next Push makes another.
func (c *Conn) Close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// Push publishes m with a payload of size bytes and returns the stamp in it,
// which it takes just before the bytes leave. It offers m again, with a new
// stamp, while the server says that it is busy and has delivered nothing, for
// as long as Patience. After any other error the message may have been
// delivered.
func (c *Conn) Push(ctx context.Context, m bench.Message, size int) (stamp int64, err error) {
	for begun := time.Now(); ; {
		if c.conn == nil || time.Since(c.used) > fresh {
			if err := c.dial(); err != nil {
				return 0, err
			}
		}
		m.Stamp = c.clock.Now()
		c.out = c.request.Append(c.out[:0], m, size)
		status, body, err := c.roundTrip(ctx, c.out)
		c.used = time.Now()
		switch {
		case err != nil:
			c.Close()
			return 0, fmt.Errorf("publishing: %w", err)
		case c.request.delivered(status, body):
			return m.Stamp, nil
		case !Busy(status) || time.Since(begun) > Patience:
			return 0, fmt.Errorf("publishing: status %d: %.200s", status, body)
		}
		c.Refused++
		if err := bench.Sleep(ctx, pause); err != nil {
			return 0, err
		}
	}
}

// roundTrip sends a request and reads its answer, which is good until the next.
func (c *Conn) roundTrip(ctx context.Context, request []byte) (status int, body []byte, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(Timeout)); err != nil {
		return 0, nil, err
	}
	conn := c.conn
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(request); err != nil {
		return 0, nil, ended(ctx, err)
	}
	c.in = c.in[:0]
	for {
		var room [4096]byte
		n, err := conn.Read(room[:])
		if err != nil {
			return 0, nil, ended(ctx, err)
		}
		c.in = append(c.in, room[:n]...)
		status, n, body, err := ParseResponse(c.in)
		if err != nil || n > 0 {
			return status, body, err
		}
	}
}

// ended prefers what ended ctx to what that did to a connection.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
