package bridge

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"belfry/poller"
	"belfry/session"
	"belfry/wire"
	"belfry/wire/plain"
	"belfry/wire/sse"
)

func streams() []wire.Endpoint {
	return []wire.Endpoint{sse.New(sse.Options{Paths: []string{"/sse"}, Encodings: []wire.Encoding{plain.Encoding{}}})}
}

func (r *rig) raw(local string) net.Conn {
	r.t.Helper()
	c, err := dialTCP(local, r.addr())
	if err != nil {
		r.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(clientTimeout))
	r.t.Cleanup(func() { c.Close() })
	return c
}

// ended says whether a connection ends, whatever is read before.
func ended(c net.Conn) bool {
	_, err := io.Copy(io.Discard, c)
	return err == nil || strings.Contains(err.Error(), "reset")
}

// HTTP without TLS gets an answer that says so. Other bytes get none that they could
// read; both are counted.
func TestNoTLS(t *testing.T) {
	r := newRig(t, Options{}, session.Options{})
	c := r.raw("")
	io.WriteString(c, upgrade("/ws"))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 400 {
		t.Fatalf("%v, %v", resp, err)
	}
	if text, _ := io.ReadAll(resp.Body); !strings.Contains(string(text), "wss://") {
		t.Errorf("%q", text)
	}
	r.refusals(CauseHTTP, 1)
	for i, bytes := range []string{"\x00\x01\x02\x03\x04\x05", "SSH-2.0-x\r\n", "\x17\x03\x03\x00\x05hello"} {
		c := r.raw("")
		io.WriteString(c, bytes)
		if !ended(c) {
			t.Errorf("%q: the connection stays", bytes)
		}
		r.refusals(CauseProtocol, uint64(i)+1)
	}
}

// Handshakes that fail are counted by what the client did.
func TestBrokenHandshakes(t *testing.T) {
	r := newRig(t, Options{}, session.Options{})
	first := clientHello(t)
	for i, n := range []int{1, 5, len(first) / 2, len(first)} {
		c := r.raw("")
		c.Write(first[:n])
		c.Close() // in the middle
		r.refusals(CauseGone, uint64(i)+1)
	}
	c := r.raw("")
	err := tls.Client(c, &tls.Config{ServerName: "127.0.0.1"}).Handshake() // does not know the CA
	if err == nil {
		t.Fatal("the client trusts a CA of a test")
	}
	c.Close()
	r.refusals(CauseHandshake, 1)
	if err := tls.Client(r.raw(""), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}).Handshake(); err == nil {
		t.Error("a client that speaks HTTP/2 only is admitted")
	}
	r.refusals(CauseHandshake, 2)
	if err := r.secure(nil).Close(); err != nil { // and no request
		t.Fatal(err)
	}
	r.refusals(CauseGone, 5)
}

// clientHello returns the first record of a handshake.
func clientHello(t *testing.T) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go tls.Client(a, &tls.Config{ServerName: "127.0.0.1"}).Handshake()
	p := make([]byte, 16<<10)
	n, err := io.ReadAtLeast(b, p, 5)
	for err == nil && n < 5+int(p[3])<<8+int(p[4]) {
		var m int
		m, err = b.Read(p[n:])
		n += m
	}
	if err != nil {
		t.Fatal(err)
	}
	return p[:n]
}

// A client that does not finish its handshake, or sends no request after it, is
// closed after Options.HandshakeTime.
func TestHandshakeTime(t *testing.T) {
	r := newRig(t, Options{HandshakeTime: time.Second}, session.Options{})
	c := r.raw("")
	c.Write(clientHello(t)[:50])
	if !ended(c) {
		t.Error("half a handshake")
	}
	r.refusals(CauseTimeout, 1)
	if !ended(r.secure(nil).NetConn()) {
		t.Error("no request")
	}
	r.refusals(CauseTimeout, 2)
}

