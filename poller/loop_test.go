package poller

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"belfry/offheap"
)

// echoHandler sends back whole lines. It does what the lines "move N", "pause",
// "panic" and "quit" say.
type echoHandler struct {
	s       *Shard
	opened  atomic.Int64
	closed  atomic.Int64
	reasons chan Reason
	ticks   atomic.Int64
	turns   atomic.Int64
	timers  chan uint32
	mail    func(*Shard, Mail)
	work    func(*Shard) bool
	data    func(*Shard, uint32, []byte) int
	open    func(*Shard, uint32, any)
	failed  func(uint32, SendResult)
}

func (h *echoHandler) OnOpen(slot uint32, state any) {
	h.opened.Add(1)
	if h.open != nil {
		h.open(h.s, slot, state)
	}
}

func (h *echoHandler) OnMoved(slot uint32, state any) { h.OnOpen(slot, state) }

func (h *echoHandler) OnData(slot uint32, p []byte) int {
	if h.data != nil {
		return h.data(h.s, slot, p)
	}
	i := bytes.LastIndexByte(p, '\n') + 1
	if i > 0 {
		h.s.Send(slot, Bytes(p[:i]), Data)
	}
	return i
}

func (h *echoHandler) OnTimer(slot uint32) { h.timers <- slot }
func (h *echoHandler) OnClose(_ uint32, cause Reason, _ error) {
	h.closed.Add(1)
	select {
	case h.reasons <- cause:
	default:
	}
}
func (h *echoHandler) OnMail(m Mail) {
	if h.mail != nil {
		h.mail(h.s, m)
	}
}
func (h *echoHandler) OnTick() { h.ticks.Add(1) }
func (h *echoHandler) OnWork() bool {
	h.turns.Add(1)
	return h.work != nil && h.work(h.s)
}
func (h *echoHandler) OnSubmitted() {}
func (h *echoHandler) OnSendFailed(slot uint32, r SendResult) {
	if h.failed != nil {
		h.failed(slot, r)
	}
}
func (h *echoHandler) OnStop() {}

// rig is a loop with echo handlers on a port of its own.
type rig struct {
	*Loop
	t        testing.TB
	handlers []*echoHandler
}

func newRig(t testing.TB, o Options, each func(*echoHandler)) *rig {
	t.Helper()
	r := &rig{t: t}
	if o.Shards == 0 {
		o.Shards = 2
	}
	if o.Listen == nil {
		o.Listen = []PortRange{{Host: "127.0.0.1"}}
	}
	o.ManualTicks = true
	if o.Memory == nil {
		o.Memory = new(offheap.Owners)
	}
	if o.Log == nil {
		o.Log = zaptest.NewLogger(t)
	}
	o.NewHandler = func(s *Shard) Handler {
		h := &echoHandler{s: s, reasons: make(chan Reason, 1024), timers: make(chan uint32, 1024)}
		if each != nil {
			each(h)
		}
		r.handlers = append(r.handlers, h)
		return h
	}
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Loop = l
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := l.Close(ctx); err != nil {
			t.Error(err)
		}
		for owner, n := range o.Memory.Bytes() {
			if n != 0 {
				t.Errorf("%d bytes outside the Go heap for %s after the end", n, owner)
			}
		}
	})
	return r
}

func (r *rig) dial() net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.Addrs()[0].String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// on runs f on a shard's goroutine and waits for it. The rig's mail hook must be
// nil or runMail.
func (r *rig) on(shard int, f func(*Shard)) {
	r.t.Helper()
	done := make(chan struct{})
	if !r.Shard(shard).Post(QueueControl, Mail{Ptr: func(s *Shard) { f(s); close(done) }}) {
		r.t.Fatal("the control queue is full")
	}
	select {
	case <-done:
	case <-time.After(time.Minute):
		r.t.Fatal("shard did not run what was posted")
	}
}

// settle returns when everything that earlier calls of on have begun is done, also
// the calls of OnSendFailed and the closing of connections. Both happen at the end
// of a turn, and several calls of on may be in the same turn.
func (r *rig) settle(shard int) {
	r.t.Helper()
	turns := &r.handlers[shard].turns
	for last := turns.Load() + 2; turns.Load() < last; {
		r.on(shard, func(*Shard) {})
	}
}

func runMail(s *Shard, m Mail) {
	if f, ok := m.Ptr.(func(*Shard)); ok {
		f(s)
	}
}

func ask(t *testing.T, c net.Conn, line string) {
	t.Helper()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(line)+1)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("%v after %q", err, got)
	}
	if string(got) != line+"\n" {
		t.Fatalf("got %q, want %q", got, line)
	}
}

// eventually waits until another goroutine has made the condition true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestEcho(t *testing.T) {
	r := newRig(t, Options{}, nil)
	var conns []net.Conn
	for range 50 {
		conns = append(conns, r.dial())
	}
	for _, c := range conns {
		ask(t, c, "hello")
		ask(t, c, strings.Repeat("x", 10000))
	}
	if n := r.Stats().Connections; n != 50 {
		t.Errorf("%d connections, want 50", n)
	}
	for _, c := range conns {
		c.Close()
	}
	eventually(t, "all closed", func() bool { return r.Stats().Connections == 0 })
}

func TestBytewise(t *testing.T) {
	r := newRig(t, Options{}, nil)
	c := r.dial()
	for i := range 300 {
		if _, err := c.Write([]byte{byte('a' + i%26)}); err != nil {
			t.Fatal(err)
		}
	}
	c.Write([]byte("\n"))
	got := make([]byte, 301)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
}

