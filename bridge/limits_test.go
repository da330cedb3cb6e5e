package bridge

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"belfry/certs/certtest"
	"belfry/session"
)

// An IPv6 client can choose its address within a /64: its places are those of the /64.
func TestPlacesOfIPv6(t *testing.T) {
	p := places{most: 2, by: map[netip.Prefix]int32{}}
	one, two := netip.MustParseAddr("2001:db8:1:2::1"), netip.MustParseAddr("2001:db8:1:2:ffff::9")
	if !p.enter(one) || !p.enter(two) {
		t.Fatal("no place")
	}
	if p.enter(netip.MustParseAddr("2001:db8:1:2:3::4")) {
		t.Error("a third place in the same /64")
	}
	if !p.enter(netip.MustParseAddr("2001:db8:1:3::1")) || !p.enter(netip.MustParseAddr("192.0.2.1")) || !p.enter(netip.MustParseAddr("::ffff:192.0.2.1")) {
		t.Error("no place for others")
	}
	if p.enter(netip.MustParseAddr("192.0.2.1")) {
		t.Error("a third place for an IPv4 address in two forms")
	}
	p.leave(two)
	if !p.enter(one) {
		t.Error("a place that was left is not free")
	}
}

// A trusted proxy is recognised in every form of its address.
func TestTrusts(t *testing.T) {
	s := &Server{opt: Options{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}}}
	for text, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "fe80::1%eth0": true, "11.1.2.3": false, "::ffff:11.1.2.3": false, "2001:db8::1": false, "::a01:203": false} {
		if got := s.trusts(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// option returns an option of a socket.
func option(t *testing.T, c syscall.Conn, level, name int) (value int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// What bounds a connection in the kernel: the time for bytes that nobody acknowledges, the
// bytes that are not sent yet, and the buffers of both ends of the pair.
func TestSocketOptions(t *testing.T) {
	r := newRig(t, Options{UserTimeout: 12 * time.Second, Workers: 3}, session.Options{})
	r.dial("/ws")
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.conns) != 1 || cap(r.gate) != 3 {
		t.Fatalf("%d connections, %d places in the gate", len(r.conns), cap(r.gate))
	}
	for c := range r.conns {
		if got := option(t, c.TCPConn, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); got != 12000 {
			t.Errorf("TCP_USER_TIMEOUT is %d ms", got)
		}
		if got := option(t, c.TCPConn, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT); got != notSentLowat {
			t.Errorf("TCP_NOTSENT_LOWAT is %d", got)
		}
		for name, opt := range map[string]int{"SO_SNDBUF": unix.SO_SNDBUF, "SO_RCVBUF": unix.SO_RCVBUF} {
			if got := option(t, c.pair.file, unix.SOL_SOCKET, opt); got != 2*16<<10 { // the kernel doubles it (man 7 socket)
				t.Errorf("%s of the pair is %d", name, got)
			}
		}
	}
	p, shard, err := newPair()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	defer unix.Close(shard)
	for name, opt := range map[string]int{"SO_SNDBUF": unix.SO_SNDBUF, "SO_RCVBUF": unix.SO_RCVBUF} {
		if got, err := unix.GetsockoptInt(shard, unix.SOL_SOCKET, opt); err != nil || got != 2*16<<10 {
			t.Errorf("%s of the shard's end is %d, %v", name, got, err)
		}
	}
}

// The time for the handshake ends with it: a session outlives it.
func TestHandshakeTimeIsOver(t *testing.T) {
	const handshake = 2 * time.Second
	r := newRig(t, Options{HandshakeTime: handshake}, session.Options{})
	c := r.dial("/ws?topic=news")
	late := make(chan struct{})
	time.AfterFunc(handshake+100*time.Millisecond, func() { close(late) })
	<-late
	r.push("news", "still there")
	want(t, c, "still there")
	if err := c.WriteMessage(1, []byte("x")); err != nil {
		t.Error(err)
	}
	if st := r.Stats(); st.Connections != 1 {
		t.Errorf("%+v", st)
	}
}

// A client that was refused and stays is closed all the same.
func TestRefusedClientStays(t *testing.T) {
	r := newRig(t, Options{Sessions: busy{}, HandshakeTime: time.Minute}, session.Options{})
	c := r.secure(nil)
	io.WriteString(c, upgrade("/ws"))
	plain := r.raw("")
	io.WriteString(plain, upgrade("/ws"))
	r.refusals(CauseSessions, 1)
	r.refusals(CauseHTTP, 1)
	eventually(t, "both are closed, though the clients send nothing and close nothing", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.conns) == 0 && r.Stats().Handshaking == 0 && r.Stats().Connections == 0
	})
}

