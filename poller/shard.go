package poller

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"
	"unsafe"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"belfry/offheap"
)

// Shard is one reactor: an epoll set and all that belongs to the connections
// in it. Its methods may be called on its own goroutine only, that is from
// within its Handler, except where they say "any goroutine".
type Shard struct {
	// Set before the shard starts.
	loop    *Loop
	index   int
	opt     *Options
	handler Handler
	timerFD int32 // 1 s timer, or an eventfd that Loop.Tick writes
	wakeFD  int32

	// Owned by the shard's goroutine.
	conns
	wheel        *Wheel
	pinned       bool // its goroutine is bound to its thread
	retiredSlots int  // slots given up for good
	events       [256]epollEvent
	scratch      []byte // every read lands here
	sender       sender
	accounts     accounts // of what came in and is not done with
	spareUnread  [][]byte
	deferred     []ID // to be shown what they left unread
	listeners    []*listener
	inbox        inbox
	moves        outboxes
	accepting    acceptState
	ticks        uint32 // ticks not handled yet
	stalled      bool   // the last count of ticks was a stall
	timersDue    bool   // the wheel has more that is due
	work         bool   // the handler has more work
	deadline     time.Duration
	received     uint64 // bytes since the counters were last brought up to date

	// Seen by others.
	box      mailbox
	Counters Counters
	live     atomic.Int64
	lastTick atomic.Int64 // on Loop.clock, ns
	stopped  atomic.Bool
	done     chan struct{} // closed when the shard has stopped
}

// Keys of the events that are no connection: the slot is out of range.
const (
	keyNone     = 0xFFFFFFFF
	keyTimer    = 1<<32 | keyNone
	keyWake     = 2<<32 | keyNone
	keyListener = 16<<32 | keyNone // plus the listener's index <<32
)

func newShard(l *Loop, i int) (*Shard, error) {
	o := &l.opt
	s := &Shard{loop: l, index: i, opt: o, conns: conns{epfd: -1}, timerFD: -1, wakeFD: -1,
		scratch: make([]byte, scratchSize), moves: newOutboxes(i, o.Shards), done: make(chan struct{})}
	var err error
	if s.slab, err = offheap.NewSlab(o.Memory.Owner("connections"), int(connSize)+o.RecordSize, o.MaxConns); err != nil {
		return nil, err
	}
	if s.wheel, err = NewWheel(s.slab, unsafe.Offsetof(conn{}.timer), 0); err != nil {
		return nil, err
	}
	if err := s.openSet(); err != nil {
		s.closeSet()
		return nil, err
	}
	s.box.init([queueCount]int{o.Mailbox + 1024, o.Mailbox, o.Mailbox, o.Mailbox}, s.wakeFD, &l.waiting)
	s.inbox.box = &s.box
	s.sender.init(s)
	s.lastTick.Store(int64(l.clock()))
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
	if s.opt.ManualTicks {
		fd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	} else {
		fd, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	}
	if err != nil {
		return fmt.Errorf("poller: timer: %w", err)
	}
	s.timerFD = int32(fd)
	if e := sysEpollCtl(s.epfd, unix.EPOLL_CTL_ADD, s.wakeFD, unix.EPOLLIN, keyWake); e != 0 {
		return fmt.Errorf("poller: epoll_ctl: %w", e)
	}
	if e := sysEpollCtl(s.epfd, unix.EPOLL_CTL_ADD, s.timerFD, unix.EPOLLIN, keyTimer); e != 0 {
		return fmt.Errorf("poller: epoll_ctl: %w", e)
	}
	return nil
}

// closeSet gives back what newShard took. Only when no turn can run any more.
func (s *Shard) closeSet() {
	for _, fd := range []int32{s.epfd, s.timerFD, s.wakeFD} {
		if fd >= 0 {
			sysClose(fd)
		}
	}
	s.sender.close()
	s.slab.Close()
}

// startTimer has the 1 s timer run, each shard's at another part of the second.
func (s *Shard) startTimer() error {
	if s.opt.ManualTicks {
		return nil
	}
	first := time.Second + time.Duration(s.index)*time.Second/time.Duration(s.opt.Shards)
	spec := unix.ItimerSpec{
		Interval: unix.NsecToTimespec(int64(time.Second)),
		Value:    unix.NsecToTimespec(int64(first)),
	}
	return unix.TimerfdSettime(int(s.timerFD), 0, &spec, nil)
}

// Index returns which of the loop's shards this is. Any goroutine.
func (s *Shard) Index() int { return s.index }

// Now returns the shard's clock: the seconds it has lived. It stands still
// while the process or the machine does.
func (s *Shard) Now() uint32 { return s.now }

// Expired says whether the current piece of work has had its time.
func (s *Shard) Expired() bool { return s.loop.clock() >= s.deadline }

func (s *Shard) sockError(fd int32) error {
	if n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && n != 0 {
		return unix.Errno(n)
	}
	return nil
}

// recoverConn keeps a panic inside the connection it happened in.
func (s *Shard) recoverConn(id ID) {
	if r := recover(); r != nil {
		s.panicked(r)
		if slot, ok := s.Lookup(id); ok {
			s.closeLater(slot, ReasonPanic, fmt.Errorf("panic: %v", r))
		}
	}
}

// Protect calls f, and a panic of it costs the connection that id names (none
// for 0) and nothing else of what the handler is doing.
func (s *Shard) Protect(id ID, f func()) { s.protect(id, f) }

// protect calls f and survives its panic.
func (s *Shard) protect(id ID, f func()) {
	defer s.recoverConn(id)
	f()
}

func (s *Shard) panicked(r any) {
	s.Counters.Panics.Add(1)
	s.opt.Log.Error("panic in a shard", zap.Int("shard", s.index), zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
}
