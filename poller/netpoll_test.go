package poller

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// scriptedListener is a netpoll.Listener over an eventfd, which is readable for as
// long as a test wants.
type scriptedListener struct {
	fd     int
	accept func(call int) (net.Conn, error)
	calls  atomic.Int64
}

func (l *scriptedListener) Accept() (net.Conn, error) { return l.accept(int(l.calls.Add(1))) }
func (l *scriptedListener) Fd() int                   { return l.fd }
func (l *scriptedListener) Close() error              { return nil }
func (l *scriptedListener) Addr() net.Addr            { return setAddr{} }

// serveScript makes netpoll serve a readable listener. It returns a function that
// ends it, and the channel that gets the result of Serve.
func serveScript(t *testing.T, l *scriptedListener) (served chan error, connected *atomic.Int64) {
	t.Helper()
	pollers.Lock()
	err := usePollers(1)
	pollers.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if l.fd, err = unix.Eventfd(1, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	connected = new(atomic.Int64)
	loop, err := netpoll.NewEventLoop(
		func(context.Context, netpoll.Connection) error { connected.Add(1); return nil },
		netpoll.WithOnPrepare(func(netpoll.Connection) context.Context { connected.Add(1); return nil }),
		netpoll.WithOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context { connected.Add(1); return ctx }))
	if err != nil {
		t.Fatal(err)
	}
	served = make(chan error, 1)
	go func() { served <- loop.Serve(l) }()
	t.Cleanup(func() {
		eventually(t, "first call", func() bool { return l.calls.Load() > 0 })
		if err := loop.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		unix.Close(l.fd)
	})
	return served, connected
}

// The contract on which the poller depends: after (nil, nil) netpoll makes no
// connection and ends nothing. It calls Accept again while the descriptor is
// readable, from one goroutine at a time, and no longer.
func TestNetpollNilNil(t *testing.T) {
	l := new(scriptedListener)
	inside := new(atomic.Int64)
	l.accept = func(call int) (net.Conn, error) {
		if inside.Add(1) != 1 {
			t.Error("Accept is called while it runs")
		}
		defer inside.Add(-1)
		if call == 1000 {
			readCount(int32(l.fd))
		}
		return nil, nil
	}
	served, connected := serveScript(t, l)
	eventually(t, "1000 calls while the descriptor is readable", func() bool { return l.calls.Load() == 1000 })
	// The last call made it unreadable. An event of another descriptor in the same
	// poller comes after any further call.
	for range 20 {
		other := newRig(t, Options{Shards: 1, Listen: []PortRange{}}, func(h *echoHandler) { h.mail = runMail })
		other.on(0, func(*Shard) {})
	}
	if n := l.calls.Load(); n != 1000 {
		t.Errorf("%d calls of Accept, want 1000: it was not readable any more", n)
	}
	writeCount(int32(l.fd), 1)
	eventually(t, "called again when readable again", func() bool { return l.calls.Load() > 1000 })
	if n := connected.Load(); n != 0 {
		t.Errorf("netpoll made %d connections", n)
	}
	select {
	case err := <-served:
		t.Errorf("Serve has ended: %v", err)
	default:
	}
}

// Accept must never return an error, reason 1: for EMFILE netpoll stops watching
// the descriptor and calls Accept from another goroutine.
func TestNetpollOutOfDescriptors(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE} {
		l := new(scriptedListener)
		l.accept = func(call int) (net.Conn, error) {
			if call == 1 {
				readCount(int32(l.fd)) // only the goroutine can call Accept now
			}
			if call <= 3 {
				return nil, errno
			}
			return nil, nil
		}
		_, connected := serveScript(t, l)
		eventually(t, "calls without an event", func() bool { return l.calls.Load() == 4 })
		if connected.Load() != 0 {
			t.Error("netpoll made a connection")
		}
	}
}

// Accept must never return an error, reason 2: an error that says "closed" ends
// Serve.
func TestNetpollClosed(t *testing.T) {
	l := new(scriptedListener)
	l.accept = func(int) (net.Conn, error) { return nil, errors.New("use of closed network connection") }
	served, _ := serveScript(t, l)
	select {
	case err := <-served:
		if err == nil {
			t.Error("Serve ended without an error")
		}
	case <-time.After(time.Minute):
		t.Error("Serve goes on")
	}
}

// A shard's epoll set always returns (nil, nil), even if a turn panics outside of
// the handler.
func TestEpollSetReturnsNothing(t *testing.T) {
	r := newRig(t, Options{Shards: 1}, func(h *echoHandler) { h.mail = runMail })
	c := r.dial()
	ask(t, c, "one")
	s := &Shard{loop: r.Loop, opt: &r.opt} // without a mailbox
	s.guard = guard{conns: &s.conns, counters: &s.Counters, log: r.opt.Log}
	broken := epollSet{shard: s, netpoll: &netpollLoop{running: make(chan struct{})}}
	if conn, err := broken.Accept(); conn != nil || err != nil {
		t.Errorf("Accept returns %v, %v", conn, err)
	}
	if broken.shard.Counters.Panics.Load() == 0 {
		t.Error("the panic was not counted")
	}
	ask(t, c, "two")
}

// leakCheck fails the test if goroutines are left, other than netpoll's pollers,
// which live as long as the process.
func leakCheck(t *testing.T) {
	t.Helper()
	var err error
	for begun := time.Now(); time.Since(begun) < 10*time.Second; { // longer than goleak waits by itself
		if err = goleak.Find(
			goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll.(*defaultPoll).Wait"),
			goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll.(*server).OnRead.func1"),
		); err == nil {
			return
		}
	}
	t.Error(err)
}
