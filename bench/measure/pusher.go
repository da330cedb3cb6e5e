package measure

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"belfry/bench"
	"belfry/bench/publish"
)

// PushOptions says how messages are pushed to users. Connection n of the clients
// belongs to user n modulo Users.
type PushOptions struct {
	Request     *publish.Request // with the user in it
	Users       int
	Connections int
	Concurrency int           // requests in progress at once; at most Users
	Rate        float64       // messages a second, sent whether or not the ones before were answered; 0 sends the next when the last was answered
	Duration    time.Duration // of sending
	Size        int           // of the payload, in bytes
}

// sessionsOf returns how many connections a user has.
func (o *PushOptions) sessionsOf(user int) int {
	n := o.Connections / o.Users
	if user < o.Connections%o.Users {
		n++
	}
	return n
}

// pusher posts messages to users over many HTTP connections, with one epoll set
// on one thread. A goroutine for each connection would take processor time from
// the measured server on the same machine.
//
// Each connection has its own users, so that the messages to one user are sent
// one after the other and their order can be checked.
type pusher struct {
	PushOptions
	clock bench.Clock
	epfd  int
	conns []apiConn
	idle  []int    // connections without a request in progress, the longest idle first
	seqs  []uint32 // the last number of each user
	buf   []byte
	until int64 // when the last message is sent
	Pushed
}

// apiConn is one connection with its request.
type apiConn struct {
	fd    int
	user  int   // of the present request, or the next
	stamp int64 // when the message was due
	first int64 // when the message was first offered
	retry int64 // when to offer the message again, 0 if it was not refused
	in    []byte
	out   []byte
	busy  bool
}

// Pushed is what became of the pushes.
type Pushed struct {
	Began      int64            `json:"-"` // stamp before the first request
	Accepted   int              `json:"accepted"`
	Deliveries uint64           `json:"deliveries"` // that these must cause
	Refused    int              `json:"refused"`    // answered with 503 or 429, and offered again
	Errors     map[int]int      `json:"errors,omitempty"`
	Answers    *bench.Histogram `json:"-"` // message due → answer
	Late       int64            `json:"late_ns"`
	Took       time.Duration    `json:"took_ns"`
	CPU        time.Duration    `json:"cpu_ns"` // of the pusher
}

