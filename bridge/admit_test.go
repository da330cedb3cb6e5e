package bridge

import (
	"bufio"
	"io"
	"net/http"
	"net/netip"
	"testing"

	"belfry/session"
)

// answered sends what a connection begins with and says whether the server answers. A
// client that is refused before its handshake is closed without a byte.
func (r *rig) answered(from, proxyHeader string, hello []byte) bool {
	c := r.raw(from)
	defer c.Close()
	_, _ = c.Write(append([]byte(proxyHeader), hello...)) // the server may have closed it
	n, _ := c.Read(make([]byte, 1))
	return n > 0
}

// tries is how often a test connects until a rate of one a second refuses it, on a
// machine that is slow.
const tries = 100

// refusedAfter connects until the server does not answer.
func (r *rig) refusedAfter(from, proxyHeader string, hello []byte) {
	r.t.Helper()
	for range tries {
		if !r.answered(from, proxyHeader, hello) {
			return
		}
	}
	r.t.Fatalf("%s %q: %d connections were all answered", from, proxyHeader, tries)
}

// An address that connects too fast is closed before its handshake, and counted as
// without TLS. Others are not.
func TestAddressRate(t *testing.T) {
	r := newRig(t, Options{}, session.Options{RatePerAddress: 1})
	hello := clientHello(t)
	r.dialFrom("127.0.0.9", "/ws")
	r.refusedAfter("127.0.0.9", "", hello)
	before := r.Stats()
	r.refusals(CauseAddressRate, 1)
	if n := r.sessions.Stats().Limits["upgrade.rate_per_address"]; n != 1 {
		t.Errorf("upgrade.rate_per_address was hit %d times", n)
	}
	r.dialFrom("127.0.0.10", "/ws")
	if st := r.Stats(); st.Handshakes != before.Handshakes+1 {
		t.Errorf("%d handshakes, then %d", before.Handshakes, st.Handshakes)
	}
}

// Behind a proxy the address is that of the PROXY header, which comes before the
// handshake.
func TestAddressRatePROXY(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	r := newRig(t, Options{Listen: []Listen{{Host: "127.0.0.1", Proxy: true}}, Trusted: trusted},
		session.Options{RatePerAddress: 1, Proxy: session.ProxyOptions{Trusted: trusted}})
	hello := clientHello(t)
	r.refusedAfter("", "PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n", hello)
	r.refusals(CauseAddressRate, 1)
	if !r.answered("", "PROXY TCP4 192.0.2.9 192.0.2.1 4711 443\r\n", hello) {
		t.Error("another client of the proxy is refused")
	}
	for range 10 {
		if !r.answered("", "PROXY UNKNOWN\r\n", hello) {
			t.Error("the proxy itself is refused")
		}
	}
}

// Beyond the node's rate a client is closed before its handshake. A trusted proxy is
// not: its health checks are answered, and its other requests refused inside TLS.
func TestConnectRate(t *testing.T) {
	r := newRig(t, Options{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.3/32")}},
		session.Options{NodeLimits: session.NodeLimits{ConnectRate: 1, ConnectBurst: 2}, Healthy: func() bool { return true },
			Proxy: session.ProxyOptions{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.3/32")}}})
	hello := clientHello(t)
	ask := func(request string) int {
		c := r.secureFrom("127.0.0.3", nil)
		defer c.Close()
		io.WriteString(c, request)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	r.refusedAfter("", "", hello)
	r.refusals(CauseConnectRate, 1)
	status := 101
	for range tries {
		if status != 101 {
			break
		}
		status = ask(upgrade("/ws"))
	}
	if status != 503 {
		t.Errorf("a proxy beyond the rate gets %d", status)
	}
	for range 10 {
		if status := ask("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"); status != 200 {
			t.Errorf("a health check beyond the rate gets %d", status)
		}
	}
	if n := r.sessions.Stats().Limits["upgrade.rate"]; n != 2 {
		t.Errorf("upgrade.rate was hit %d times", n)
	}
}
