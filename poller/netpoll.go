package poller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/cloudwego/netpoll"
)

// netpoll's pollers belong to the process, and so does this record of how many
// there are.
var pollers struct {
	sync.Mutex
	n int
}

// usePollers gives netpoll n pollers, if it has fewer. It never reduces them:
// netpoll would close pollers that shards use. The caller holds the lock until
// netpoll has picked the pollers for its shards.
func usePollers(n int) error {
	if n <= pollers.n {
		return nil
	}
	if err := netpoll.Configure(netpoll.Config{PollerNum: n, LoadBalance: netpoll.RoundRobin, LoggerOutput: io.Discard}); err != nil {
		return err
	}
	pollers.n = n
	return nil
}

// epollSet makes a shard's epoll set a netpoll.Listener.
//
// netpoll watches the descriptor that Fd returns and calls Accept whenever it
// is readable. An epoll set is itself a descriptor that can be watched, and is
// readable while it has events (man 7 epoll). So Accept takes a turn of the shard
// and returns (nil, nil), which netpoll's own listener returns for EAGAIN. netpoll
// then makes no connection of its own, which would cost more than a kilobyte.
//
// Accept must never return an error: for EMFILE and ENFILE netpoll would call it
// from another goroutine, and for an error that says "closed" it would end the
// loop.
type epollSet struct {
	shard   *Shard
	netpoll *netpollLoop
}

func (l epollSet) Accept() (net.Conn, error) {
	defer func() {
		// turn catches the handler's panics. This one is a fault of the poller.
		if r := recover(); r != nil {
			l.shard.guard.panicked(r)
		}
	}()
	l.netpoll.first.Do(l.netpoll.firstTurn)
	l.shard.pin()
	l.shard.turn(0)
	for n := 0; n < maxIdleWaits && !l.shard.stopped.Load() && !l.shard.busy() && l.shard.turn(idleWait); n++ {
	}
	return nil, nil
}

// A shard without work waits for events itself for idleWait, and does so maxIdleWaits
// times in a row at most, before it returns to netpoll. Returning costs: netpoll
// then calls runtime.Gosched, which hands a goroutine that is bound to a thread to
// another thread and back (docs/adr/0008-idle-wait.md). The number is limited
// because netpoll has a few other descriptors to look at.
const (
	idleWait     = 5 * time.Millisecond
	maxIdleWaits = 64
)

// pin binds the goroutine that takes the shard's turns to its thread. The Go
// scheduler would move a busy shard from thread to thread, and the kernel would
// have to find a processor for each (docs/adr/0006-pinned-shards.md).
func (s *Shard) pin() {
	if !s.pinned {
		s.pinned = true
		runtime.LockOSThread() // never unlocked: the goroutine is netpoll's and lives as long as the process
	}
}

func (l epollSet) Fd() int        { return int(l.shard.epfd) }
func (l epollSet) Close() error   { return nil } // Loop.Close closes the set, after the shard has stopped
func (l epollSet) Addr() net.Addr { return setAddr{} }

type setAddr struct{}

func (setAddr) Network() string { return "epoll" }
func (setAddr) String() string  { return "epoll set" }

// netpollLoop makes netpoll call a shard's turns until it is stopped.
type netpollLoop struct {
	loop    netpoll.EventLoop
	done    chan error    // what Serve returned
	running chan struct{} // closed by the first turn
	first   sync.Once
}

func (d *netpollLoop) firstTurn() { close(d.running) }

// startTimeout is how long netpoll may take to call a shard for the first time.
const startTimeout = 10 * time.Second

func startNetpoll(s *Shard) (*netpollLoop, error) {
	loop, err := netpoll.NewEventLoop(func(context.Context, netpoll.Connection) error { return nil })
	if err != nil {
		return nil, err
	}
	d := &netpollLoop{loop: loop, done: make(chan error, 1), running: make(chan struct{})}
	s.box.wake()
	go func() { d.done <- loop.Serve(epollSet{s, d}) }()
	late := time.NewTimer(startTimeout)
	defer late.Stop()
	select {
	case <-d.running:
		return d, nil
	case err := <-d.done:
		return nil, err
	case <-late.C:
		return nil, fmt.Errorf("the epoll set was not looked at within %v", startTimeout)
	}
}

// stop takes the epoll set out of netpoll's poller. It does not wait for a running
// Accept: the shard has stopped before, and takes no more turns.
func (d *netpollLoop) stop(ctx context.Context) error {
	for {
		// Shutdown has no effect before Serve has started, so try again.
		err := d.loop.Shutdown(ctx)
		select {
		case serveErr := <-d.done:
			return errors.Join(err, serveErr)
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		default:
		}
	}
}
