package bridge

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gorilla/websocket"
	"github.com/lxzan/gws"

	"belfry/certs"
	"belfry/certs/certtest"
	"belfry/message"
	"belfry/session"
	"belfry/ws"
	"belfry/ws/conformance"
)

// A session over TLS knows its client's address, gets what is pushed, and is closed
// with a close frame, a close_notify and FIN.
func TestSession(t *testing.T) {
	r := newRig(t, Options{}, session.Options{})
	c := r.dialFrom("127.0.0.9", "/ws?topic=news&uid=u1", "belfry.v1")
	info, ok, _ := r.sessions.Lookup(t.Context(), hello(t, c))
	if !ok || info.Remote != netip.MustParseAddrPort(c.LocalAddr().String()) || info.UID != "u1" {
		t.Errorf("%+v, %v; the client is %v", info, ok, c.LocalAddr())
	}
	plain := r.dial("/ws?topic=news")
	r.push("news", "one")
	want(t, plain, "one")
	if _, p, err := c.ReadMessage(); err != nil || !strings.Contains(string(p), `"data":"one"`) {
		t.Errorf("%q, %v", p, err)
	}
	if err := plain.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := plain.ReadMessage(); !websocket.IsCloseError(err, 1000) {
		t.Errorf("%v", err)
	}
	if _, err := plain.NetConn().Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the close frame: %v", err)
	}
	eventually(t, "one connection left", func() bool { return r.Stats().Connections == 1 })
	if st := r.Stats(); st.Handshakes != 2 || st.Accepted != 2 || st.Handshaking != 0 {
		t.Errorf("%+v", st)
	}
}

// A connection that the shard closes ends with a close_notify, so that the client
// knows that nothing was cut off (RFC 8446 §6.1).
func TestCloseNotify(t *testing.T) {
	r := newRig(t, Options{}, session.Options{})
	raw := &recorder{Conn: r.raw("")}
	c := tls.Client(raw, &tls.Config{RootCAs: r.ca.Pool(), ServerName: "127.0.0.1", MaxVersion: tls.VersionTLS12}) // its alerts can be seen
	io.WriteString(c, strings.Replace(upgrade("/ws"), "GET", "PUT", 1))
	if text, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 405 ") {
		t.Errorf("%q, %v", text, err)
	}
	const alert, size = 21, 5 + 8 + 2 + 16 // header, nonce, alert, tag
	if n := len(raw.got); n < size || raw.got[n-size] != alert {
		t.Errorf("the connection ended with %x", raw.got[max(0, n-size):])
	}
	c.Close()
}

// recorder is a connection that keeps what was received.
type recorder struct {
	net.Conn
	got []byte
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.got = append(r.got, p[:n]...)
	return n, err
}