// One address has half of the handshakes, and all addresses together have
// Options.MaxHandshakes. Those beyond are closed at once.
func TestHandshakeFlood(t *testing.T) {
	const most = 8
	r := newRig(t, Options{MaxHandshakes: most, HandshakeTime: time.Minute}, session.Options{})
	hello := clientHello(t)
	open := func(from string) net.Conn {
		c := r.raw(from)
		c.Write(hello[:len(hello)-1])
		return c
	}
	var held []net.Conn
	for i := range most / 2 {
		held = append(held, open("127.0.0.2"))
		eventually(t, "a handshake", func() bool { return r.Stats().Handshaking == i+1 })
	}
	for i := range 5 { // of the same address: closed, and its places stay its own
		if !ended(open("127.0.0.2")) {
			t.Fatal("more than half")
		}
		r.refusals(CauseMaxHandshakes, uint64(i)+1)
	}
	witness := r.dialFrom("127.0.0.3", "/ws?topic=news")
	for i := range most / 2 {
		held = append(held, open(fmt.Sprintf("127.0.1.%d", i+1)))
		eventually(t, "a handshake", func() bool { return r.Stats().Handshaking == most/2+i+1 })
	}
	for i := range 20 {
		if !ended(open(fmt.Sprintf("127.0.2.%d", i+1))) {
			t.Fatal("more than all")
		}
	}
	r.refusals(CauseMaxHandshakes, 25)
	r.push("news", "hello")
	want(t, witness, "hello")
	for _, c := range held {
		c.Close()
	}
	eventually(t, "the places are free", func() bool { return r.Stats().Handshaking == 0 })
	r.dialFrom("127.0.0.2", "/ws")
}

// Beyond Options.MaxConnections a client is told so, inside TLS.
func TestMaxConnections(t *testing.T) {
	r := newRig(t, Options{MaxConnections: 2, RetryAfter: 7 * time.Second}, session.Options{})
	first := r.dial("/ws")
	r.dial("/ws")
	c := r.secure(nil)
	io.WriteString(c, upgrade("/ws"))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "7" {
		t.Fatalf("%v, %v", resp, err)
	}
	if text, _ := io.ReadAll(resp.Body); !strings.Contains(string(text), "tls.max_connections") {
		t.Errorf("%q", text)
	}
	c.Close()
	r.refusals(CauseMaxConns, 1)
	first.Close()
	eventually(t, "a place is free", func() bool { return r.Stats().Connections == 1 })
	r.dial("/ws")
}

