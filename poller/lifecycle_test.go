package poller

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func closeLoop(t *testing.T, l *Loop) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// Busy loops are made and closed; nothing of them is left, and Close always ends.
func TestCloseManyTimes(t *testing.T) {
	round := func() {
		r := newRig(t, Options{Mailbox: 64}, nil) // the race detector is slow with large rings
		for range 4 {
			c := r.dial()
			ask(t, c, "hello")
			defer c.Close()
		}
		r.dial() // and one that may not be accepted yet
		r.Loop.Tick(1)
		closeLoop(t, r.Loop)
		closeLoop(t, r.Loop)
		if n := r.Stats().Connections; n != 0 {
			t.Fatalf("%d connections after Close", n)
		}
	}
	round() // starts netpoll's pollers
	before := openDescriptors(t)
	for range 50 {
		round()
	}
	// The rigs close their ends only when the test ends.
	if n := openDescriptors(t); n > before+50 {
		t.Errorf("%d descriptors, %d before", n, before)
	}
	leakCheck(t)
}

// A loop that was never started gives everything back too.
func TestDiscard(t *testing.T) {
	o := Options{Shards: 3, Listen: []PortRange{{Host: "127.0.0.1"}}, NewHandler: func(s *Shard) Handler { return &echoHandler{s: s} }}
	before := openDescriptors(t)
	for _, end := range []func(*Loop) error{
		func(l *Loop) error { return l.Discard() },
		func(l *Loop) error { return l.Close(context.Background()) },
	} {
		l, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ours, peer := socketPair(t)
		defer unix.Close(peer)
		if err := l.Adopt(1, Socket{FD: ours}); err != nil {
			t.Fatal(err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.StopAccepting(ended); err != nil { // nothing to wait for
			t.Errorf("StopAccepting before Start: %v", err)
		}
		for range 2 {
			if err := end(l); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := unix.Read(peer, make([]byte, 1)); err != nil {
			t.Errorf("an adopted socket was not closed: %v", err)
		}
		if err := l.Start(); !errors.Is(err, ErrClosed) {
			t.Errorf("Start after the end: %v", err)
		}
	}
	if n := openDescriptors(t); n != before+2 {
		t.Errorf("%d descriptors, want %d", n, before+2)
	}
}

func TestSeveralLoops(t *testing.T) {
	var rigs []*rig
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i := range 6 {
		wg.Go(func() { // at the same time: netpoll gets more pollers while loops run
			r := newRig(t, Options{Shards: 1 + i%3}, nil)
			mu.Lock()
			defer mu.Unlock()
			rigs = append(rigs, r)
		})
	}
	wg.Wait()
	for len(rigs) > 0 {
		for _, r := range rigs {
			c := r.dial()
			ask(t, c, "hello")
			c.Close()
		}
		closeLoop(t, rigs[0].Loop)
		rigs = rigs[1:]
	}
}

// OnStop is the last call to a handler, even if mail, moving sockets and ticks come
// in the same turn.
func TestNothingAfterStop(t *testing.T) {
	var stopped, late bool
	after := func() {
		if stopped {
			late = true
		}
	}
	var h *stopHandler
	l, err := New(Options{Shards: 1, ManualTicks: true, NoRing: true, NewHandler: func(s *Shard) Handler {
		h = &stopHandler{echoHandler{s: s, reasons: make(chan Reason, 8), timers: make(chan uint32, 8)}, after, func() {
			after()
			stopped = true
			s.Post(QueueSingle, Mail{})
			ours, peer := socketPair(t)
			fileConn(t, peer)
			if err := s.loop.Adopt(0, Socket{FD: ours}); err != nil {
				t.Errorf("Adopt: %v", err)
			}
			writeCount(s.timers.fd, 1)
		}}
		return h
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	ours, peer := socketPair(t)
	c := fileConn(t, peer)
	if err := l.Adopt(0, Socket{FD: ours}); err != nil {
		t.Fatal(err)
	}
	ask(t, c, "hello")
	before := openDescriptors(t)
	closeLoop(t, l)
	if !stopped || late {
		t.Errorf("OnStop called: %v, something after it: %v", stopped, late)
	}
	if got := <-h.reasons; got != ReasonStop {
		t.Errorf("cause %d, want CauseStop", got)
	}
	// The epoll set, timer, eventfd and connection are closed (there is no ring).
	// The peer of the socket that came too late is new.
	if n := openDescriptors(t); n != before-4+1 {
		t.Errorf("%d descriptors, want %d", n, before-4+1)
	}
	if err := l.Adopt(0, Socket{}); !errors.Is(err, ErrClosed) && err == nil {
		t.Errorf("Adopt after Close: %v", err)
	}
	if err := l.StopAccepting(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("StopAccepting after Close: %v", err)
	}
}

type stopHandler struct {
	echoHandler
	after, stop func()
}

func (h *stopHandler) OnOpen(slot uint32, _ any)           { h.after() }
func (h *stopHandler) OnMoved(uint32, any)                 { h.after() }
func (h *stopHandler) OnMail(Mail)                         { h.after() }
func (h *stopHandler) OnTick()                             { h.after() }
func (h *stopHandler) OnWork() bool                        { h.after(); return false }
func (h *stopHandler) OnStop()                             { h.stop() }
func (h *stopHandler) OnClose(s uint32, c Reason, e error) { h.after(); h.echoHandler.OnClose(s, c, e) }

// Connections that the kernel has accepted when StopAccepting is called are served,
// however many; later ones are refused.
func TestStopAccepting(t *testing.T) {
	const waiting = 200
	r := newRig(t, Options{Shards: 1}, func(h *echoHandler) { h.mail = runMail; h.data = nil })
	release := r.block(0)
	var conns []net.Conn
	for range waiting {
		c := r.dial()
		if _, err := io.WriteString(c, "hello\n"); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	stopped := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- r.StopAccepting(ctx)
	}()
	release()
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	for _, c := range conns {
		expect(t, c, "hello\n")
		ask(t, c, "still here")
	}
	if c, err := net.Dial("tcp", r.Addrs()[0].String()); err == nil {
		c.Close()
		t.Error("a connection after StopAccepting")
	}
	r.Loop.Tick(1) // listeners are checked again at a tick
	r.on(0, func(*Shard) {})
	ask(t, conns[0], "after the tick")
}

// If a handler hangs, Close returns an error. When the handler continues, Close can
// be called again.
func TestCloseOfBlockedShard(t *testing.T) {
	r := newRig(t, Options{}, func(h *echoHandler) { h.mail = runMail })
	c := r.dial()
	ask(t, c, "hello")
	release := r.block(1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Close of a loop with a blocked shard: %v", err)
	}
	release()
	closeLoop(t, r.Loop)
}
