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

// Loop is a set of shards and the addresses that they listen on.
type Loop struct {
	opt    Options
	shards []*Shard
	addrs  []netip.AddrPort

	listenings []Listening // not changed after New
	base       time.Time   // zero of the loop's clock

	arrivals   sync.Pool                    // of *arrival, so that moving sockets leaves no garbage
	missing    [len(optionalSockopts)]error // options that listeners could not set; only New writes it
	noRing     sync.Once                    // logs that there is no io_uring
	nodeBytes  atomic.Int64                 // bytes in all backlogs, each frame counted once
	input      nodeInput
	waiting    nodeWaiters
	started    atomic.Bool
	spareProcs bool // shards may keep their processor while they wait: see Start

	// Write-locked while mailboxes are closed, before descriptors are given back.
	// Other goroutines read-lock it while they check that and use a descriptor.
	gate sync.RWMutex

	mu           sync.Mutex // guards the fields below
	netpolls     []*netpollLoop
	stopping     bool          // Close was called
	closed       bool          // all shards have stopped, or never started
	watched      chan struct{} // closed to end the watchdog
	watchdogDone sync.WaitGroup
}

// New makes the shards and binds the listeners. It accepts no connections: Start
// does. A loop that is not started is given back by Discard.
func New(o Options) (*Loop, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	l := &Loop{opt: o, base: time.Now(), watched: make(chan struct{})}
	l.input.limit = o.InboundBytes
	l.waiting.shards = int64(o.Shards)
	l.arrivals.New = func() any { return new(arrival) }
	for i := range o.Shards {
		s, err := newShard(l, i)
		if err != nil {
			l.Discard()
			return nil, err
		}
		l.shards = append(l.shards, s)
		l.input.shards = append(l.input.shards, &s.receiver.accounts)
	}
	if err := l.listen(); err != nil {
		l.Discard()
		return nil, err
	}
	return l, nil
}

// Discard gives back what a loop holds that was never started.
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

// Processors returns the lowest GOMAXPROCS that is good for a number of shards. A
// shard's goroutine makes raw system calls and seldom gives up its processor (P).
// If all are in use, the goroutines of HTTP and NATS wait until the scheduler
// preempts a shard (measured for an HTTP echo: 7 ms instead of 0.08 ms).
func Processors(shards int) int { return shards + 2 }

// Start starts the shards, and returns when each has taken its first turn. It
// returns ErrClosed if the loop was started or closed before. After an error, call
// Close.
func (l *Loop) Start() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.netpolls != nil {
		return ErrClosed
	}
	// One loop at a time: netpoll's pollers must not change while one is picked.
	pollers.Lock()
	defer pollers.Unlock()
	if err := usePollers(len(l.shards)); err != nil {
		return fmt.Errorf("poller: netpoll: %w", err)
	}
	// Shards keep their processor while they wait only if as many processors
	// remain for HTTP, NATS and the collector.
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

// Shard returns shard i, from 0. Any goroutine.
func (l *Loop) Shard(i int) *Shard { return l.shards[i] }

// Addrs returns the addresses of the listeners, with the ports that the kernel has
// chosen. The slice must not be changed. Any goroutine.
func (l *Loop) Addrs() []netip.AddrPort { return l.addrs }

// clock returns the monotonic time since the loop was made.
func (l *Loop) clock() time.Duration { return time.Since(l.base) }

// Tick gives every shard n ticks at once, as if its timer had not been read for n
// seconds. Only with Options.ManualTicks. Any goroutine.
func (l *Loop) Tick(n int) {
	l.gate.RLock()
	defer l.gate.RUnlock()
	for _, s := range l.shards {
		if n > 0 && !s.box.closed.Load() {
			writeCount(s.timers.fd, uint64(n))
		}
	}
}

// StopAccepting closes the listeners of all shards, and returns when that is done
// or ctx is done. Connections stay open. For a loop that was never started it does
// nothing. Any goroutine except a shard's.
func (l *Loop) StopAccepting(ctx context.Context) error {
	return l.askWithin(ctx, func(done func()) any { return listenRequest{done} })
}

// ask posts a request to each shard and waits until all have done it.
func (l *Loop) ask(request func(done func()) any) error {
	return l.askWithin(context.Background(), request)
}

// askWithin is ask until ctx is done. For a loop that was never started it does nothing.
func (l *Loop) askWithin(ctx context.Context, request func(done func()) any) error {
	if !l.started.Load() {
		return nil
	}
	var wg sync.WaitGroup
	for _, s := range l.shards {
		if s.stopped.Load() {
			return ErrClosed
		}
		wg.Add(1)
		if err := s.PostControl(ctx, Mail{Ptr: request(wg.Done)}); err != nil {
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

// PostControl posts to QueueControl, and waits while it is full. It returns the
// error of ctx, or ErrClosed when the shard has stopped. Any goroutine except a
// shard's.
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

// Close closes all connections and stops the shards. It returns an error if a shard
// has not stopped when ctx is done; it may then be called again. Memory and
// descriptors are given back only when all shards have stopped. Any goroutine
// except a shard's.
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