// A PROXY header comes before the handshake and names the client.
func TestPROXY(t *testing.T) {
	r := newRig(t, Options{Listen: []Listen{{Host: "127.0.0.1", Proxy: true}}, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, session.Options{})
	open := func(header string) *tls.Conn {
		raw := r.raw("")
		for _, part := range []string{header[:1], header[1:]} {
			io.WriteString(raw, part)
		}
		config := r.ca.Client()
		config.ServerName = "127.0.0.1"
		return tls.Client(raw, config)
	}
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x09\x7f\x00\x00\x01\x12\x67\x01\xbb"
	for _, tc := range [][2]string{
		{"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n", "192.0.2.7:4711"},
		{v2, "192.0.2.9:4711"},
	} {
		c := open(tc[0])
		io.WriteString(c, strings.Replace(upgrade("/ws"), "\r\n\r\n", "\r\nSec-WebSocket-Protocol: belfry.v1\r\n\r\n", 1))
		in := bufio.NewReader(c)
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != 101 {
			t.Fatalf("%v, %v", resp, err)
		}
		text := make([]byte, 200)
		n, err := in.Read(text)
		_, rest, found := strings.Cut(string(text[:n]), `"session":"`)
		if err != nil || !found {
			t.Fatalf("%q, %v", text[:n], err)
		}
		info, _, _ := r.sessions.Lookup(t.Context(), rest[:strings.IndexByte(rest, '"')])
		if info.Remote != netip.MustParseAddrPort(tc[1]) {
			t.Errorf("%v, want %s", info.Remote, tc[1])
		}
	}
	for i, header := range []string{"GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 nonsense\r\n"} {
		c := r.raw("")
		io.WriteString(c, header)
		if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 400 {
			t.Errorf("%q: %v, %v", header, resp, err)
		}
		r.refusals(CauseProxy, uint64(i)+1)
	}
	c := r.raw("127.0.0.2")
	io.WriteString(c, "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 403 {
		t.Errorf("%v, %v", resp, err)
	}
	r.refusals(CauseProxy, 3)
}

// A client that reads nothing fills its backlog in the shard soon, is closed there,
// and has its descriptors closed here. Another client waits for nothing.
func TestSlowReader(t *testing.T) {
	o := session.Options{CloseTime: time.Second}
	o.Poller.Backlog = poller.Bounds{Frames: 64, Bytes: 256 << 10}
	r := newRig(t, Options{drain: time.Millisecond}, o)
	slow := r.slowClient("/ws?topic=news")
	witness := r.dial("/ws?topic=news")
	eventually(t, "two sessions", func() bool { return r.sessions.Stats().Sessions == 2 })
	text := strings.Repeat("z", 16<<10)
	pushed := 0
	for ; r.sessions.Stats().Poller.Overflows == 0; pushed++ {
		if pushed > 100 {
			t.Fatalf("%d KiB are hidden from the backlog", pushed*16)
		}
		r.push("news", text)
		want(t, witness, text)
	}
	t.Logf("overflow after %d KiB", pushed*16)
	eventually(t, "the slow client's connection is closed", func() bool { return r.Stats().Connections == 1 })
	if n := r.sessions.Stats().Closed["slow_consumer"]; n != 1 {
		t.Errorf("%d slow consumers", n)
	}
	r.push("news", "on")
	want(t, witness, "on")
	if _, err := io.Copy(io.Discard, slow); err == nil {
		t.Error("the slow client got everything")
	}
}

// A client that reads slowly gets everything that the shard has sent before it
// closed its end.
func TestSlowReaderGetsTheRest(t *testing.T) {
	r := newRig(t, Options{}, session.Options{CloseTime: time.Second})
	slow := r.slowClient("/ws?topic=news")
	eventually(t, "a session", func() bool { return r.sessions.Stats().Sessions == 1 })
	text := strings.Repeat("z", 16<<10)
	for range 10 {
		r.push("news", text)
	}
	go r.sessions.Shutdown(t.Context(), 0, 0)
	eventually(t, "shutdown has begun", func() bool { return r.sessions.Stats().Sessions == 0 })
	n, err := io.Copy(io.Discard, slow)
	if err != nil || n < 10*int64(len(text)) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// slowClient opens a session whose client has a small receive buffer and reads only
// the answer.
func (r *rig) slowClient(path string) *tls.Conn {
	r.t.Helper()
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
	}}
	tcp, err := d.Dial("tcp", r.addr())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { tcp.Close() })
	_ = tcp.SetDeadline(time.Now().Add(clientTimeout))
	config := r.ca.Client()
	config.ServerName = "127.0.0.1"
	c := tls.Client(tcp, config)
	io.WriteString(c, upgrade(path))
	if resp, err := http.ReadResponse(bufio.NewReaderSize(c, 16), nil); err != nil || resp.StatusCode != 101 {
		r.t.Fatalf("%v, %v", resp, err)
	}
	return c
}

// A client that is reset has its session ended, also while it is written to.
func TestReset(t *testing.T) {
	r := newRig(t, Options{}, session.Options{})
	c := r.dial("/ws?topic=news")
	r.push("news", "x")
	want(t, c, "x")
	tcp := c.NetConn().(*tls.Conn).NetConn().(*net.TCPConn)
	if err := tcp.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	tcp.Close()
	eventually(t, "the session has ended", func() bool { return r.sessions.Stats().Sessions == 0 && r.Stats().Connections == 0 })
}

// A record that was changed on the way ends the connection.
func TestForgedRecord(t *testing.T) {
	r := newRig(t, Options{}, session.Options{})
	c := r.secure(nil)
	io.WriteString(c, upgrade("/ws"))
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v, %v", resp, err)
	}
	c.NetConn().Write([]byte("\x17\x03\x03\x00\x20" + strings.Repeat("?", 32)))
	_, err := io.Copy(io.Discard, c)
	if err == nil || !strings.Contains(err.Error(), "bad record MAC") {
		t.Errorf("%v", err)
	}
	eventually(t, "the session has ended", func() bool { return r.sessions.Stats().Sessions == 0 && r.Stats().Connections == 0 })
}

// Descriptors run out: accepting goes on when there are some again.
func TestAcceptErrors(t *testing.T) {
	r := newRig(t, Options{}, session.Options{})
	first := r.dial("/ws")
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	conn := r.raw("") // the client's descriptor; the server gets none
	none := was
	none.Cur = lowestFile(t)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	conn.Write([]byte("\x16"))
	eventually(t, "an accept fails", func() bool { return r.Stats().AcceptErrors > 0 })
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	r.dial("/ws")
	first.Close()
}

// lowestFile returns the lowest descriptor that is free, which the next one gets.
func lowestFile(t *testing.T) uint64 {
	t.Helper()
	fd, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.Close(fd)
	return uint64(fd)
}
