//go:build e2e

package deploy

import (
	"net/http"
	"testing"
)

// In HTTP mode HAProxy leaves Host and Upgrade as they are.
func TestE2EHAProxyHTTP(t *testing.T) {
	n := startNode(t, "proxy.trusted=127.0.0.0/8")
	p := startHAProxy(t, n, "haproxy/belfry-http.cfg")
	exchange(t, p, n, visit{url: "wss://" + site, origin: "https://" + site}, "default-port")
	exchange(t, p, n, visit{url: "wss://" + site + ":8443", origin: "https://" + site + ":8443"}, "own-port")
	p.refused(t, visit{url: "wss://" + site + "/ws", origin: "https://evil.example.com"}, http.StatusForbidden, "https://evil.example.com", "upgrade.origins")
}

// The short form of a check, as in most examples: HTTP/1.0 without Host.
func TestE2EHAProxyShortCheck(t *testing.T) {
	n := startNode(t)
	p := startHAProxy(t, n, "haproxy/belfry-http.cfg", "option httpchk", "option httpchk GET /healthz",
		"http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host belfry", "")
	exchange(t, p, n, visit{url: "wss://" + site, origin: "https://" + site}, "short")
}

// In TCP mode a PROXY protocol header of either version comes before the
// request.
func TestE2EHAProxyTCP(t *testing.T) {
	for version, option := range map[string]string{"v1": "send-proxy", "v2": "send-proxy-v2"} {
		t.Run(version, func(t *testing.T) {
			n := startNode(t, "proxy.protocol={listen}", "proxy.trusted=127.0.0.0/8")
			p := startHAProxy(t, n, "haproxy/belfry-tcp.cfg", " send-proxy-v2", " "+option)
			exchange(t, p, n, visit{url: "wss://" + site, origin: "https://" + site}, "default-port")
			p.refused(t, visit{url: "wss://" + site + "/ws", origin: "https://evil.example.com"}, http.StatusForbidden, "https://evil.example.com")
		})
	}
}

// A PROXY header that belfry does not expect gets a text that says what to set:
// only the proxy was configured.
func TestE2EHAProxyTCPUnexpected(t *testing.T) {
	for version, option := range map[string]string{"v1": "send-proxy", "v2": "send-proxy-v2"} {
		t.Run(version, func(t *testing.T) {
			n := startNode(t)
			p := startHAProxy(t, n, "haproxy/belfry-tcp.cfg", " send-proxy-v2", " "+option, " check inter 100ms fall 50", "")
			p.refused(t, visit{url: "wss://" + site + "/ws", origin: "https://" + site}, http.StatusBadRequest, "PROXY", "proxy.protocol")
		})
	}
}

// The other way round: a listener that expects the header, and a proxy that
// sends none.
func TestE2EHAProxyTCPMissing(t *testing.T) {
	n := startNode(t, "proxy.protocol={listen}", "proxy.trusted=127.0.0.0/8")
	p := startHAProxy(t, n, "haproxy/belfry-tcp.cfg", " send-proxy-v2", "", " check inter 100ms fall 50", "")
	p.refused(t, visit{url: "wss://" + site + "/ws", origin: "https://" + site}, http.StatusBadRequest, "PROXY", "proxy.protocol")
}
