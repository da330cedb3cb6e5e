package bench

import (
	"fmt"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Client holds many WebSocket connections in one epoll set. It starts no
// goroutine: all methods must be called from one, which should be locked to its
// thread. A connection takes one record of 56 bytes; bytes of an incomplete
// frame are kept separately.
type Client struct {
	clock   Clock
	epfd    int
	events  []unix.EpollEvent
	buf     []byte            // one read
	conns   []conn            // index is what epoll returns
	tails   map[uint32][]byte // incomplete frames and heads
	payload []byte            // scratch for an echo
	text    []byte            // scratch for a message
	out     []byte            // scratch for what is sent
	known   []byte            // the last message with one payload that was checked, as it arrived
	knownAs Message           // what it says

	inflater inflater
	event    []byte // scratch for the data of an event

	wire   wire     // how the server of the last Dial is talked to
	dial   *dialing // nil unless connections are being made
	echo   *echoing // nil unless echoes are being sent
	stats  Stats
	polled int64 // when the last batch of events was fetched, 0 if there was none
	gap    int64 // the longest time spent on one batch since Mark
}

// conn is one connection. It has no pointers, so that the collector does not
// scan the records.
type conn struct {
	broadcast, direct Order
	fd                int32
	number            int32  // among all connections of all processes; gives uid and topic
	pings             uint32 // since the last Mark
	sent              uint32 // echoes
	began             uint32 // when connect(2) was called, in µs; wraps
	state             connState
	watched           bool // is in the epoll set
	slow              bool // was told to stop reading, and is not counted since
}

type connState uint8

const (
	connClosed     connState = iota
	connConnecting           // waits for the TCP handshake
	connUpgrading            // has sent the request, waits for the 101
	connGreeting             // has the 101, waits for the message that says it is ready
	connOpen
)

// controlIndex stands for the descriptor of Watch.
const controlIndex = -1

// NewClient makes a client without connections. Close releases it.
func NewClient() (*Client, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &Client{
		clock:  NewClock(),
		epfd:   epfd,
		events: make([]unix.EpollEvent, 256),
		buf:    make([]byte, 64<<10),
		tails:  make(map[uint32][]byte),
		stats:  newStats(),
	}, nil
}

// Watch makes Poll return when fd is readable or at its end.
func (c *Client) Watch(fd int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: controlIndex}
	return unix.EpollCtl(c.epfd, unix.EPOLL_CTL_ADD, fd, &ev)
}

// Poll waits up to timeout for events and handles one batch of them. It
// returns whether the descriptor given to Watch is ready. An error is final.
func (c *Client) Poll(timeout time.Duration) (control bool, err error) {
	if c.dial != nil { // its deadline and rate are checked here
		timeout = min(timeout, c.dial.timeout())
	}
	if c.echo != nil {
		timeout = min(timeout, time.Millisecond)
	}
	if c.polled != 0 {
		c.gap = max(c.gap, c.clock.Now()-c.polled)
	}
	n, err := EpollWait(c.epfd, c.events, timeout)
	c.polled = c.clock.Now()
	if err != nil && err != unix.EINTR {
		return false, fmt.Errorf("epoll_wait: %w", err)
	}
	for i := range max(n, 0) {
		ev := &c.events[i]
		if ev.Fd == controlIndex {
			control = true
			continue
		}
		c.handle(uint32(ev.Fd), ev.Events)
	}
	if c.dial != nil {
		c.progress()
	}
	if c.echo != nil {
		c.sendDue()
	}
	return control, nil
}

func (c *Client) handle(i, events uint32) {
	switch c.conns[i].state {
	case connConnecting:
		c.request(i)
	case connUpgrading, connGreeting, connOpen:
		c.receive(i, events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0)
	}
}

// Drop closes every connection with a reset, which leaves no port in TIME_WAIT.
// Otherwise 15,000 ports would be missing in the next round.
func (c *Client) Drop() {
	for i := range c.conns {
		if c.conns[i].state != connClosed {
			c.shut(uint32(i))
		}
	}
	c.conns, c.dial, c.echo, c.stats.Open, c.stats.Slow = nil, nil, nil, 0, 0
}

// Close drops every connection and releases the epoll set.
func (c *Client) Close() {
	c.Drop()
	unix.Close(c.epfd)
}

// shut closes the descriptor of connection i.
func (c *Client) shut(i uint32) {
	k := &c.conns[i]
	_ = unix.SetsockoptLinger(int(k.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(int(k.fd))
	k.state = connClosed
	delete(c.tails, i)
}

// end counts the loss of connection i, whatever state it was in.
func (c *Client) end(i uint32, cause string) {
	if c.conns[i].state == connOpen {
		c.stats.Ended[cause]++
		c.stats.Open--
		if c.conns[i].slow {
			c.stats.Slow--
		}
	} else {
		c.stats.Failed[cause]++
		c.dial.finished()
	}
	c.shut(i)
}

// errnoName returns the name of an error as in errno(3): "ECONNRESET".
func errnoName(e syscall.Errno) string {
	if s := unix.ErrnoName(e); s != "" {
		return s
	}
	return "errno " + strconv.Itoa(int(e))
}

// read and write are raw system calls: the sockets never block, so the
// scheduler need not know of the call. Telling it would cost as much as a small
// call itself.
func read(fd int32, p []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

func write(fd int32, p []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}