// A panic, before or after a connection has reached its shard, ends that connection and is
// counted; others go on.
func TestPanics(t *testing.T) {
	ca := certtest.NewCA(t)
	pair, err := tls.X509KeyPair(ca.Pair(time.Hour, "127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName == "boom.example" {
			panic("boom")
		}
		return nil, nil
	}}
	r := newRig(t, Options{TLS: config}, session.Options{})
	r.ca = ca
	if err := tls.Client(r.raw(""), &tls.Config{ServerName: "boom.example"}).Handshake(); err == nil {
		t.Error("the handshake was made")
	}
	eventually(t, "the panic in the handshake is counted", func() bool { return r.Stats().Panics == 1 && r.Stats().Handshaking == 0 })
	other := r.dial("/ws?topic=news")
	ours, theirs := loopback(t)
	defer theirs.Close()
	broken := r.newConn(ours)
	if !r.remember(broken) {
		t.Fatal("closed")
	}
	r.count.connections.Add(1)
	broken.start() // without a tls.Conn and a pair: both directions panic
	eventually(t, "the panics of both directions are counted", func() bool { return r.Stats().Panics == 3 && r.Stats().Connections == 1 })
	if !ended(theirs) {
		t.Error("the connection stays")
	}
	r.push("news", "on")
	want(t, other, "on")
	r.count.panics.Store(0) // the rig wants none at the end
}

// loopback returns the two ends of a TCP connection.
func loopback(t *testing.T) (ours *net.TCPConn, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	theirs, err = dialTCP("", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return accepted.(*net.TCPConn), theirs
}

// While the server closes, a handshake in progress ends at once, and none that completes
// reaches a shard.
func TestCloseDuringHandshake(t *testing.T) {
	r := newRig(t, Options{HandshakeTime: time.Minute}, session.Options{})
	half := r.raw("")
	half.Write(clientHello(t)[:50])
	done := r.secure(nil) // and no request
	eventually(t, "two handshakes", func() bool { return r.Stats().Handshaking == 2 })
	if cut := r.Close(t.Context()); cut != 0 {
		t.Errorf("%d were cut off", cut)
	}
	if !ended(half) || !ended(done.NetConn()) {
		t.Error("a handshake goes on")
	}
	ours, theirs := loopback(t)
	defer theirs.Close()
	late := r.newConn(ours)
	if r.remember(late) {
		t.Error("a connection begins after Close")
		r.forget(late)
	}
	defer ours.Close()
	pair, shard, err := newPair()
	if err != nil {
		t.Fatal(err)
	}
	defer pair.close()
	defer unix.Close(shard)
	if err := r.setPair(late, pair); err != errClosing || late.pair != nil {
		t.Errorf("a handshake that completes after Close: %v", err)
	}
	if st := r.sessions.Stats(); st.Sessions != 0 {
		t.Errorf("%d sessions", st.Sessions)
	}
}

// What the socket does not take is kept for it up to maxOwed, then the connection fails: a
// client that makes TLS answer and reads nothing costs no more.
func TestOwed(t *testing.T) {
	ours, theirs := loopback(t)
	defer ours.Close()
	defer theirs.Close()
	var s stream
	s.init(ours, make(gate, 1), make(gate, 1))
	record := make([]byte, 16<<10)
	for n := 0; ; n++ {
		_, err := s.Write(record)
		if len(s.owed) > maxOwed {
			t.Fatalf("%d bytes wait for the client", len(s.owed))
		}
		if err == errUnread {
			break
		}
		if err != nil || n > 10_000 {
			t.Fatalf("%v after %d records", err, n)
		}
	}
	if len(s.owed) < maxOwed/2 {
		t.Errorf("%d bytes wait", len(s.owed))
	}
}