// newPusher connects to the API.
func newPusher(o PushOptions) (*pusher, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	p := &pusher{PushOptions: o, clock: bench.NewClock(), epfd: epfd, buf: make([]byte, 64<<10), seqs: make([]uint32, o.Users),
		Pushed: Pushed{Errors: make(map[int]int), Answers: bench.NewHistogram()}}
	for i := range o.Concurrency {
		p.conns = append(p.conns, apiConn{fd: -1, user: i})
		p.idle = append(p.idle, i)
		if err := p.connect(i); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

// connect makes connection i.
func (p *pusher) connect(i int) error {
	fd, err := connectFD(p.Request.Address)
	if err != nil {
		p.conns[i].fd = -1
		return fmt.Errorf("the API, connection %d: %w", i+1, err)
	}
	p.conns[i].fd = fd
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// threadCPU is the processor time of the calling thread.
func threadCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// connectFD connects and takes the descriptor out of Go's poller.
func connectFD(address string) (int, error) {
	c, err := net.DialTimeout("tcp", address, publish.Timeout)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	fd := -1
	if err2 := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err2 != nil {
		return 0, err2
	}
	return fd, err
}

func (p *pusher) close() {
	for _, l := range p.conns {
		if l.fd >= 0 {
			unix.Close(l.fd)
		}
	}
	unix.Close(p.epfd)
}

// run pushes for Duration: at Rate, or on each connection the next
// message when the last was answered. It waits for the last answers. It calls
// progress from time to time.
func (p *pusher) run(ctx context.Context, progress func(*Pushed)) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p.Began = p.clock.Now()
	used := threadCPU()
	defer func() {
		p.Took, p.CPU = time.Duration(p.clock.Now()-p.Began), threadCPU()-used
	}()
	p.until = p.Began + int64(p.Duration)
	due := float64(p.Began)
	events := make([]unix.EpollEvent, 256)
	last, shown := p.Began, p.Began
	for {
		now := p.clock.Now()
		if err := p.fill(now, &due); err != nil {
			return err
		}
		if len(p.idle) == len(p.conns) && (now >= p.until && (p.Rate == 0 || due >= float64(p.until)) || ctx.Err() != nil) {
			return nil
		}
		if ctx.Err() != nil {
			p.until, due = min(p.until, now), float64(p.until)
		}
		n, err := bench.EpollWait(p.epfd, events, time.Millisecond)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for _, ev := range events[:max(n, 0)] {
			if err := p.receive(int(ev.Fd)); err != nil {
				return err
			}
			last = now
		}
		if len(p.idle) == len(p.conns) {
			last = now // no request is in progress
		}
		if now-last > int64(publish.Timeout) {
			return fmt.Errorf("no answer from the API for %v", publish.Timeout)
		}
		if now-shown > int64(100*time.Millisecond) {
			shown = now
			progress(&p.Pushed)
		}
	}
}

// fill gives idle connections their next message.
func (p *pusher) fill(now int64, due *float64) error {
	resting := p.idle[:0]
	for _, i := range p.idle {
		l := &p.conns[i]
		switch {
		case l.retry > 0 && now-l.first > int64(publish.RetryFor):
			return fmt.Errorf("a push was refused for %v", publish.RetryFor)
		case l.retry > 0 && l.retry <= now:
		case l.retry > 0:
			resting = append(resting, i)
			continue
		case p.Rate == 0 && now < p.until:
			l.stamp, l.first = now, now
		case p.Rate > 0 && *due <= float64(now) && *due < float64(p.until):
			l.stamp, l.first = int64(*due), now
			p.Late = max(p.Late, now-l.stamp)
			*due += 1e9 / p.Rate
		default:
			resting = append(resting, i)
			continue
		}
		if err := p.send(i); err != nil {
			return err
		}
	}
	p.idle = resting
	return nil
}

// send offers the message to the connection's user.
func (p *pusher) send(i int) error {
	l := &p.conns[i]
	m := bench.Message{Stream: bench.Direct, User: uint32(l.user), Seq: p.seqs[l.user] + 1, Stamp: l.stamp}
	l.out = p.Request.Append(l.out[:0], m, p.Size)
	l.busy, l.retry = true, 0
	n, err := unix.SendmsgN(l.fd, l.out, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	if err != nil {
		return fmt.Errorf("sending to the API: %w", err)
	}
	if n < len(l.out) { // the socket's buffer has at most one request
		return fmt.Errorf("sending to the API: %d of %d bytes", n, len(l.out))
	}
	return nil
}

// receive reads an answer.
func (p *pusher) receive(i int) error {
	l := &p.conns[i]
	n, err := unix.Read(l.fd, p.buf)
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return nil
	case err != nil:
		return fmt.Errorf("reading from the API: %w", err)
	case n == 0 && l.busy:
		return errors.New("the API closed a connection with a request on it")
	case n == 0: // it was idle for too long
		unix.Close(l.fd)
		return p.connect(i)
	}
	data := p.buf[:n]
	if len(l.in) > 0 {
		l.in = append(l.in, data...)
		data = l.in
	}
	status, whole, body, err := publish.ParseResponse(data)
	if err != nil {
		return err
	}
	if whole == 0 {
		if len(l.in) == 0 {
			l.in = append(l.in, data...)
		}
		return nil
	}
	if !l.busy || whole != len(data) {
		return fmt.Errorf("the API sent an answer without a request: %.100q", data)
	}
	l.in, l.busy = l.in[:0], false
	return p.answered(i, status, body)
}

// answered counts an answer and moves the connection to its next user.
func (p *pusher) answered(i, status int, body []byte) error {
	l := &p.conns[i]
	p.idle = append(p.idle, i)
	now := p.clock.Now()
	switch {
	case p.Request.Accepts(status, body):
		p.Accepted++
		p.seqs[l.user]++
		p.Deliveries += uint64(p.sessionsOf(l.user))
		p.Answers.Record(now - l.stamp)
	case publish.Busy(status):
		p.Refused++
		l.retry = now + int64(publish.Pause(time.Duration(now-l.first)))
		return nil
	default:
		p.Errors[status]++
		return fmt.Errorf("a push was answered with status %d: %.200s", status, body)
	}
	if l.user += len(p.conns); l.user >= p.Users {
		l.user = i
	}
	return nil
}
