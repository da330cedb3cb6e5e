package poller

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// freePorts returns the first of n free ports in a row on an address, below the
// range from which the kernel chooses ports.
func freePorts(t *testing.T, host string, n int) uint16 {
	t.Helper()
	for range 100 {
		lo := 10000 + rand.IntN(20000)
		var taken error
		var held []net.Listener
		for p := lo; p < lo+n && taken == nil; p++ {
			var l net.Listener
			if l, taken = net.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(p))); taken == nil {
				held = append(held, l)
			}
		}
		for _, l := range held {
			l.Close()
		}
		if taken == nil {
			return uint16(lo)
		}
	}
	t.Fatal("no ports")
	return 0
}

func TestPortRange(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1", "localhost"} {
		t.Run(host, func(t *testing.T) {
			lo := freePorts(t, host, 20)
			r := newRig(t, Options{Mailbox: 64, Listen: []PortRange{{Host: host, Lo: lo, Hi: lo + 19}}}, nil)
			if len(r.Addrs()) != 20 {
				t.Fatalf("listening on %v, want 20 addresses", r.Addrs())
			}
			for i, a := range r.Addrs() {
				if a.Port() != lo+uint16(i) {
					t.Errorf("address %d is %v, want port %d", i, a, lo+uint16(i))
				}
				c, err := net.Dial("tcp", a.String())
				if err != nil {
					t.Fatal(err)
				}
				ask(t, c, "over "+a.String())
				c.Close()
			}
		})
	}
}

// The kernel knows the peer's address, in the family of the connection.
func TestRemoteAddr(t *testing.T) {
	seen := make(chan netip.AddrPort, 1)
	r := newRig(t, Options{Shards: 1, Listen: []PortRange{{}}}, func(h *echoHandler) {
		h.data = func(s *Shard, slot uint32, p []byte) int { seen <- s.RemoteAddr(slot); return len(p) }
	})
	for _, host := range []string{"127.0.0.1", "::1"} {
		c, err := net.Dial("tcp", net.JoinHostPort(host, portOf(r, 0)))
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("x"))
		if got := <-seen; got.String() != c.LocalAddr().String() {
			t.Errorf("peer %v, want %v", got, c.LocalAddr())
		}
		c.Close()
	}
}

func tryListen(e ...PortRange) error {
	l, err := New(Options{Shards: 2, Mailbox: 16, Listen: e, NewHandler: func(s *Shard) Handler { return &echoHandler{s: s} }})
	if err == nil {
		l.Discard()
	}
	return err
}

// A port in use is refused even if its owner would share it: with SO_REUSEPORT
// alone, each of the two would get half of the clients.
func TestPortTakenByReusePort(t *testing.T) {
	before := openDescriptors(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, opt := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, 1); err != nil {
			t.Fatal(err)
		}
	}
	lo := freePorts(t, "127.0.0.1", 3)
	taken := lo + 1
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(taken), Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	for _, e := range []PortRange{
		{Host: "127.0.0.1", Lo: taken, Hi: taken},
		{Host: "127.0.0.1", Lo: lo, Hi: lo + 2},
		{Host: "0.0.0.0", Lo: taken, Hi: taken},
		{Host: "", Lo: taken, Hi: taken},
		{Host: "localhost", Lo: taken, Hi: taken},
		{Host: "::ffff:127.0.0.1", Lo: taken, Hi: taken},
	} {
		err := tryListen(e)
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "taken") ||
			!strings.Contains(err.Error(), net.JoinHostPort(e.Host, fmt.Sprint(taken))) {
			t.Errorf("%+v: %v; want an error that names the port %d as taken", e, err, taken)
		}
	}
	if n := openDescriptors(t); n != before+1 {
		t.Errorf("%d descriptors after failures, want %d", n, before+1)
	}
}

func TestListenErrors(t *testing.T) {
	for _, trial := range []struct {
		e    PortRange
		want string
	}{
		{PortRange{Host: "127.0.0.1", Lo: 9019, Hi: 9000}, "9019-9000"},
		{PortRange{Host: "127.0.0.1", Lo: 0, Hi: 5}, "0-5"},
		{PortRange{Host: "not a name"}, "not a name"},
		{PortRange{Host: "192.0.2.1"}, "192.0.2.1:0"}, // RFC 5737: for documentation only
		{PortRange{Host: "fe80::1%nosuchinterface"}, "nosuchinterface"},
	} {
		if err := tryListen(trial.e); err == nil || !strings.Contains(err.Error(), trial.want) {
			t.Errorf("%+v: %v; want an error with %q", trial.e, err, trial.want)
		}
	}
}

func TestOptionErrors(t *testing.T) {
	handler := func(s *Shard) Handler { return &echoHandler{s: s} }
	for name, o := range map[string]Options{
		"NewHandler":          {},
		"Shards":              {NewHandler: handler, Shards: MaxShards + 1},
		"MaxConns":            {NewHandler: handler, MaxConns: -1},
		"Mailbox":             {NewHandler: handler, Mailbox: maxMailbox + 1},
		"Backlog.Frames":      {NewHandler: handler, Backlog: Bounds{Frames: -1}},
		"Backlog.Bytes":       {NewHandler: handler, Backlog: Bounds{Bytes: -1}},
		"RecordSize":          {NewHandler: handler, RecordSize: 1 << 20},
		"LargeBacklog.Frames": {NewHandler: handler, LargeBacklog: Bounds{Frames: -1}},
		"LargeBacklog.Bytes":  {NewHandler: handler, LargeBacklog: Bounds{Bytes: -1}},
		"NodeBytes":           {NewHandler: handler, NodeBytes: -1},
		"Policy":              {NewHandler: handler, Policy: 3},
	} {
		l, err := New(o)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s out of range: %v", name, err)
		}
		if err == nil {
			l.Discard()
		}
	}
}
