package poller

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Loop is a set of shards and the addresses they listen on.
type Loop struct {
	opt    Options
	shards []*Shard
	addrs  []netip.AddrPort
	base   time.Time

	arrivals   sync.Pool                    // of *arrival, so that moving sockets leaves no garbage
	missing    [len(optionalSockopts)]error // of listeners; written by New alone
	noRing     sync.Once                    // says that there is no io_uring
	nodeBytes  atomic.Int64                 // backlog of all connections, each frame counted once
	inbound    inbound
	waiting    nodeWaiters
	started    atomic.Bool
	spareProcs bool         // shards may wait with their processor: see Start
	gate       sync.RWMutex // write-locked when descriptors are about to be given back; others hold it from the look whether that is so to their use

	mu           sync.Mutex // guards what follows
	netpolls     []*netpollLoop
	stopping     bool          // Close was called
	closed       bool          // and had all shards stop
	watched      chan struct{} // ends the watchdog
	watchdogDone sync.WaitGroup
}

// New makes the shards and binds the listeners; nothing is accepted before
// Start.
func New(o Options) (*Loop, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	l := &Loop{opt: o, base: time.Now(), watched: make(chan struct{})}
	l.inbound.limit = o.InboundBytes
	l.waiting.shards = int64(o.Shards)
	l.arrivals.New = func() any { return new(arrival) }
	for i := range o.Shards {
		s, err := newShard(l, i)
		if err != nil {
			l.Discard()
			return nil, err
		}
		l.shards = append(l.shards, s)
		l.inbound.shards = append(l.inbound.shards, &s.receiver.accounts)
	}
	if err := l.listen(); err != nil {
		l.Discard()
		return nil, err
	}
	return l, nil
}

// Discard gives back what a loop that was never started has.
func (l *Loop) Discard() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.closeMailboxes()
	for _, s := range l.shards {
		s.discard()
	}
	return nil
}

func (l *Loop) closeMailboxes() {
	l.gate.Lock()
	defer l.gate.Unlock()
	for _, s := range l.shards {
		s.box.close()
	}
}

// Processors returns what GOMAXPROCS should at least be for a number of
// shards. A shard's goroutine makes raw system calls and seldom lets go of its
// processor; with none to spare, the goroutines of HTTP and NATS wait for the
// scheduler's preemption (measured: 7 ms against 0.08 for an HTTP echo).
func Processors(shards int) int { return shards + 2 }

// Start has the shards run, and returns when each has taken its first turn.
// After an error, Close gives back what there is.
func (l *Loop) Start() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.netpolls != nil {
		return ErrClosed
	}
	// One loop at a time: netpoll lets nobody pick a poller while others change.
	pollers.Lock()
	defer pollers.Unlock()
	if err := usePollers(len(l.shards)); err != nil {
		return fmt.Errorf("poller: netpoll: %w", err)
	}
	// As many processors are to be left for HTTP, NATS and the collector as
	// there are shards, whatever these do.
	l.spareProcs = runtime.GOMAXPROCS(0) >= 2*len(l.shards)
	for _, s := range l.shards {
		if err := s.startTimer(); err != nil {
			return fmt.Errorf("poller: timer: %w", err)
		}
		s.timers.last.Store(int64(l.clock()))
		d, err := startNetpoll(s)
		if err != nil {
			return fmt.Errorf("poller: netpoll: shard %d: %w", s.index, err)
		}
		l.netpolls = append(l.netpolls, d)
	}
	l.started.Store(true)
	if !l.opt.ManualTicks {
		l.watchdogDone.Add(1)
		go l.watch()
	}
	return nil
}

// Shard returns one of the shards, Addrs the addresses that are listened on.
// Any goroutine.
func (l *Loop) Shard(i int) *Shard      { return l.shards[i] }
func (l *Loop) Addrs() []netip.AddrPort { return l.addrs }

// clock returns monotonic time.
func (l *Loop) clock() time.Duration { return time.Since(l.base) }

// Tick moves the clock of every shard on by n seconds at once, as a timer
// would that was not read for so long. Only with ManualTicks.
func (l *Loop) Tick(n int) {
	l.gate.RLock()
	defer l.gate.RUnlock()
	for _, s := range l.shards {
		if n > 0 && !s.box.closed.Load() {
			writeCount(s.timers.fd, uint64(n))
		}
	}
}

// StopAccepting closes the listeners of all shards and returns when that is
// done. Connections live on. A loop that was never started accepts nothing.
func (l *Loop) StopAccepting(ctx context.Context) error {
	if !l.started.Load() {
		return nil
	}
	var wg sync.WaitGroup
	for _, s := range l.shards {
		if s.stopped.Load() {
			return ErrClosed
		}
		wg.Add(1)
		if err := s.PostControl(ctx, Mail{Ptr: listenRequest{&wg}}); err != nil {
			return err
		}
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// PostControl posts to the control lane and waits, within ctx, while it is full.
// It returns ErrClosed when the shard has stopped. Any goroutine but a shard's.
func (s *Shard) PostControl(ctx context.Context, m Mail) error {
	for !s.Post(QueueControl, m) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return ErrClosed
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// Close closes every connection and ends the shards. It returns an error if a
// shard has not stopped within ctx, and may then be called again; what the
// shards have is not given back before all have stopped.
func (l *Loop) Close(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	if !l.stopping {
		l.stopping = true
		close(l.watched)
		l.watchdogDone.Wait()
	}
	driven := l.shards[:len(l.netpolls)]
	var errs []error
	for _, s := range driven {
		if err := s.PostControl(ctx, Mail{Ptr: stopRequest{}}); err != nil && !s.stopped.Load() {
			errs = append(errs, fmt.Errorf("poller: shard %d: %w", s.index, err))
		}
	}
	for _, s := range driven {
		select {
		case <-s.done:
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("poller: shard %d did not stop: %w", s.index, ctx.Err()))
		}
	}
	if errs != nil {
		return errors.Join(errs...)
	}
	l.closed = true
	l.closeMailboxes()
	for i, s := range l.shards {
		if i < len(l.netpolls) {
			if err := l.netpolls[i].stop(ctx); err != nil {
				errs = append(errs, fmt.Errorf("poller: shard %d: %w", i, err))
				continue
			}
		}
		s.discard()
	}
	return errors.Join(errs...)
}
