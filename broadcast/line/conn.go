package line

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// ErrOpaque says that a connection cannot be passed on, because what goes over it
// cannot be read here: it has TLS, or is a WebSocket.
var ErrOpaque = errors.New("line: a connection to NATS with TLS or over WebSocket cannot be passed on")

var (
	errStopped   = errors.New("line: the connection to NATS is being passed on already")
	errRunning   = errors.New("line: the connection to NATS is not stopped")
	errUnsent    = errors.New("line: too much is written while the connection to NATS is passed on")
	errHandshake = errors.New("line: nats.go reads more than the greeting before it has answered it")
)

// maxUnsent limits what Conn keeps while it is frozen, in bytes: subscriptions that the
// process before did not have are most of it.
const maxUnsent = 16 << 20

// Conn is a connection to a NATS server. nats.go reads on one goroutine and writes
// under its lock; the other methods may be called from any goroutine.
type Conn struct {
	net.Conn
	opaque atomic.Bool
	hold   atomic.Pointer[hold] // reading is to stop, or has stopped; nil: it goes on
	closed chan struct{}
	once   sync.Once

	in reader // owned by the goroutine that reads

	mu     sync.Mutex // guards this group; held during writes, and never while reading waits
	out    scanner
	begun  bool // something was written
	frozen bool
	unsent []byte // written while frozen
	table  table
	info   []byte // the last INFO line
	pings  int    // PINGs written whose PONG has not come
	skip   int    // PONGs that are for the process before

	greeting *greeting // nil: the handshake is over, or is one with the server itself
	wbuf     []byte
}

// hold is a stop of reading.
type hold struct {
	idle   chan struct{} // closed when nats.go has processed everything that it was given
	resume chan struct{}
	once   sync.Once
}

func newHold() *hold { return &hold{idle: make(chan struct{}), resume: make(chan struct{})} }

func newConn(c net.Conn) *Conn {
	return &Conn{Conn: c, closed: make(chan struct{}), table: newTable(0)}
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.table.generation > 0 {
		return c.readInherited(p)
	}
	for {
		q := p
		if c.hold.Load() != nil && !c.opaque.Load() {
			if c.in.aligned() {
				if err := c.wait(); err != nil {
					return 0, err
				}
				continue
			}
			q = p[:min(len(p), c.in.need())]
		}
		n, err := c.Conn.Read(q)
		if n > 0 {
			if !c.opaque.Load() && c.in.all(q[:n], c.heard) != nil {
				c.opaque.Store(true) // nats.go will find the same error
			}
			return n, nil // an error comes again
		}
		if !c.interrupted(err) {
			return n, err
		}
	}
}

// interrupted reports whether a read failed only because Stop woke it up.
func (c *Conn) interrupted(err error) bool {
	if c.hold.Load() == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.Conn.SetReadDeadline(time.Time{}) // the operation may have to be read to its end
	return true
}

// wait waits while the hold lasts.
func (c *Conn) wait() error {
	h := c.hold.Load()
	if h == nil {
		return nil
	}
	h.once.Do(func() { close(h.idle) })
	select {
	case <-h.resume:
		return nil
	case <-c.closed:
		return net.ErrClosed
	}
}

// heard looks at a control line of the server that has no payload.
func (c *Conn) heard(line []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case is(line, "info"):
		c.info = append(c.info[:0], line...)
	case is(line, "pong"):
		c.pings--
	}
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	if c.opaque.Load() {
		return c.Conn.Write(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.greeting != nil {
		return len(p), c.greeting.answered(c, p)
	}
	if !c.begun && len(p) > 0 {
		if c.begun = true; !bytes.HasPrefix(p, []byte("CONNECT ")) {
			c.opaque.Store(true)
			return c.Conn.Write(p)
		}
	}
	b := p
	if c.table.generation > 0 {
		b = c.translateOut(p)
	} else if c.out.all(p, c.said) != nil {
		c.opaque.Store(true)
	}
	if !c.frozen {
		n, err := c.Conn.Write(b)
		if err == nil {
			n = len(p)
		}
		return min(n, len(p)), err
	}
	if len(c.unsent)+len(b) > maxUnsent {
		return 0, errUnsent
	}
	c.unsent = append(c.unsent, b...)
	return len(p), nil
}

// said looks at a control line of this process that has no payload. The caller holds mu.
func (c *Conn) said(line []byte) {
	switch {
	case is(line, "sub"):
		c.table.subscribed(line)
	case is(line, "unsub"):
		c.table.unsubscribed(line)
	case is(line, "ping"):
		c.pings++
	}
}

// Close implements net.Conn. If another process has the connection too, it stays open
// there.
func (c *Conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// Opaque reports whether the connection cannot be passed on, see ErrOpaque.
func (c *Conn) Opaque() bool { return c.opaque.Load() }

// Stop ends reading behind an operation. It returns when nats.go has processed
// everything that was read: its messages are in the channels of their subscriptions. If
// ctx is done first, or the connection breaks, it returns an error and reading goes on.
func (c *Conn) Stop(ctx context.Context) error {
	if c.opaque.Load() {
		return ErrOpaque
	}
	h := newHold()
	if !c.hold.CompareAndSwap(nil, h) {
		return errStopped
	}
	c.Conn.SetReadDeadline(time.Unix(1, 0)) // wakes the goroutine that reads
	var err error
	select {
	case <-h.idle:
	case <-c.closed:
		err = net.ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err == nil && c.opaque.Load() {
		err = ErrOpaque
	}
	if err != nil {
		c.release()
	}
	return err
}

// release ends the hold.
func (c *Conn) release() {
	h := c.hold.Swap(nil)
	if h == nil {
		return
	}
	c.Conn.SetReadDeadline(time.Time{})
	close(h.resume)
}

// Freeze ends writing: what nats.go writes from now on is kept. It is called after Stop
// and Written.
func (c *Conn) Freeze() {
	c.mu.Lock()
	c.frozen = true
	c.mu.Unlock()
}

// Resume makes the connection go on as before Stop and Freeze, in the process that
// stopped it. Nothing is lost.
func (c *Conn) Resume() error {
	c.mu.Lock()
	c.frozen = false
	var err error
	if len(c.unsent) > 0 {
		_, err = c.Conn.Write(c.unsent)
		c.unsent = nil
	}
	c.mu.Unlock()
	c.release()
	return err
}
