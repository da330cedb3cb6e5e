package push

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"belfry/certs"
	"belfry/certs/certtest"
)

// secureOptions returns options for an API with TLS, and the CA of its certificate.
func secureOptions(t *testing.T, clientCA bool) (Options, *certtest.CA) {
	t.Helper()
	ca, dir := certtest.NewCA(t), t.TempDir()
	cert, key := ca.WritePair(dir, "127.0.0.1")
	o := certs.Options{Name: "api.tls", Pairs: []certs.Pair{{Cert: cert, Key: key}}}
	if clientCA {
		o.ClientCA = ca.Write(dir)
	}
	store, err := certs.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return Options{TLS: store.Config(), Keys: []Key{{Secret: "0123456789abcdef"}}}, ca
}

// secureClient returns a client that would speak HTTP/2 if it could.
func secureClient(t *testing.T, config *tls.Config) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func pushRequest(t *testing.T, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer 0123456789abcdef")
	r.Header.Set("Content-Type", "text/plain")
	return r
}

// Pushes and batches work over HTTPS, on connections that are kept.
func TestSecurePush(t *testing.T) {
	o, ca := secureOptions(t, false)
	sink := &recorder{}
	o.Publisher = sink
	s, _, _ := serve(t, o)
	client := secureClient(t, ca.Client())
	base := "https://" + s.Addr().String()
	for _, body := range []string{"hello", strings.Repeat("x", 60<<10), "bye"} {
		resp, err := client.Do(pushRequest(t, base+"/v1/all", body))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 202 || resp.ProtoMajor != 1 {
			t.Errorf("%s %s", resp.Proto, resp.Status)
		}
	}
	if n := s.Stats().Connections; n != 1 {
		t.Errorf("%d connections for three pushes", n)
	}
	batch := pushRequest(t, base+"/v1/batch", strings.Repeat(`{"to":{"all":true},"text":"x"}`+"\n", 3000))
	batch.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := client.Do(batch)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := 0
	for in := bufio.NewScanner(resp.Body); in.Scan(); lines++ {
	}
	if lines != 3000 {
		t.Errorf("%d answers", lines)
	}
}

// Refusals that net/http writes by itself, and those with a body that is not read,
// arrive inside TLS with a close_notify.
func TestSecureRefusals(t *testing.T) {
	o, ca := secureOptions(t, false)
	s, _, _ := serve(t, o)
	for _, tc := range []struct {
		request string
		status  int
	}{
		{"GET / HTTP/1.1\r\nHost: a b\r\nbad\r\n\r\n", 400},
		{"POST /v1/all HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx", 401},
	} {
		config := ca.Client()
		config.ServerName = "127.0.0.1"
		c, err := tls.Dial("tcp", s.Addr().String(), config)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(c, tc.request)
		in := bufio.NewReader(c)
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != tc.status || !strings.Contains(resp.Header.Get("Content-Type"), "json") {
			t.Fatalf("%q: %v, %v", tc.request, resp, err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Error(err)
		}
		if _, err := in.ReadByte(); err != io.EOF {
			t.Errorf("%q: %v, want EOF after a close_notify", tc.request, err)
		}
		c.Close()
	}
}

// A connection that is closed because it was idle ends with a close_notify.
func TestSecureCloseNotify(t *testing.T) {
	o, ca := secureOptions(t, false)
	o.Limits = Limits{IdleTimeout: 10 * time.Millisecond}
	s, _, _ := serve(t, o)
	tcp, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	raw := &received{Conn: tcp}
	c := tls.Client(raw, &tls.Config{RootCAs: ca.Pool(), ServerName: "127.0.0.1", MaxVersion: tls.VersionTLS12}) // its alerts can be seen
	io.WriteString(c, healthCheck)
	if text, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 200 ") {
		t.Errorf("%q, %v", text, err)
	}
	const alert, size = 21, 5 + 8 + 2 + 16 // header, nonce, alert, tag
	if n := len(raw.got); n < size || raw.got[n-size] != alert {
		t.Errorf("the connection ended with %x", raw.got[max(0, n-size):])
	}
}

// received is a connection that keeps what was received.
type received struct {
	net.Conn
	got []byte
}

func (r *received) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.got = append(r.got, p[:n]...)
	return n, err
}

