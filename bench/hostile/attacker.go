package hostile

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"belfry/bench"
)

// Bounds of an attacker process.
const (
	window    = 128      // connects in progress at once
	turnBytes = 16 << 10 // bytes that one connection sends before it is the turn of others
	slice     = 500 * time.Millisecond
)

// attacker has all hostile connections of a process, with one thread and one
// epoll set.
type attacker struct {
	clock   bench.Clock
	epfd    int
	events  []unix.EpollEvent
	buf     []byte
	target  unix.Sockaddr
	plan    Plan
	bots    []bot
	free    []uint32 // slots of bots that are closed
	oldest  []uint32 // bots in the order of their connects; only with Plan.Hold
	open    int      // bots that have a socket
	pending int      // bots that are not connected or not upgraded yet
	begun   int      // connects so far
	start   int64
	parked  []uint32 // bots that wait for the cap
	allowed int64    // bytes that the cap allows now
	filled  int64    // stamp up to which allowed was computed
	report  Report
	slices  []uint64 // bytes sent in each time slice
}

// bot is one hostile connection.
type bot struct {
	fd     int32
	state  botState
	events uint32 // events in epoll
	number int
	round  int    // buffers begun
	left   []byte // of the present buffer
	at     int    // of the drip
	due    int64  // of the next byte of the drip
	got    received
	parked bool   // waits for the cap
	ended  bool   // the server has ended it, and it goes on
	eof    bool   // the server sends no more; only with Plan.Stays
	head   []byte // of the answer, until it is complete
}

type botState uint8

const (
	botClosed botState = iota
	botConnecting
	botUpgrading
	botActive
)

// newAttacker opens the epoll set.
func newAttacker() (*attacker, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &attacker{clock: bench.NewClock(), epfd: epfd, events: make([]unix.EpollEvent, 256),
		buf: make([]byte, 64<<10), report: newReport()}, nil
}

// begin starts an attack.
func (a *attacker) begin(plan Plan, o Order) {
	a.plan, a.start = plan, a.clock.Now()
	if a.plan.Cap == 0 {
		a.plan.Cap = gigabit
	}
	a.filled = a.start
	a.target = &unix.SockaddrInet4{Port: int(o.Target.Port()), Addr: o.Target.Addr().As4()}
}

// allConnected says whether every connect has ended, well or not.
func (a *attacker) allConnected() bool {
	return a.start != 0 && a.pending == 0 && (a.begun == a.plan.Count || a.plan.Rate > 0)
}

// poll handles one batch of events. It returns whether commands wait.
func (a *attacker) poll() (commands bool, err error) {
	n, err := bench.EpollWait(a.epfd, a.events, a.timeout())
	if err != nil && err != unix.EINTR {
		return false, fmt.Errorf("epoll_wait: %w", err)
	}
	for i := range max(n, 0) {
		ev := a.events[i]
		if ev.Fd == commandIndex {
			commands = true
			continue
		}
		a.handle(uint32(ev.Fd), ev.Events)
	}
	if a.start != 0 {
		a.connects()
		a.drips()
		a.unpark()
	}
	return commands, nil
}

// commandIndex stands for standard input in the epoll set.
const commandIndex = -1

func (a *attacker) timeout() time.Duration {
	switch {
	case a.start == 0:
		return time.Second
	case a.begun < a.plan.Count, len(a.plan.Drip) > 0:
		return 2 * time.Millisecond
	case len(a.parked) > 0:
		return time.Millisecond
	}
	return 50 * time.Millisecond
}

// connects begins the connects that are due.
func (a *attacker) connects() {
	due := a.plan.Count
	if a.plan.Rate > 0 {
		due = min(due, 1+int(float64(a.clock.Now()-a.start)/1e9*a.plan.Rate))
	}
	for a.begun < due && (a.plan.Rate > 0 || a.pending < window) {
		if a.plan.Hold > 0 && a.open >= a.plan.Hold {
			a.giveWay()
		}
		a.connect(a.begun)
		a.begun++
	}
}

// giveWay closes the oldest connection.
func (a *attacker) giveWay() {
	for len(a.oldest) > 0 {
		i := a.oldest[0]
		a.oldest = a.oldest[1:]
		if a.bots[i].state != botClosed {
			a.shut(i)
			return
		}
	}
}

// source is the address of connection n.
func (a *attacker) source(n int) [4]byte {
	if a.plan.Address != 0 {
		return [4]byte{127, 66, 0, byte(a.plan.Address)}
	}
	return [4]byte{127, 65, byte(n / 250 % 250), byte(n%250 + 1)}
}

func (a *attacker) connect(n int) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		a.report.Failed[err.Error()]++
		return
	}
	if a.plan.Reads && a.plan.Count <= 32 { // it must not be closed for being slow
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
	}
	if !a.plan.Reads {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10) // otherwise it only takes longer to fill
	}
	err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: a.source(n)})
	}
	if err == nil {
		if err = unix.Connect(fd, a.target); err == unix.EINPROGRESS {
			err = nil
		}
	}
	i := a.slot()
	a.bots[i] = bot{fd: int32(fd), state: botConnecting, number: n, events: unix.EPOLLOUT}
	if err == nil {
		ev := unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(i)}
		err = unix.EpollCtl(a.epfd, unix.EPOLL_CTL_ADD, fd, &ev)
	}
	if err != nil {
		a.report.Failed[err.Error()]++
		unix.Close(fd)
		a.bots[i].state = botClosed
		a.free = append(a.free, i)
		return
	}
	a.open++
	a.pending++
	if a.plan.Hold > 0 {
		a.oldest = append(a.oldest, i)
	}
}

func (a *attacker) slot() uint32 {
	if n := len(a.free); n > 0 {
		i := a.free[n-1]
		a.free = a.free[:n-1]
		return i
	}
	a.bots = append(a.bots, bot{})
	return uint32(len(a.bots) - 1)
}

// end counts a connection that the server ended. Nothing happens if it was
// renewed already.
func (a *attacker) end(i uint32, cause string) {
	b := &a.bots[i]
	if b.state == botClosed {
		return
	}
	if b.got.closed != "" {
		cause = b.got.closed
	}
	switch {
	case b.state != botActive:
		a.report.Failed[cause]++
	case !b.ended:
		a.closed(b, cause)
	}
	a.shut(i)
	if a.plan.Again {
		a.plan.Count++
	}
}

// closed counts the end of a connection, by its close frame or by its error.
func (a *attacker) closed(b *bot, cause string) {
	b.ended = true
	a.report.Closed[cause]++
	at := float64(a.clock.Now()-a.start) / 1e9
	if a.report.First == 0 {
		a.report.First = at
	}
	a.report.Last = at
}

// renew resets a connection, and begins a new one.
func (a *attacker) renew(i uint32) {
	a.shut(i)
	a.plan.Count++
}

// shut closes the socket with a reset, which leaves no port in TIME_WAIT.
func (a *attacker) shut(i uint32) {
	b := &a.bots[i]
	if b.state != botActive {
		a.pending--
	}
	a.open--
	_ = unix.SetsockoptLinger(int(b.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(int(b.fd))
	a.bots[i] = bot{}
	a.free = append(a.free, i)
}
