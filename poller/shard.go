package poller

import (
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"belfry/offheap"
	"belfry/ticker"
)

// Shard is one reactor: an epoll set and the connections in it. Its methods may
// be called only on its own goroutine, which means within a call of its Handler,
// except where they say "any goroutine".
type Shard struct {
	// Set before the shard starts.
	loop   *Loop
	index  int
	opt    *Options
	wakeFD int32 // eventfd of the mailbox

	// Owned by the shard's goroutine.
	handler  Handler
	conns    // connections, epoll set, clock
	acceptor acceptor
	receiver receiver
	sender   sender
	inbox    inbox
	moves    outboxes
	timers   timers
	chunk    chunk
	guard    guard
	events   [256]epollEvent // of the last epoll_wait
	pinned   bool            // the goroutine is bound to its thread
	moreWork bool            // OnWork said that there is more

	// Used by other goroutines too.
	box      mailbox
	Counters Counters
	stopped  atomic.Bool   // the shard takes no more turns
	done     chan struct{} // closed when the shard has stopped
}

// Keys of events that do not belong to a connection. Their slot is out of range.
const (
	keyNone     = 0xFFFFFFFF
	keyTimer    = 1<<32 | keyNone
	keyWake     = 2<<32 | keyNone
	keyListener = 16<<32 | keyNone // plus the listener's index <<32
)

func newShard(l *Loop, i int) (*Shard, error) {
	o := &l.opt
	s := &Shard{loop: l, index: i, opt: o, conns: conns{epfd: -1}, wakeFD: -1,
		moves: newOutboxes(i, o.Shards), done: make(chan struct{})}
	s.chunk = chunk{base: l.base, length: o.Chunk}
	s.guard = guard{conns: &s.conns, counters: &s.Counters, log: o.Log, shard: i}
	s.acceptor = acceptor{conns: &s.conns, counters: &s.Counters, log: o.Log, shard: i, open: s.openAccepted, enough: s.acceptedEnough}
	s.timers = timers{conns: &s.conns, chunk: &s.chunk, counters: &s.Counters, fd: -1}
	var err error
	if s.slab, err = offheap.NewSlab(o.Memory.Owner("connections"), int(connSize)+o.RecordSize, o.MaxConns); err != nil {
		return nil, err
	}
	if s.timers.wheel, err = newWheel(s.slab, unsafe.Offsetof(conn{}.timer), 0); err != nil {
		return nil, err
	}
	if err := s.openSet(); err != nil {
		s.closeSet()
		return nil, err
	}
	s.box.init([queueCount]int{o.Mailbox + 1024, o.Mailbox, o.Mailbox, o.Mailbox}, s.wakeFD, &l.waiting)
	s.inbox.box = &s.box
	s.sender.init(s)
	s.receiver.init(s)
	s.timers.last.Store(int64(l.clock()))
	s.handler = o.NewHandler(s)
	return s, nil
}

func (s *Shard) openSet() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("poller: epoll_create1: %w", err)
	}
	s.epfd = int32(fd)
	if fd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return fmt.Errorf("poller: eventfd: %w", err)
	}
	s.wakeFD = int32(fd)
	if err := s.timers.openFD(s.opt.ManualTicks); err != nil {
		return err
	}
	if e := sysEpollCtl(s.epfd, unix.EPOLL_CTL_ADD, s.wakeFD, unix.EPOLLIN, keyWake); e != 0 {
		return fmt.Errorf("poller: epoll_ctl: %w", e)
	}
	if e := sysEpollCtl(s.epfd, unix.EPOLL_CTL_ADD, s.timers.fd, unix.EPOLLIN, keyTimer); e != 0 {
		return fmt.Errorf("poller: epoll_ctl: %w", e)
	}
	return nil
}

// closeSet gives back what newShard took. No turn may run any more.
func (s *Shard) closeSet() {
	for _, fd := range []int32{s.epfd, s.timers.fd, s.wakeFD} {
		if fd >= 0 {
			sysClose(fd)
		}
	}
	s.sender.close()
	s.slab.Close()
}

// startTimer starts the timer of 1 s. The shards' timers expire at different
// parts of the second, the first one together with the process's tickers.
func (s *Shard) startTimer() error {
	if s.opt.ManualTicks {
		return nil
	}
	return s.timers.start(ticker.Until(time.Second) + time.Duration(s.index)*time.Second/time.Duration(s.opt.Shards))
}

// Index returns the shard's number in its loop, from 0. Any goroutine.
func (s *Shard) Index() int { return s.index }

// Now returns the shard's clock in ticks: the seconds in which the shard ran.
// It does not count while the process or the machine is stopped.
func (s *Shard) Now() uint32 { return s.now }

// Expired says whether the current chunk is over (Options.Chunk). The handler
// then returns and goes on in a later turn.
func (s *Shard) Expired() bool { return s.chunk.over() }

// CheckClock is called within OnData after work that took long for the number of
// bytes. The shard then looks at the clock before it serves another connection.
func (s *Shard) CheckClock() { s.chunk.check = true }

// Protect calls f and catches its panic, which closes the connection named by
// id and interrupts nothing else that the handler is doing. With id 0 no
// connection is closed.
func (s *Shard) Protect(id ID, f func()) { s.guard.protect(id, f) }
