package bridge

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"belfry/certs/certtest"
	"belfry/message"
	"belfry/poller"
	"belfry/session"
)

// TestMain gives the tests the processors that a server takes.
func TestMain(m *testing.M) {
	asCrowd()
	runtime.GOMAXPROCS(max(runtime.NumCPU(), poller.Processors(2)))
	os.Exit(m.Run())
}

// clientTimeout bounds each wait of a test.
const clientTimeout = 30 * time.Second

// rig is a bridge in front of sessions.
type rig struct {
	*Server
	t        testing.TB
	sessions *session.Server
	ca       *certtest.CA
	left     []goleak.Option // goroutines that were there before
	files    int             // descriptors that were open before
}

// newRig starts a bridge with a certificate for 127.0.0.1. When the test is over it
// is closed, and nothing of it may be left.
func newRig(t testing.TB, o Options, so session.Options) *rig {
	t.Helper()
	r := &rig{t: t, ca: certtest.NewCA(t), left: []goleak.Option{goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll.(*defaultPoll).Wait"),
		goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll.(*server).OnRead.func1")}}
	so.Poller.Shards, so.Adopts = 2, true
	log := zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	so.Log = log
	if so.Authenticator == nil {
		rules, err := message.CompilePatterns([]string{"*"})
		if err != nil {
			t.Fatal(err)
		}
		so.Authenticator = &session.Open{Unproven: true, Topics: rules}
		so.Subscribe = []string{"*"}
	}
	var err error
	if r.sessions, err = session.New(so); err != nil {
		t.Fatal(err)
	}
	if err := r.sessions.Start(); err != nil {
		t.Fatal(err)
	}
	r.files = openFiles(t)
	if o.Sessions == nil {
		o.Sessions = r.sessions
	}
	if o.TLS == nil {
		o.TLS = &tls.Config{Certificates: []tls.Certificate{r.certificate()}, NextProtos: []string{"http/1.1"}}
	}
	if o.Listen == nil {
		o.Listen = []Listen{{Host: "127.0.0.1"}}
	}
	o.Log = log
	if r.Server, err = New(o); err != nil {
		t.Fatal(err)
	}
	r.Start()
	t.Cleanup(r.end)
	return r
}

func (r *rig) certificate() tls.Certificate {
	pair, err := tls.X509KeyPair(r.ca.Pair(24*time.Hour, "127.0.0.1", "localhost"))
	if err != nil {
		r.t.Fatal(err)
	}
	return pair
}

// end closes everything, in the order of a node's shutdown.
func (r *rig) end() {
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	r.StopAccepting()
	if err := r.sessions.Shutdown(ctx, 0, 0); err != nil {
		r.t.Error(err)
	}
	if cut := r.Close(ctx); cut > 0 {
		r.t.Errorf("%d connections were cut off", cut)
	}
	st := r.Stats()
	if st.Connections != 0 || st.Handshaking != 0 || st.Panics != 0 || len(r.conns) != 0 || len(r.places.by) != 0 || len(r.gate) != 0 || len(r.shakes) != 0 || len(r.poll.by) != 0 {
		r.t.Errorf("left at the end: %+v, %d connections, %d addresses, %d places in the gate", st, len(r.conns), len(r.places.by), len(r.gate))
	}
	if err := goleak.Find(r.left...); err != nil {
		r.t.Error(err)
	}
	for begun := time.Now(); openFiles(r.t) > r.files; time.Sleep(time.Millisecond) {
		if time.Since(begun) > clientTimeout {
			r.t.Errorf("%d descriptors are open, %d before", openFiles(r.t), r.files)
			return
		}
	}
}

func openFiles(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func (r *rig) addr() string { return r.Addrs()[0].String() }

// dial opens a session.
func (r *rig) dial(path string, subprotocols ...string) *websocket.Conn {
	r.t.Helper()
	return r.dialFrom("", path, subprotocols...)
}

// dialFrom is dial from an address of this machine.
func (r *rig) dialFrom(local, path string, subprotocols ...string) *websocket.Conn {
	r.t.Helper()
	d := websocket.Dialer{TLSClientConfig: r.ca.Client(), Subprotocols: subprotocols, HandshakeTimeout: clientTimeout,
		NetDial: func(network, addr string) (net.Conn, error) { return dialTCP(local, addr) }}
	c, resp, err := d.Dial("wss://"+r.addr()+path, nil)
	if err != nil {
		status := ""
		if resp != nil {
			status = resp.Status
		}
		r.t.Fatalf("%s: %v %s", path, err, status)
	}
	r.t.Cleanup(func() { c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(clientTimeout))
	return c
}

func dialTCP(local, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: clientTimeout}
	if local != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(local)}
	}
	return d.Dial("tcp", addr)
}

// push sends a text to a topic.
func (r *rig) push(topic, text string) {
	r.t.Helper()
	d, err := r.sessions.Prepare(&message.Message{ID: "m", Target: message.Target{Scope: message.ScopeTopics, Names: []string{topic}}, Payload: []byte(text)})
	if err != nil {
		r.t.Fatal(err)
	}
	defer d.Leave()
	if _, err := d.Await(context.Background(), message.Wait{Time: time.Second}); err != nil {
		r.t.Fatal(err)
	}
	if err := d.Deliver(); err != nil {
		r.t.Fatal(err)
	}
}

func want(t testing.TB, c *websocket.Conn, text string) {
	t.Helper()
	if _, p, err := c.ReadMessage(); err != nil || string(p) != text {
		t.Fatalf("got %.60q, %v; want %.60q", p, err, text)
	}
}

// hello reads the first message of a belfry.v1 session.
func hello(t testing.TB, c *websocket.Conn) (sid string) {
	t.Helper()
	_, p, err := c.ReadMessage()
	var m struct{ Type, Session string }
	if err != nil || json.Unmarshal(p, &m) != nil || m.Type != "hello" {
		t.Fatalf("got %q, %v", p, err)
	}
	return m.Session
}

// secure makes a TLS connection without a request.
func (r *rig) secure(change func(*tls.Config)) *tls.Conn {
	r.t.Helper()
	return r.secureFrom("", change)
}

// secureFrom is secure from an address of this machine.
func (r *rig) secureFrom(local string, change func(*tls.Config)) *tls.Conn {
	r.t.Helper()
	config := r.ca.Client()
	config.ServerName = "127.0.0.1"
	if change != nil {
		change(config)
	}
	raw, err := dialTCP(local, r.addr())
	if err != nil {
		r.t.Fatal(err)
	}
	_ = raw.SetDeadline(time.Now().Add(clientTimeout))
	c := tls.Client(raw, config)
	r.t.Cleanup(func() { raw.Close() })
	if err := c.Handshake(); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// upgrade is a request for a session.
func upgrade(path string) string {
	return fmt.Sprintf("GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", path)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > clientTimeout {
			t.Fatalf("never: %s", what)
		}
	}
}

// refusals waits until so many connections were refused for a cause.
func (r *rig) refusals(c Cause, n uint64) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%d refused: %v", n, c), func() bool { return r.Stats().Refused[c.String()] == n })
}
