package line

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"
)

// State is what a process that inherits a connection has to know of it, besides its
// descriptor.
type State struct {
	Info       []byte `json:"info"`       // the last INFO line of the server
	Server     string `json:"server"`     // its address, for people
	Generation int    `json:"generation"` // how often the connection was passed on before
	Subs       []Sub  `json:"subs"`
	Pongs      int    `json:"pongs"`            // PONGs to come that answer PINGs of the process before
	Unread     []byte `json:"unread,omitempty"` // read, and not given to nats.go
	Unsent     []byte `json:"unsent,omitempty"` // written by nats.go after Freeze
}

// State returns the state of a connection that is stopped and frozen.
func (c *Conn) State() (*State, error) {
	h := c.hold.Load()
	if h == nil {
		return nil, errRunning
	}
	select {
	case <-h.idle:
	default:
		return nil, errRunning
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.frozen:
		return nil, errRunning
	case c.opaque.Load():
		return nil, ErrOpaque
	case !c.out.aligned():
		return nil, fmt.Errorf("line: nats.go wrote a part of an operation")
	}
	s := &State{
		Info: append([]byte(nil), c.info...), Generation: c.table.generation, Subs: c.table.all(),
		Pongs: c.pings + c.skip, Unread: append([]byte(nil), c.in.raw...), Unsent: append([]byte(nil), c.unsent...),
	}
	if a := c.Conn.RemoteAddr(); a != nil {
		s.Server = a.String()
	}
	return s, nil
}

// Descriptor returns a copy of the connection's descriptor, which the caller closes.
func (c *Conn) Descriptor() (fd int, err error) {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return -1, ErrOpaque
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	if ctlErr := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3) }); ctlErr != nil {
		return -1, ctlErr
	}
	return fd, err
}

// inherit returns a Conn that goes on with a connection of another process. It gives
// nats.go no messages before Release.
func inherit(s *State, nc net.Conn) *Conn {
	c := newConn(nc)
	c.table = newTable(s.Generation + 1)
	for _, sub := range s.Subs {
		key := subject{sub.Subject, sub.Queue}
		c.table.inherited[key] = append(c.table.inherited[key], sub.SID)
	}
	c.begun, c.greeting, c.skip = true, new(greeting), s.Pongs
	c.info = append([]byte(nil), s.Info...)
	c.in.ready = append([]byte(nil), s.Info...)
	c.in.raw = append([]byte(nil), s.Unread...)
	c.unsent = append([]byte(nil), s.Unsent...)
	c.frozen = true // until Release: nothing may precede what the process before wrote
	c.hold.Store(newHold())
	return c
}

// Written waits until nats.go has written what it holds in its buffer. It needs no
// answer of the server, as nats.Conn.Flush does.
func Written(ctx context.Context, nc *nats.Conn) error {
	for {
		n, err := nc.Buffered() // its flusher writes at once
		if err != nil || n == 0 {
			return err
		}
		select {
		case <-time.After(100 * time.Microsecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Release makes an inherited connection go on. It is called when nats.go has written
// (see Written) the subscriptions that are still wanted. The others end, and their number is returned.
func (c *Conn) Release() (ended int, err error) {
	c.mu.Lock()
	b := c.unsent
	for key, sids := range c.table.inherited {
		for _, sid := range sids {
			b = appendUnsub(b, sid, "")
			ended++
		}
		delete(c.table.inherited, key)
	}
	c.unsent, c.frozen = nil, false
	if len(b) > 0 {
		_, err = c.Conn.Write(b)
	}
	c.mu.Unlock()
	c.release()
	return ended, err
}

// CloseAll closes descriptors.
func CloseAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
