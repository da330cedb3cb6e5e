//go:build e2e

package deploy

import (
	"net/http"
	"testing"
)

// Limits use the client's address if the proxy is trusted, otherwise the
// proxy's. A limit of one connection per address shows which.
func TestE2EClientAddress(t *testing.T) {
	// Clients and proxies are all in 127.0.0.0/8 here. So only the proxy's own
	// address is trusted, because trusted networks have no limit.
	const limit, trusted = "upgrade.max_per_address=1", "proxy.trusted=127.0.0.1"
	nginx := func(t *testing.T, n *node) *proxy { return startNginx(t, n, "nginx/belfry.conf") }
	haproxy := func(t *testing.T, n *node) *proxy {
		return startHAProxy(t, n, "haproxy/belfry-http.cfg", " check inter 100ms fall 50", "")
	}
	tcp := func(t *testing.T, n *node) *proxy {
		return startHAProxy(t, n, "haproxy/belfry-tcp.cfg", " check inter 100ms fall 50", "")
	}
	for _, c := range []struct {
		name     string
		settings []string
		start    func(*testing.T, *node) *proxy
		told     bool // belfry knows the clients' addresses
	}{
		{"nginx", []string{limit, trusted}, nginx, true},
		{"nginx, not trusted", []string{limit}, nginx, false},
		{"haproxy", []string{limit, trusted}, haproxy, true},
		{"haproxy, not trusted", []string{limit}, haproxy, false},
		{"haproxy by PROXY protocol", []string{limit, "proxy.protocol={listen}", trusted}, tcp, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := startNode(t, c.settings...)
			p := c.start(t, n)
			one := visit{url: "wss://" + site + "/ws", from: "127.0.0.11"}
			two := visit{url: "wss://" + site + "/ws", from: "127.0.0.12"}
			forger := visit{url: "wss://" + site + "/ws", from: "127.0.0.11", header: http.Header{"X-Forwarded-For": {"192.0.2.7"}}}
			p.mustDial(t, one)
			p.refused(t, one, http.StatusTooManyRequests)
			p.refused(t, forger, http.StatusTooManyRequests) // a field written by the client is ignored
			if c.told {
				p.mustDial(t, two)
			} else {
				p.refused(t, two, http.StatusTooManyRequests)
			}
		})
	}
}