// net/http passes the bodies of files to the connection by ReadFrom. They are
// encrypted too.
func TestSecureReadFrom(t *testing.T) {
	c, client := securePair(t)
	body := strings.Repeat("body ", 10_000)
	go func() {
		_, _ = c.ReadFrom(strings.NewReader(body))
		c.Close()
	}()
	if got, err := io.ReadAll(client); err != nil || string(got) != body {
		t.Errorf("%d bytes, %v; want %d", len(got), err, len(body))
	}
}

// A client that speaks HTTP without TLS is told to use https.
func TestHTTPToHTTPS(t *testing.T) {
	o, _ := secureOptions(t, false)
	s, _, _ := serve(t, o)
	resp, err := http.Get("http://" + s.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var p struct{ Detail string }
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || resp.StatusCode != 400 || !strings.Contains(p.Detail, "https://") {
		t.Errorf("%s, %+v, %v", resp.Status, p, err)
	}
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "\x00\x01\x02\x03\x04\x05\x06\x07")
	if p, err := io.ReadAll(c); len(p) > 0 {
		t.Errorf("%q, %v", p, err)
	}
	if n := s.Stats().HandshakesFailed; n != 2 {
		t.Errorf("%d failed handshakes", n)
	}
}

// With a CA for clients, a client needs a certificate and a key. The health
// address needs neither, and no TLS.
func TestMutualTLS(t *testing.T) {
	o, ca := secureOptions(t, true)
	o.HealthAddress = "127.0.0.1:0"
	s, _, _ := serve(t, o)
	with := ca.Client()
	pair, err := tls.X509KeyPair(ca.Pair(time.Hour, "backend"))
	if err != nil {
		t.Fatal(err)
	}
	with.Certificates = []tls.Certificate{pair}
	url := "https://" + s.Addr().String() + "/v1/all"
	resp, err := secureClient(t, with).Do(pushRequest(t, url, "x"))
	if err != nil || resp.StatusCode != 202 {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	keyless := pushRequest(t, url, "x")
	keyless.Header.Del("Authorization")
	if resp, err = secureClient(t, with).Do(keyless); err != nil || resp.StatusCode != 401 {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	if resp, err := secureClient(t, ca.Client()).Do(pushRequest(t, url, "x")); err == nil {
		t.Errorf("%s without a certificate", resp.Status)
	}
	until(t, func() bool { return s.Stats().HandshakesFailed == 1 })
	if resp, err = http.Get("http://" + s.HealthAddr().String() + "/healthz"); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
}

// The limit on connections holds as without TLS: a new one gets the place of one
// that waits, and one that does not finish its handshake is closed in time.
func TestSecureConnectionsAreLimited(t *testing.T) {
	o, ca := secureOptions(t, false)
	o.Limits = Limits{MaxConnections: 2}
	s, _, _ := serve(t, o)
	for range 6 {
		resp, err := secureClient(t, ca.Client()).Do(pushRequest(t, "https://"+s.Addr().String()+"/v1/all", "x"))
		if err != nil || resp.StatusCode != 202 {
			t.Fatalf("%v, %v", resp, err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		until(t, func() bool { return s.listeners[0].limit.waiting() > 0 })
	}
	if n := s.Stats().ConnectionsEvicted; n != 4 {
		t.Errorf("%d evicted", n)
	}
	o.Limits = Limits{ReadHeaderTimeout: 50 * time.Millisecond}
	s, _, _ = serve(t, o)
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte{22, 3, 1})
	if _, err := io.ReadAll(c); err != nil {
		t.Error(err)
	}
}

// A client that has closed its connection is noticed, although its close_notify is
// there to be read.
func TestSecurePresence(t *testing.T) {
	c, client := securePair(t)
	if c.client.gone() {
		t.Error("gone while connected")
	}
	client.Close()
	until(t, c.client.gone)
}

// securePair returns both ends of a connection with TLS, after the handshake. The
// server's has a place.
func securePair(t *testing.T) (*conn, *tls.Conn) {
	t.Helper()
	o, ca := secureOptions(t, false)
	other, tcp := tcpPair(t)
	c := newConn(tcp, new(counters))
	newConnLimit(1).take(c)
	c.secure(o.TLS)
	config := ca.Client()
	config.ServerName = "127.0.0.1"
	client := tls.Client(other, config)
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := c.tls.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return c, client
}
