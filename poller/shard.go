package poller

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"
	"unsafe"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
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
	epfd    int32
	timerFD int32 // 1 s timer, or an eventfd that Loop.Tick writes
	wakeFD  int32

	// Owned by the shard's goroutine.
	pinned     bool // its goroutine is bound to its thread
	spoiled    int  // slots given up for good
	slab       *Slab
	wheel      *Wheel
	gen        uint32 // of the connection opened last
	now        uint32 // the shard's clock: ticks it lived
	events     [256]epollEvent
	scratch    []byte // every read lands here
	stage      stage
	failed     []failure // told at the end of the turn
	joined     []byte    // what several queued frames are copied into for one send
	tails      Index[[]byte]
	queues     Index[*queue]
	freeTails  [][]byte
	freeQueues []*queue
	dead       []death
	resumed    []ID
	listeners  []*listener
	outboxes   []outbox // by destination
	waiting    int      // items in outboxes
	accepting  acceptState
	ticks      uint32 // ticks not handled yet
	stalled    bool   // the last count of ticks was a stall
	timersDue  bool   // the wheel has more that is due
	mailDue    bool   // the mailbox was not drained to its end
	mailed     bool   // it was looked into since the last wait
	work       bool   // the handler has more work
	readable   bool   // the eventfd is
	deadline   time.Duration
	written    uint64 // bytes since the counters were last brought up to date
	received   uint64

	// Seen by others.
	box        mailbox
	denied     []atomic.Bool // by shard: it waits for room in LaneMove
	Counters   Counters
	live       atomic.Int64
	backlogged atomic.Int64
	slabBytes  atomic.Int64
	lastTick   atomic.Int64 // on Loop.clock, ns
	stopped    atomic.Bool
	ringed     atomic.Bool   // it sends through io_uring
	done       chan struct{} // closed when the shard has stopped
}

// Keys of the events that are no connection: the slot is out of range.
const (
	keyNone     = 0xFFFFFFFF
	keyTimer    = 1<<32 | keyNone
	keyWake     = 2<<32 | keyNone
	keyListener = 16<<32 | keyNone // plus the listener's index <<32
)

// maxRounds is how many batches of events one turn takes. After a stall it is
// as many as bring up every connection once: all that arrived meanwhile is to
// be read before anybody is judged by a timer.
const maxRounds = 3

// Largest read, and how often one connection is read in a row before others
// get their turn; a set that is level-triggered brings it up again.
const (
	scratchSize = 64 << 10
	maxReads    = 4
)

