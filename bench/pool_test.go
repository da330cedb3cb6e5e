package bench

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary be a client of the tested pools.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "client" {
		if err := RunClient(int(os.Stdin.Fd()), os.Stdout); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Under the race detector every child would sleep for a second at its end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	os.Exit(m.Run())
}

func addresses(t *testing.T, fd int) (local, remote netip.AddrPort) {
	t.Helper()
	a, err1 := unix.Getsockname(fd)
	b, err2 := unix.Getpeername(fd)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	at := func(sa unix.Sockaddr) netip.AddrPort {
		in := sa.(*unix.SockaddrInet4)
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port))
	}
	return at(a), at(b)
}

// hub is a server that publishes to all its connections.
type hub struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (h *hub) serve(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = append(h.conns, c)
}

// write sends frames to all when there are n connections, because clients may
// know of a connection before the hub does.
func (h *hub) write(frames []byte, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.conns) < n {
		h.mu.Unlock()
		time.Sleep(time.Millisecond) // before the next look
		h.mu.Lock()
	}
	for _, c := range h.conns {
		c.Write(frames)
	}
}

func startTestPool(t *testing.T, o PoolOptions) *Pool {
	t.Helper()
	o.Path = DevPath(0)
	o.ReceiptTimeout = 5 * time.Second
	p, err := StartPool(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

func TestPool(t *testing.T) {
	var h hub
	a, b := rawServer(t, goodHead, h.serve), rawServer(t, goodHead, h.serve)
	p := startTestPool(t, PoolOptions{Connections: 40, Targets: []netip.AddrPort{a, b}, Processes: 3, Rate: 1000})
	ctx, clock := t.Context(), NewClock()
	publish := func(_ context.Context, seq uint32) (int64, error) {
		stamp := clock.Now()
		h.write(AppendTextFrame(nil, AppendPayload(nil, Broadcast, seq, stamp, 128)), p.Open())
		return stamp, nil
	}
	received := uint64(0)
	for _, step := range [][2]int{{0, 10}, {10, 40}} { // the parts are rounded
		c, err := p.Connect(ctx, step[0], step[1])
		if err != nil || c.Opened < step[1]-step[0]-3 || c.Err() != nil || c.PerSecond() <= 0 {
			t.Fatalf("%+v, %v", c, err)
		}
		if took, err := p.Broadcast(ctx, publish); err != nil || took <= 0 {
			t.Fatalf("%v, %v", took, err)
		}
		received += uint64(p.Open())
	}
	if err := p.Verify(ctx); err != nil {
		t.Error(err)
	}
	s, err := p.Stats(ctx)
	if err != nil || s.Open != 40 || p.Open() != 40 || s.Broadcast.Received != received || s.Broadcasts.Count() != int64(received) || s.Handshakes.Count() != 40 {
		t.Errorf("%+v, %v", s, err)
	}

	h.conns[3].Close()
	for begun := time.Now(); s.Open == 40 && time.Since(begun) < 5*time.Second; {
		if s, err = p.Stats(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Verify(ctx); err == nil || !strings.Contains(err.Error(), "39 of 40") {
		t.Errorf("a lost connection: %v", err)
	}
	nothing := func(context.Context, uint32) (int64, error) { return clock.Now(), nil }
	p.opts.ReceiptTimeout = 50 * time.Millisecond
	if _, err := p.Broadcast(ctx, nothing); err == nil || !strings.Contains(err.Error(), "39 of 40") {
		t.Errorf("a message that does not arrive: %v; want one that speaks of the lost connection", err)
	}
	p.opts.ReceiptTimeout = 5 * time.Second
	if err := p.Refresh(ctx); err != nil || p.Open() != 39 {
		t.Errorf("%d open, %v", p.Open(), err)
	}
	if n, err := p.Slow(ctx, 0.5); err != nil || n < 18 || n > 21 || p.Open() != 39-min(n, 20) {
		t.Errorf("%d slow, %d read, %v", n, p.Open(), err)
	}
	if _, err := p.Broadcast(ctx, publish); err != nil {
		t.Errorf("with slow connections: %v", err)
	}
	if err := p.Drop(ctx); err != nil || p.Open() != 0 {
		t.Error(err)
	}
	if c, err := p.Connect(ctx, 0, 40); err != nil || c.Opened != 40 {
		t.Errorf("again: %+v, %v", c, err)
	}
}

func TestPoolRefuses(t *testing.T) {
	remote := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:80")}
	for want, o := range map[string]PoolOptions{
		"targets":     {Connections: 1},
		"connections": {Connections: 0, Targets: remote},
		"sources":     {Connections: 28_001, Targets: remote},
	} {
		if _, err := StartPool(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

func TestPoolSaysWhatFailed(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	p := startTestPool(t, PoolOptions{Connections: 5, Targets: []netip.AddrPort{l.Addr().(*net.TCPAddr).AddrPort()}})
	c, err := p.Connect(t.Context(), 0, 5)
	if err != nil || c.Failed != 5 || c.Err() == nil || !strings.Contains(c.Err().Error(), "ECONNREFUSED 5") {
		t.Errorf("%+v, %v, %v", c, err, c.Err())
	}
}
