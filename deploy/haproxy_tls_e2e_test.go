//go:build e2e

package deploy

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// startSecureNode starts a node that terminates TLS itself and expects a PROXY header
// from 127.0.0.1.
func startSecureNode(t *testing.T, settings ...string) (*node, certificate) {
	t.Helper()
	cert := makeCertificate(t)
	return startNode(t, append([]string{"tls.cert=" + cert.cert, "tls.key=" + cert.key, "proxy.protocol={listen}", "proxy.trusted=127.0.0.1"}, settings...)...), cert
}

// startHAProxyTLS runs HAProxy in front of a node that terminates TLS itself.
func startHAProxyTLS(t *testing.T, n *node, cert certificate, pairs ...string) *proxy {
	t.Helper()
	p := &proxy{address: freeAddress(t), roots: cert.pool}
	p.runHAProxy(t, configuration(t, "haproxy/belfry-passthrough.cfg", append([]string{"bind :443", "bind " + p.address, "127.0.0.1:8443", n.listen,
		"/etc/haproxy/belfry-ca.pem", cert.cert}, pairs...)...))
	return p
}

// told is a backend that is asked about clients and told of their events. It keeps what
// addresses it was told.
type told struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // type of the event, address in the body, address in the header
}

func startTold(t *testing.T) *told {
	b := new(told)
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

func (b *told) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct{ Address string }
	if text, err := io.ReadAll(r.Body); err == nil && json.Valid(text) {
		_ = json.Unmarshal(text, &body)
	}
	b.mu.Lock()
	b.seen = append(b.seen, fmt.Sprintf("%s %s %s", r.Header.Get("Ce-Type"), body.Address, r.Header.Get("Ce-Address")))
	b.mu.Unlock()
	if r.URL.Path == "/decide" {
		io.WriteString(w, `{"uid":"ann"}`)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// wants waits until the backend was told all of it.
func (b *told) wants(t *testing.T, lines ...string) {
	t.Helper()
	eventually(t, "the backend", nil, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, line := range lines {
			if !slices.Contains(b.seen, line) {
				return fmt.Errorf("not told %q, but %q", line, b.seen)
			}
		}
		return nil
	})
}

// HAProxy passes TLS on to belfry, behind a PROXY header: sessions work, health checks
// succeed, and webhook and gateway are told the client's address and not the proxy's.
func TestE2EHAProxyTLS(t *testing.T) {
	b := startTold(t)
	n, cert := startSecureNode(t, "auth.webhook.url="+b.URL+"/decide",
		fmt.Sprintf(`gateway.routes=[{name: all, url: "%s/events", events: [connect, message, disconnect]}]`, b.URL))
	p := startHAProxyTLS(t, n, cert)
	exchange(t, p, n, visit{url: "wss://" + site, origin: "https://" + site}, "through-haproxy")
	p.refused(t, visit{url: "wss://" + site + "/ws", origin: "https://evil.example.com"}, http.StatusForbidden, "https://evil.example.com", "upgrade.origins")

	c := p.mustDial(t, visit{url: "wss://" + site + "/ws", from: "127.0.0.11"})
	address := c.LocalAddr().String()
	if !strings.HasPrefix(address, "127.0.0.11:") {
		t.Fatalf("the client is %s", address)
	}
	if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	b.wants(t, "belfry.session.connect "+address+" ", "belfry.session.opened "+address+" "+address,
		"belfry.message  "+address, "belfry.session.closed "+address+" "+address)
}

// Limits count the client's address. Beyond a number of connections it is told inside
// TLS; a client that connects too fast is closed before the handshake.
func TestE2EHAProxyTLSAddress(t *testing.T) {
	n, cert := startSecureNode(t, "upgrade.max_per_address=1")
	p := startHAProxyTLS(t, n, cert)
	one, two := visit{url: "wss://" + site + "/ws", from: "127.0.0.11"}, visit{url: "wss://" + site + "/ws", from: "127.0.0.12"}
	p.mustDial(t, one)
	p.refused(t, one, http.StatusTooManyRequests, "upgrade.max_per_address")
	p.mustDial(t, two)

	n, cert = startSecureNode(t, "upgrade.rate_per_address=1")
	p = startHAProxyTLS(t, n, cert)
	refused := false
	for range 100 { // until the rate is exceeded, on a slow machine
		if c, status, text := p.dial(t, one); c == nil {
			if refused = true; status != 0 {
				t.Errorf("too fast: %d %s; want no answer at all", status, text)
			}
			break
		}
	}
	if !refused {
		t.Error("100 connections were all admitted")
	}
	p.mustDial(t, two)
	for _, line := range []string{`belfry_tls_refused_total{cause="address_rate"} 1`, `belfry_limits_hit_total{limit="upgrade.rate_per_address"} 1`} {
		if !n.metric(t, line) {
			t.Errorf("no line %s", line)
		}
	}
}

// A proxy that sends no header, and a header of somebody who is not a trusted proxy, are
// refused in plain text, because the header comes before TLS. The text says what to set.
func TestE2EHAProxyTLSMissing(t *testing.T) {
	n, cert := startSecureNode(t)
	// Without a check: HAProxy would find the node dead and close at once.
	p := startHAProxyTLS(t, n, cert, " send-proxy-v2", "", " check inter 2s", "")
	for _, c := range []struct {
		name, address, from, header string
		words                       []string
	}{
		{"no header", p.address, "127.0.0.11", "", []string{"HTTP/1.1 400 ", "begins with a PROXY protocol header (proxy.protocol), this one with TLS"}},
		{"no header, not through the proxy", n.listen, "127.0.0.11", "", []string{"HTTP/1.1 403 ", "127.0.0.11", "proxy.trusted"}},
		{"a header, not through the proxy", n.listen, "127.0.0.11", "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n", []string{"HTTP/1.1 403 ", "127.0.0.11", "proxy.trusted"}},
	} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.from)}}
		conn, err := d.Dial("tcp", c.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, c.header+"\x16\x03\x01\x00\x05hello") // how TLS begins
		text, err := io.ReadAll(conn)
		for _, w := range c.words {
			if !strings.Contains(string(text), w) {
				t.Errorf("%s: %q, %v does not say %q", c.name, text, err, w)
			}
		}
	}
	if _, status, text := p.dial(t, visit{url: "wss://" + site + "/ws"}); status != 0 {
		t.Errorf("a client is answered: %d %s", status, text)
	}
	if !n.metric(t, `belfry_tls_refused_total{cause="proxy"} 4`) || !n.metric(t, "belfry_tls_handshakes_total 0") {
		t.Error("the metrics do not show four refusals and no handshake")
	}
}

// metric says whether the node's metrics have a line.
func (n *node) metric(t *testing.T, line string) bool {
	t.Helper()
	resp, err := http.Get("http://" + n.api + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(text), "\n"+line+"\n")
}
