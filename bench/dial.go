package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dial describes connections to make.
type Dial struct {
	Addr    netip.AddrPort `json:"addr"`   // server; IPv4
	Source  netip.Addr     `json:"source"` // own address; the zero value lets the kernel choose
	Path    string         `json:"path"`
	First   int            `json:"first"`      // index of the first; gives uid and topic
	Count   int            `json:"count"`      // how many
	Topics  int            `json:"topics"`     // how many different ones; 0 asks for none
	Window  int            `json:"window"`     // at most so many under way at once
	Next    uint32         `json:"next"`       // first broadcast they are to see
	Timeout int64          `json:"timeout_ns"` // for all of them together
}

// Dialed is what became of a Dial.
type Dialed struct {
	Opened int   `json:"opened"`
	Failed int   `json:"failed"`
	Start  int64 `json:"start"` // stamp just before the first connect(2)
	End    int64 `json:"end"`   // stamp of the last 101; Start if there was none
}

// dialing is a Dial under way.
type dialing struct {
	Dial
	Dialed
	to, from unix.SockaddrInet4
	started  int
	pending  int
	deadline int64
	host     string
	request  []byte // scratch
}

// opened and settled note that an attempt ended, well and not.
func (d *dialing) opened(now int64) { d.pending--; d.Opened++; d.End = now }
func (d *dialing) settled()         { d.pending--; d.Failed++ }

// Dial begins to make connections; Poll does the work and Dialed says when it
// is over.
func (c *Client) Dial(d Dial) error {
	switch {
	case c.dial != nil && !c.dial.done():
		return errors.New("connections are already being made")
	case !d.Addr.Addr().Is4():
		return fmt.Errorf("addr: %s is not an IPv4 address and port", d.Addr)
	case d.Source.IsValid() && !d.Source.Is4():
		return fmt.Errorf("source: %s is not an IPv4 address", d.Source)
	case d.Count < 1:
		return fmt.Errorf("count: %d; at least 1", d.Count)
	case d.Window < 1:
		return fmt.Errorf("window: %d; at least 1", d.Window)
	}
	c.dial = &dialing{Dial: d, host: d.Addr.String()}
	c.dial.to = unix.SockaddrInet4{Port: int(d.Addr.Port()), Addr: d.Addr.Addr().As4()}
	if d.Source.IsValid() {
		c.dial.from = unix.SockaddrInet4{Addr: d.Source.As4()}
	}
	c.dial.Start = c.clock.Now()
	c.dial.End = c.dial.Start
	c.dial.deadline = c.dial.Start + d.Timeout
	c.progress()
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

// progress starts attempts while the window has room and gives up on those
// under way when the time is over.
func (c *Client) progress() {
	d := c.dial
	if d.done() {
		return
	}
	if c.clock.Now() > d.deadline {
		for i := range c.conns {
			if s := c.conns[i].state; s == connConnecting || s == connUpgrading {
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
	for d.pending < d.Window && d.started < d.Count {
		c.connect(d.First + d.started)
		d.started++
	}
}

// connect starts attempt number n of all the client's.
func (c *Client) connect(n int) {
	d := c.dial
	d.pending++
	fail := func(call string, err error) {
		var e syscall.Errno
		errors.As(err, &e)
		c.stats.Failed[call+": "+errnoName(e)]++
		d.settled()
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		fail("socket", err)
		return
	}
	if d.Source.IsValid() {
		// Without it bind(2) picks a port before the destination is known,
		// one no other connection of this address has (man 7 ip).
		err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err == nil {
			err = unix.Bind(fd, &d.from)
		}
		if err != nil {
			unix.Close(fd)
			fail("bind", err)
			return
		}
	}
	if err := unix.Connect(fd, &d.to); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		fail("connect", err)
		return
	}
	k := conn{fd: int32(fd), number: int32(n), state: connConnecting}
	k.broadcast.StartAt(d.Next)
	k.direct.StartAt(1)
	c.conns = append(c.conns, k)
	c.request(uint32(len(c.conns) - 1))
}

// request sends the upgrade request. Over loopback the handshake of TCP is
// over when connect(2) returns, so the first try mostly works; else EAGAIN,
// and EPOLLOUT says when.
func (c *Client) request(i uint32) {
	d, k := c.dial, &c.conns[i]
	topic := ""
	if d.Topics > 0 {
		topic = Topic(int(k.number), d.Topics)
	}
	d.request = AppendRequest(d.request[:0], d.host, d.Path, UID(int(k.number)), topic)
	n, e := write(k.fd, d.request)
	op, events := unix.EPOLL_CTL_ADD, uint32(unix.EPOLLIN)
	if k.watched {
		op = unix.EPOLL_CTL_MOD
	}
	switch {
	case e == unix.EAGAIN && !k.watched:
		events = unix.EPOLLOUT
	case e == unix.EAGAIN:
		return // woken for nothing
	case e != 0:
		c.end(i, errnoName(e))
		return
	case n < len(d.request): // a new socket has room for far more
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