// Messages of all sizes arrive in both directions, with TLS 1.2 too.
func TestSizes(t *testing.T) {
	limits := session.Options{Echo: true, Rates: session.Rates{}}
	limits.Limits.MaxMessage = 4 << 20
	limits.Poller.Backlog.Bytes = 16 << 20
	r := newRig(t, Options{}, limits)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := r.ca.Client()
		config.MaxVersion = version
		c, _, err := (&websocket.Dialer{TLSClientConfig: config}).Dial("wss://"+r.addr()+"/echo", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(clientTimeout))
		for _, n := range []int{0, 1, smallBuffer - 4, smallBuffer, largeBuffer, largeBuffer + 1, 100_000, 3 << 20} {
			text := bytes.Repeat([]byte("x"), n)
			written := make(chan error, 1)
			go func() { written <- c.WriteMessage(websocket.TextMessage, text) }()
			if _, p, err := c.ReadMessage(); err != nil || !bytes.Equal(p, text) {
				t.Fatalf("version %x, %d bytes: got %d, %v", version, n, len(p), err)
			}
			if err := <-written; err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A first record that is longer than the bridge's buffer arrives as a whole, although
// nothing comes after it.
func TestLongFirstRecord(t *testing.T) {
	r := newRig(t, Options{}, session.Options{Echo: true})
	c := r.secure(func(config *tls.Config) { config.DynamicRecordSizingDisabled = true })
	text := strings.Repeat("w", 3*smallBuffer)
	frame := append([]byte{0x81, 0x80 | 126, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}, text...)
	if _, err := c.Write(append([]byte(upgrade("/echo")), frame...)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v, %v", resp, err)
	}
	echo := make([]byte, 4+len(text))
	if _, err := io.ReadFull(in, echo); err != nil || string(echo[4:]) != text {
		t.Errorf("%.20q, %v", echo, err)
	}
}

// A client that sends a lot and reads nothing meanwhile is read to the end.
func TestUploadWithoutReading(t *testing.T) {
	r := newRig(t, Options{}, session.Options{Echo: true})
	c := r.dial("/echo")
	const n, size = 200, 4000
	text := bytes.Repeat([]byte("y"), size)
	for i := range n {
		if err := c.WriteMessage(websocket.BinaryMessage, text); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	for i := range n {
		if _, p, err := c.ReadMessage(); err != nil || len(p) != size {
			t.Fatalf("message %d: %d bytes, %v", i, len(p), err)
		}
	}
}

func TestConformance(t *testing.T) {
	r := newRig(t, Options{}, session.Options{Echo: true})
	conformance.RunOver(t, func() (net.Conn, error) {
		config := r.ca.Client()
		return tls.DialWithDialer(&net.Dialer{Timeout: clientTimeout}, "tcp", r.addr(), config)
	}, false)
}

// Client libraries speak wss with the bridge.
func TestLibraries(t *testing.T) {
	r := newRig(t, Options{}, session.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), clientTimeout)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: r.ca.Client()}
	defer transport.CloseIdleConnections()
	one, _, err := coder.Dial(ctx, "wss://"+r.addr()+"/ws?topic=news", &coder.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	two, _, err := gws.NewClient(collect(got), &gws.ClientOption{Addr: "wss://" + r.addr() + "/ws?topic=news", TlsConfig: r.ca.Client()})
	if err != nil {
		t.Fatal(err)
	}
	go two.ReadLoop()
	r.push("news", "hello")
	if _, p, err := one.Read(ctx); err != nil || string(p) != "hello" {
		t.Errorf("coder: %q, %v", p, err)
	}
	select {
	case text := <-got:
		if text != "hello" {
			t.Errorf("gws: %q", text)
		}
	case <-ctx.Done():
		t.Error("gws got nothing")
	}
	if err := one.Close(coder.StatusNormalClosure, ""); err != nil {
		t.Errorf("coder: close: %v", err)
	}
	two.WriteClose(1000, nil)
}

// collect is a gws client that passes on what it gets.
type collect chan<- string

func (collect) OnOpen(*gws.Conn)         {}
func (collect) OnClose(*gws.Conn, error) {}
func (collect) OnPing(*gws.Conn, []byte) {}
func (collect) OnPong(*gws.Conn, []byte) {}
func (c collect) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	c <- string(m.Bytes())
}

// Event streams work over https as over http.
func TestEventStream(t *testing.T) {
	r := newRig(t, Options{}, session.Options{Endpoints: streams()})
	transport := &http.Transport{TLSClientConfig: r.ca.Client(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://" + r.addr() + "/sse?topic=news")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 1 || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%v", resp)
	}
	r.push("news", "hello")
	for in := bufio.NewReader(resp.Body); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "data: hello\n" {
			return
		}
	}
}

// A new certificate is shown to new clients, and the clients that are there notice
// nothing.
func TestRotation(t *testing.T) {
	ca, dir := certtest.NewCA(t), t.TempDir()
	cert, key := ca.WritePair(dir, "127.0.0.1")
	store, err := certs.Open(certs.Options{Name: "tls", Pairs: []certs.Pair{{Cert: cert, Key: key}}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, Options{TLS: store.Config()}, session.Options{})
	r.ca = ca
	number := func(c *websocket.Conn) string {
		return c.NetConn().(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := r.dial("/ws?topic=news")
	ca.WritePair(dir, "127.0.0.1") // the same files
	store.Reload()
	after := r.dial("/ws?topic=news")
	if number(before) == number(after) {
		t.Error("the new client sees the old certificate")
	}
	r.push("news", "still there")
	want(t, before, "still there")
	want(t, after, "still there")
}

// A client may continue an earlier TLS session, which costs less.
func TestResumption(t *testing.T) {
	r := newRig(t, Options{}, session.Options{})
	config := r.ca.Client()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for i := range 2 {
		c, _, err := (&websocket.Dialer{TLSClientConfig: config}).Dial("wss://"+r.addr()+"/ws?topic=news", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.push("news", "x")
		want(t, c, "x") // the ticket comes with the first bytes that are read
		c.Close()
		if got := r.Stats().Resumed; got != uint64(i) {
			t.Errorf("connection %d: %d resumed", i, got)
		}
	}
}

// Close waits for clients to read what was left for them, and cuts off those that do
// not when its time is over.
func TestClose(t *testing.T) {
	r := newRig(t, Options{}, session.Options{})
	c := r.dial("/ws?topic=news")
	ctx, cancel := context.WithCancel(t.Context())
	cut := make(chan int, 1)
	go func() { cut <- r.Close(ctx) }()
	eventually(t, "nobody is accepted", func() bool {
		conn, err := dialTCP("", r.addr())
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	r.push("news", "still served")
	want(t, c, "still served")
	select {
	case <-cut:
		t.Fatal("Close has returned while a client is connected")
	default:
	}
	cancel()
	if n := <-cut; n != 1 {
		t.Errorf("%d cut off", n)
	}
	if _, _, err := c.ReadMessage(); err == nil {
		t.Error("the connection is open")
	}
}

// A shard that takes no connection has the client told.
func TestSessionsRefuse(t *testing.T) {
	r := newRig(t, Options{Sessions: busy{}}, session.Options{})
	before := openFiles(t)
	c := r.secure(nil)
	io.WriteString(c, upgrade("/ws"))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "5" {
		t.Errorf("%v, %v", resp, err)
	}
	c.Close()
	r.refusals(CauseSessions, 1)
	eventually(t, "its descriptors are closed", func() bool { return openFiles(t) <= before })
}

type busy struct{}

func (busy) Admit(netip.AddrPort) (a session.Admission, _ *ws.Refusal) { return a, nil }

func (busy) Adopt(int, session.Admission, []byte) error { return &message.OverloadedError{} }

// Options out of range are refused, and a port that is taken is.
func TestOptions(t *testing.T) {
	ok := Options{Sessions: busy{}, TLS: new(tls.Config)}
	for i, change := range []func(*Options){
		func(o *Options) { o.Sessions = nil },
		func(o *Options) { o.TLS = nil },
		func(o *Options) { o.MaxHandshakes = -1 },
		func(o *Options) { o.MaxConnections = 1 << 25 },
		func(o *Options) { o.HandshakeTime = 2 * time.Hour },
		func(o *Options) { o.Workers = 1 << 20 },
		func(o *Options) { o.Listen = []Listen{{Host: "127.0.0.1", Lo: 2, Hi: 1}} },
		func(o *Options) { o.Listen = []Listen{{Host: "192.0.2.1"}} },
	} {
		o := ok
		change(&o)
		if s, err := New(o); err == nil {
			s.closeListeners()
			t.Errorf("%d: no error", i)
		}
	}
	s, err := New(ok)
	if err != nil || len(s.Addrs()) != 0 {
		t.Errorf("%v", err)
	}
}
