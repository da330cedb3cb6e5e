package bench

import (
	"fmt"
	"maps"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Client holds many WebSocket connections in one epoll set. It starts no
// goroutine: Dial, Poll and everything else are called from one, which should
// be locked to its thread. A connection costs one record of 48 bytes; bytes
// of a frame that is not complete yet are kept on the side while they wait.
type Client struct {
	clock   Clock
	epfd    int
	events  []unix.EpollEvent
	buf     []byte            // one read
	conns   []conn            // index = what epoll hands back
	tails   map[uint32][]byte // beginnings of frames and heads
	pong    []byte            // scratch
	known   []byte            // the last payload that was checked
	knownAs message           // what it says
	dial    *dialing          // nil unless connections are being made
	stats   Stats
	latency *latency
}

type message struct {
	stream Stream
	seq    uint32
	stamp  int64
}

// conn is one connection. It has no pointers, so that the collector does not
// look at the records.
type conn struct {
	broadcast, direct Order
	fd                int32
	number            int32  // among all connections of all processes; gives uid and topic
	pings             uint32 // since the last Mark
	state             connState
	watched           bool // is in the epoll set
}

type connState uint8

const (
	connClosed     connState = iota
	connConnecting           // waits for the TCP handshake
	connUpgrading            // has sent the request, waits for the 101
	connOpen
)

// controlIndex stands for the descriptor watched by Watch.
const controlIndex = -1

// Stats is what a client has seen.
type Stats struct {
	Open      int            `json:"open"`
	Failed    map[string]int `json:"failed,omitempty"` // connections never made, by cause
	Ended     map[string]int `json:"ended,omitempty"`  // open connections lost, by cause
	Broadcast Tally          `json:"broadcast"`
	Direct    Tally          `json:"direct"`
	Corrupt   uint64         `json:"corrupt"` // messages that are not the generator's, or not as they were sent
	Pings     uint64         `json:"pings"`
	Pongs     uint64         `json:"pongs"`      // sent in answer
	PongsLost uint64         `json:"pongs_lost"` // not sent: the socket was full

	LastBroadcast int64 `json:"last_broadcast"` // stamps of the latest receipts
	LastDirect    int64 `json:"last_direct"`

	// Computed by Client.Stats.
	MinPings uint32    `json:"min_pings"` // of the open connection that got the fewest since Mark; the largest uint32 if none is open
	Missing  uint64    `json:"missing"`   // broadcasts sent but not received, over all open connections
	Latency  Quantiles `json:"latency"`   // of the direct stream, stamp in the payload → receipt
}

// NewClient makes an empty client. Close releases it.
func NewClient() (*Client, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &Client{
		clock:   NewClock(),
		epfd:    epfd,
		events:  make([]unix.EpollEvent, 256),
		buf:     make([]byte, 64<<10),
		tails:   make(map[uint32][]byte),
		stats:   Stats{Failed: make(map[string]int), Ended: make(map[string]int)},
		latency: newLatency(),
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
	if c.dial != nil { // its deadline is looked at here
		timeout = min(timeout, 100*time.Millisecond)
	}
	n, err := unix.EpollWait(c.epfd, c.events, int((timeout+time.Millisecond-1)/time.Millisecond))
	if err != nil && err != unix.EINTR {
		return false, fmt.Errorf("epoll_wait: %w", err)
	}
	for i := range max(n, 0) {
		ev := &c.events[i]
		if ev.Fd == controlIndex {
			control = true
			continue
		}
		c.handle(uint32(ev.Fd))
	}
	if c.dial != nil {
		c.progress()
	}
	return control, nil
}

func (c *Client) handle(i uint32) {
	switch c.conns[i].state {
	case connConnecting:
		c.request(i)
	case connUpgrading, connOpen:
		c.receive(i)
	}
}

// Stats returns the counters. next is the broadcast number that follows the
// last one sent; 0 leaves Missing at 0.
func (c *Client) Stats(next uint32) Stats {
	s := c.stats
	s.Failed, s.Ended = maps.Clone(s.Failed), maps.Clone(s.Ended)
	s.MinPings = ^uint32(0)
	for i := range c.conns {
		k := &c.conns[i]
		if k.state != connOpen {
			continue
		}
		s.MinPings = min(s.MinPings, k.pings)
		if n := k.broadcast.Next(); n < next {
			s.Missing += uint64(next - n)
		}
	}
	s.Latency = c.latency.quantiles()
	return s
}

// Mark sets the count of pings of every connection back to 0.
func (c *Client) Mark() {
	for i := range c.conns {
		c.conns[i].pings = 0
	}
}

// Drop closes every connection with a reset, which leaves no port in
// TIME_WAIT: 15,000 of them would starve the next round.
func (c *Client) Drop() {
	for i := range c.conns {
		if c.conns[i].state != connClosed {
			c.shut(uint32(i))
		}
	}
	c.conns, c.dial, c.stats.Open = nil, nil, 0
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
	} else {
		c.stats.Failed[cause]++
		c.dial.settled()
	}
	c.shut(i)
}

// errnoName gives causes the names of errno(3): "ECONNRESET".
func errnoName(e syscall.Errno) string {
	if s := unix.ErrnoName(e); s != "" {
		return s
	}
	return "errno " + strconv.Itoa(int(e))
}

// read and write are raw: the sockets never block, so the scheduler need not
// hear of the call, which would cost as much again as a small one.
func read(fd int32, p []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), e
}

func write(fd int32, p []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}