func newShard(l *Loop, i int) (*Shard, error) {
	o := &l.opt
	s := &Shard{loop: l, index: i, opt: o, epfd: -1, timerFD: -1, wakeFD: -1,
		scratch: make([]byte, scratchSize), outboxes: make([]outbox, o.Shards), denied: make([]atomic.Bool, o.Shards), done: make(chan struct{})}
	var err error
	if s.slab, err = NewSlab(int(connSize)+o.RecordSize, o.MaxConns); err != nil {
		return nil, err
	}
	if s.wheel, err = NewWheel(s.slab, unsafe.Offsetof(conn{}.timer), 0); err != nil {
		return nil, err
	}
	if err := s.openSet(); err != nil {
		s.closeSet()
		return nil, err
	}
	s.box.init([laneCount]int{o.Mailbox + 1024, o.Mailbox, o.Mailbox, o.Mailbox}, s.wakeFD, &l.waiting)
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
	if s.stage.ring != nil {
		s.stage.ring.close()
	}
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

// turn serves one batch of everything the shard has: events first, so that
// nobody's bytes wait for work that can; then mail; then timers and the
// handler's work, each for a bounded time.
//
// It waits up to wait for the first event, in whole milliseconds, and returns
// whether there was one.
func (s *Shard) turn(wait time.Duration) (served bool) {
	if s.stopped.Load() {
		return false
	}
	// The flag is looked at too: the eventfd may be behind many others in the
	// set's order.
	woken, served := s.poll(wait)
	if woken || s.readable || s.box.awake.Load() {
		// The flag is cleared before the mailbox is drained: whoever posts
		// later wakes the shard again. While work remains the eventfd is left
		// readable, and with it the set that netpoll watches.
		if !s.busy() {
			readCount(s.wakeFD)
			s.readable = false
		}
		s.box.awake.Store(false)
		s.drainMail()
	}
	if s.ticks > 0 {
		s.tick()
	}
	if s.timersDue {
		s.deadline = s.loop.clock() + s.opt.Chunk
		s.runTimers()
	}
	s.deadline = s.loop.clock() + s.opt.Chunk
	s.work = false // a panic must not come again at once: the next turn tries
	s.protect(0, func() { s.work = s.handler.OnWork() })
	s.resumeTails()
	s.settled()
	s.flushOutboxes()
	s.Counters.WrittenBytes.Add(s.written)
	s.Counters.ReadBytes.Add(s.received)
	s.written, s.received = 0, 0
	if s.stopped.Load() {
		close(s.done)
		return false
	}
	if s.busy() {
		if !s.readable {
			s.readable = true
			writeCount(s.wakeFD, 1)
		}
	}
	return served
}

// busy says whether there is something to do without any event.
func (s *Shard) busy() bool {
	return s.work || s.timersDue || s.mailDue || len(s.dead) > 0 || s.stage.n > 0
}

// poll waits for the first event no longer than told, and serves what events
// there are for the time of a chunk. The set is level-triggered and hands its
// members out in turn, so what is left comes again. (Thousands of connections
// that can be written to again would otherwise keep single pushes waiting for
// milliseconds.)
func (s *Shard) poll(wait time.Duration) (woken, some bool) {
	n := 0
	if wait > 0 && (s.mailed || !s.loop.spare) {
		n = sysEpollWaitTold(s.epfd, s.events[:], wait)
	} else {
		n = sysEpollWait(s.epfd, s.events[:], wait)
	}
	s.mailed = false
	some = n > 0
	s.deadline = s.loop.clock() + s.opt.Chunk
	for round := 0; ; round++ {
		served, late := 0, false
		for i := range s.events[:n] {
			ev := &s.events[i]
			key := ev.key()
			switch {
			case key == keyWake:
				woken = true
				s.readable = true
			case key == keyTimer:
				s.countTicks()
			case late:
			case uint32(key) != keyNone:
				served++
				s.connEvent(ID(key), ev.events)
				late = served%8 == 0 && !s.stalled && s.Expired()
			default:
				s.accept(s.listeners[(key-keyListener)>>32])
				late = !s.stalled && s.Expired()
			}
		}
		if s.stalled {
			if served == 0 || round > s.slab.Len()/len(s.events)+1 {
				s.stalled = false
				return woken, some
			}
		} else if late || n < len(s.events) || round >= maxRounds {
			return woken, some
		}
		s.reap()
		n = sysEpollWait(s.epfd, s.events[:], 0)
	}
}

// connEvent serves one connection. The generation in the key tells a stale
// event, of a connection closed earlier in the same batch, from its
// successor in the slot.
func (s *Shard) connEvent(id ID, events uint32) {
	slot, ok := s.Lookup(id)
	if !ok {
		return
	}
	defer s.recoverConn(id)
	c := s.at(slot)
	if events&unix.EPOLLOUT != 0 {
		s.flush(slot, c)
		if !s.alive(slot, uint32(id>>32)) {
			return
		}
	}
	switch {
	case events&unix.EPOLLIN != 0 && c.flags&flagPaused == 0:
		s.read(slot, c)
	case events&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
		s.kill(slot, CauseRead, s.sockError(c.fd))
	case events&unix.EPOLLRDHUP != 0:
		s.kill(slot, CauseEOF, nil)
	}
}

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
			s.kill(slot, CausePanic, fmt.Errorf("panic: %v", r))
		}
	}
}

// protect calls f and survives its panic.
func (s *Shard) protect(id ID, f func()) {
	defer s.recoverConn(id)
	f()
}

func (s *Shard) panicked(r any) {
	s.Counters.Panics.Add(1)
	s.opt.Log.Error("panic in a shard", zap.Int("shard", s.index), zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
}

// drainMail hands the mail over, control first. Each lane takes what is there
// when it starts and single and bulk mail only for the time of a chunk, but
// some of it always, so that no lane starves another or the sockets.
func (s *Shard) drainMail() {
	s.mailDue = false
	s.mailed = true
	for _, lane := range Lanes() {
		l := &s.box.lanes[lane]
		s.deadline = s.loop.clock() + s.opt.Chunk
		for n := int64(1); n <= l.size; n++ {
			m, ok := l.ring.pop()
			if !ok {
				break
			}
			if lane != LaneBulk {
				l.taken.Add(-1)
			}
			s.deliver(m)
			if n%16 == 0 && lane != LaneControl && s.Expired() {
				s.mailDue = true
				break
			}
		}
		s.protect(0, s.Submit) // before what is for many
		switch lane {
		case LaneSingle:
			s.box.single.open()
		case LaneMove:
			s.wakeDenied()
		}
	}
}

func (s *Shard) deliver(m Mail) {
	defer s.recoverConn(0)
	switch p := m.Ptr.(type) {
	case *arrival:
		s.arrive(p)
	case stopRequest:
		s.stop()
	case listenRequest:
		s.stopListening()
		p.done.Done()
	default:
		s.handler.OnMail(m)
	}
}

// resumeTails shows connections that were paused what they had left unread.
func (s *Shard) resumeTails() {
	for i := 0; i < len(s.resumed); i++ {
		id := s.resumed[i]
		if slot, ok := s.Lookup(id); ok {
			s.protect(id, func() {
				if c := s.at(slot); c.tail != 0 && c.flags&flagPaused == 0 {
					s.receive(slot, c, 0)
				}
			})
		}
	}
	s.resumed = s.resumed[:0]
}
