package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Dial describes connections to make. Connection n has the target with index n
// modulo the number of targets, so a target named twice gets twice as many.
// Connections to the same target use the sources in turn.
type Dial struct {
	Targets []netip.AddrPort `json:"targets"`           // all IPv4 or all IPv6
	Sources []netip.Addr     `json:"sources,omitempty"` // local addresses of the same family; if there are none the kernel chooses
	First   int              `json:"first"`             // number of the first
	Count   int              `json:"count"`             // how many
	Window  int              `json:"window"`            // most connects in progress at once
	Rate    float64          `json:"rate"`              // most connects begun per second; 0 is no limit
	Next    uint32           `json:"next"`              // first broadcast that they will receive
	Timeout int64            `json:"timeout_ns"`        // for all of them together
	Wire
}

// Dialed is the result of a Dial.
type Dialed struct {
	Opened int   `json:"opened"`
	Failed int   `json:"failed"`
	Start  int64 `json:"start"` // stamp just before the first connect(2)
	End    int64 `json:"end"`   // stamp of the last 101; Start if there was none
}

// dialing is a Dial in progress.
type dialing struct {
	Dial
	Dialed
	family   int // of all addresses
	to, from []unix.Sockaddr
	started  int
	pending  int
	deadline int64
}

// opened and settled note that an attempt ended, well and not.
func (d *dialing) opened(now int64) { d.pending--; d.Opened++; d.End = now }
func (d *dialing) finished()        { d.pending--; d.Failed++ }

// Dial begins to make connections; Poll does the work, and Dialed returns the
// result at the end.
func (c *Client) Dial(d Dial) error {
	switch {
	case c.dial != nil && !c.dial.done():
		return errors.New("connections are already being made")
	case len(d.Targets) == 0:
		return errors.New("targets: none")
	case d.Rate < 0:
		return fmt.Errorf("rate: %v; at least 0", d.Rate)
	case d.Count < 1:
		return fmt.Errorf("count: %d; at least 1", d.Count)
	case d.Window < 1:
		return fmt.Errorf("window: %d; at least 1", d.Window)
	}
	if err := d.Wire.check(); err != nil {
		return err
	}
	dial := &dialing{Dial: d}
	if err := dial.addresses(); err != nil {
		return err
	}
	wire := newWire(d)
	if err := wire.readTokens(d.First, d.Count); err != nil {
		return err
	}
	c.dial, c.wire = dial, wire
	c.conns = slices.Grow(c.conns, d.Count) // the records are most of the client's memory
	c.dial.Start = c.clock.Now()
	c.dial.End = c.dial.Start
	c.dial.deadline = c.dial.Start + d.Timeout
	c.progress()
	return nil
}

// addresses checks those of d and makes them ready.
func (d *dialing) addresses() (err error) {
	if d.family, err = family(d.Targets[0].Addr()); err != nil {
		return fmt.Errorf("targets: %w", err)
	}
	same := func(what string, a netip.Addr) error {
		if f, err := family(a); err != nil || f != d.family {
			return fmt.Errorf("%s: %v is not of the family of the target %v", what, a, d.Targets[0])
		}
		return nil
	}
	for _, t := range d.Targets {
		if err := same("targets", t.Addr()); err != nil {
			return err
		}
		d.to = append(d.to, sockaddr(t))
	}
	for _, s := range d.Sources {
		if err := same("sources", s); err != nil {
			return err
		}
		d.from = append(d.from, sockaddr(netip.AddrPortFrom(s, 0)))
	}
	return nil
}

// Dialed returns the outcome of the last Dial once every attempt has ended.
func (c *Client) Dialed() (Dialed, bool) {
	if c.dial == nil || !c.dial.done() {
		return Dialed{}, false
	}
	return c.dial.Dialed, true
}

func (d *dialing) done() bool { return d.started == d.Count && d.pending == 0 }

// timeout is how long Poll may wait for events.
func (d *dialing) timeout() time.Duration {
	if d.Rate > 0 && d.started < d.Count {
		return time.Millisecond
	}
	return 100 * time.Millisecond
}

// progress starts attempts while the window has room, and gives up attempts
// when the time is over.
func (c *Client) progress() {
	d := c.dial
	if d.done() {
		return
	}
	if c.clock.Now() > d.deadline {
		for i := range c.conns {
			if s := c.conns[i].state; s != connOpen && s != connClosed {
				c.end(uint32(i), "timeout")
			}
		}
		left := d.Count - d.started
		d.started, d.Failed = d.Count, d.Failed+left
		if left > 0 {
			c.stats.Failed["not begun in time"] += left
		}
		return
	}
	due := d.Count
	if d.Rate > 0 {
		due = min(due, 1+int(float64(c.clock.Now()-d.Start)/1e9*d.Rate))
	}
	for d.pending < d.Window && d.started < due {
		c.connect(d.First + d.started)
		d.started++
	}
}

// connect starts attempt number n of all the client's.
func (c *Client) connect(n int) {
	d := c.dial
	d.pending++
	began := micros(c.clock.Now())
	fail := func(call string, err error) {
		var e syscall.Errno
		errors.As(err, &e)
		c.stats.Failed[call+": "+errnoName(e)]++
		d.finished()
	}
	fd, err := unix.Socket(d.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		fail("socket", err)
		return
	}
	if len(d.from) > 0 {
		// Without it bind(2) chooses a port before the destination is known,
		// which must not be used by any connection of this address (man 7 ip).
		err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err == nil {
			err = unix.Bind(fd, d.from[n/len(d.to)%len(d.from)])
		}
		if err != nil {
			unix.Close(fd)
			fail("bind", err)
			return
		}
	}
	if err := unix.Connect(fd, d.to[n%len(d.to)]); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		fail("connect", err)
		return
	}
	k := conn{fd: int32(fd), number: int32(n), state: connConnecting, began: began}
	k.broadcast.StartAt(d.Next)
	k.direct.StartAt(1)
	c.conns = append(c.conns, k)
	c.request(uint32(len(c.conns) - 1))
}

// micros converts a stamp to the 32 bits that a connection has for it.
func micros(stamp int64) uint32 { return uint32(stamp / 1000) }

// open marks connection i as ready.
func (c *Client) open(i uint32) {
	now := c.clock.Now()
	k := &c.conns[i]
	k.state = connOpen
	c.stats.Open++
	c.stats.Handshakes.Record(int64(micros(now)-k.began) * 1000)
	c.dial.opened(now)
}

// request sends the upgrade request. Over loopback the TCP handshake is usually
// complete when connect(2) returns, so the first try works. Otherwise the
// result is EAGAIN, and EPOLLOUT comes later.
func (c *Client) request(i uint32) {
	k := &c.conns[i]
	c.out = c.wire.appendRequest(c.out[:0], int(k.number))
	n, e := write(k.fd, c.out)
	op, events := unix.EPOLL_CTL_ADD, c.wire.readEvents()
	if k.watched {
		op = unix.EPOLL_CTL_MOD
	}
	switch {
	case e == unix.EAGAIN && !k.watched:
		events = unix.EPOLLOUT
	case e == unix.EAGAIN:
		return // the socket is not ready yet
	case e != 0:
		c.end(i, errnoName(e))
		return
	case n < len(c.out): // a new socket has room for much more
		c.end(i, "short write")
		return
	default:
		k.state = connUpgrading
	}
	ev := unix.EpollEvent{Events: events, Fd: int32(i)}
	if err := unix.EpollCtl(c.epfd, op, int(k.fd), &ev); err != nil {
		c.end(i, "epoll_ctl: "+err.Error())
		return
	}
	k.watched = true
}