// Every shard accepts connections, and each connection ends with the reason that
// its peer caused.
func TestPortsAndFamilies(t *testing.T) {
	r := newRig(t, Options{Listen: []PortRange{{Host: "127.0.0.1"}, {Host: "::1"}, {}}}, nil)
	if len(r.Addrs()) != 3 {
		t.Fatalf("addresses: %v", r.Addrs())
	}
	for _, a := range []string{r.Addrs()[0].String(), r.Addrs()[1].String(),
		net.JoinHostPort("127.0.0.1", portOf(r, 2)), net.JoinHostPort("::1", portOf(r, 2))} {
		c, err := net.Dial("tcp", a)
		if err != nil {
			t.Fatal(err)
		}
		ask(t, c, "over "+a)
		c.Close()
	}
}

func portOf(r *rig, i int) string {
	_, port, _ := net.SplitHostPort(r.Addrs()[i].String())
	return port
}

func TestPortTaken(t *testing.T) {
	r := newRig(t, Options{}, nil)
	addr := r.Addrs()[0]
	_, err := New(Options{Listen: []PortRange{{Host: "127.0.0.1", Lo: addr.Port(), Hi: addr.Port()}},
		NewHandler: func(s *Shard) Handler { return &echoHandler{s: s} }})
	if err == nil || !strings.Contains(err.Error(), "taken") {
		t.Fatalf("a second loop on %v: %v", addr, err)
	}
}

func TestPanicClosesOneConnection(t *testing.T) {
	r := newRig(t, Options{Shards: 1}, func(h *echoHandler) {
		h.data = func(s *Shard, slot uint32, p []byte) int {
			if bytes.HasPrefix(p, []byte("panic")) {
				panic("asked for")
			}
			s.Send(slot, Bytes(p), Data)
			return len(p)
		}
	})
	good, bad := r.dial(), r.dial()
	ask(t, good, "one")
	io.WriteString(bad, "panic\n")
	if _, err := bad.Read(make([]byte, 1)); err == nil {
		t.Error("connection of the panic lives on")
	}
	ask(t, good, "two")
	if n := r.Stats().Panics; n != 1 {
		t.Errorf("%d panics counted, want 1", n)
	}
	if got := <-r.handlers[0].reasons; got != ReasonPanic {
		t.Errorf("reason %d, want ReasonPanic", got)
	}
}

func TestTimersAndStall(t *testing.T) {
	r := newRig(t, Options{Shards: 1}, func(h *echoHandler) { h.mail = runMail })
	c := r.dial()
	ask(t, c, "x")
	h := r.handlers[0]
	r.on(0, func(s *Shard) { s.SetTimer(0, s.Now()+3) })
	r.Loop.Tick(1)
	eventually(t, "tick 1", func() bool { return h.ticks.Load() == 1 })
	r.Loop.Tick(1)
	eventually(t, "tick 2", func() bool { return h.ticks.Load() == 2 })
	select {
	case <-h.timers:
		t.Fatal("timer came early")
	default:
	}
	r.Loop.Tick(1)
	if slot := <-h.timers; slot != 0 {
		t.Fatalf("timer of slot %d", slot)
	}
	// A stall of a minute counts as one second.
	r.on(0, func(s *Shard) { s.SetTimer(0, s.Now()+2) })
	r.Loop.Tick(60)
	eventually(t, "tick of the stall", func() bool { return h.ticks.Load() == 4 })
	r.on(0, func(s *Shard) {})
	select {
	case <-h.timers:
		t.Fatal("a stall was held against a connection")
	default:
	}
	if st := r.Stats(); st.Stalls != 1 || st.StalledTicks != 59 {
		t.Errorf("stalls %d, ticks %d; want 1, 59", st.Stalls, st.StalledTicks)
	}
	r.Loop.Tick(1)
	<-h.timers
}

func TestAdoptDetach(t *testing.T) {
	var out atomic.Pointer[Socket]
	r := newRig(t, Options{}, func(h *echoHandler) {
		h.mail = runMail
		h.open = func(s *Shard, slot uint32, state any) {
			if state != nil {
				s.Send(slot, Bytes([]byte(state.(string))), Data)
			}
		}
	})
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Adopt(1, Socket{FD: fds[0], Unread: []byte("left "), Unsent: []byte("first "), State: "hello\n"}); err != nil {
		t.Fatal(err)
	}
	f := fileConn(t, fds[1])
	expect(t, f, "first hello\n")
	io.WriteString(f, "over\n")
	expect(t, f, "left over\n")
	io.WriteString(f, "partial")
	eventually(t, "unread bytes", func() bool {
		n := 0
		r.on(1, func(s *Shard) { n = s.receiver.accounts.index.Len() })
		return n == 1
	})
	r.on(1, func(s *Shard) {
		slot, _ := s.Next(0)
		sock, _ := s.Detach(slot, nil)
		out.Store(&sock)
	})
	sock := out.Load()
	if string(sock.Unread) != "partial" || r.Stats().Connections != 0 || r.handlers[1].closed.Load() != 0 {
		t.Fatalf("detached %q, %d connections left", sock.Unread, r.Stats().Connections)
	}
	if err := r.Adopt(0, Socket{FD: sock.FD, Unread: sock.Unread, State: "back\n"}); err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, " again\n")
	expect(t, f, "back\npartial again\n")
}

func fileConn(t testing.TB, fd int) net.Conn {
	t.Helper()
	file := os.NewFile(uintptr(fd), "")
	c, err := net.FileConn(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got[:n], err, want)
	}
}
