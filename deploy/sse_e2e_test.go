//go:build e2e

package deploy

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// browser is an HTTP client for which the proxy is the site. It uses HTTP/1.1
// or the protocol that the proxy prefers.
func (p *proxy) browser(http2 bool) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.roots, ServerName: site}, ForceAttemptHTTP2: http2,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp4", p.address)
		}}
	if !http2 {
		tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	return &http.Client{Transport: tr}
}

// sessions returns how many sessions a node has.
func (n *node) sessions() (int, error) {
	resp, err := http.Get("http://" + n.api + "/v1/stats")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var stats struct{ Sessions int }
	return stats.Sessions, json.NewDecoder(resp.Body).Decode(&stats)
}

// getStream requests an event stream like a page of origin; "" is a page of the
// site.
func (p *proxy) getStream(t *testing.T, ctx context.Context, http2 bool, target, origin string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+site+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	resp, err := p.browser(http2).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// streams checks that each event arrives before the next push, that comments
// arrive when there are no events, and that the session ends with its client.
func streams(t *testing.T, p *proxy, n *node, http2 bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	resp := p.getStream(t, ctx, http2, "/sse?topic=events", "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || (resp.ProtoMajor == 2) != http2 {
		t.Fatalf("%s %s, %v", resp.Proto, resp.Status, resp.Header)
	}
	lines := bufio.NewReader(resp.Body)
	await := func(want string) {
		t.Helper()
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("%v before %q", err, want)
			}
			if line == want+"\n" {
				return
			}
		}
	}
	await("retry: 3000")
	for i := range 3 {
		text := fmt.Sprint("event ", i)
		n.push(t, "events", text)
		await("data: " + text)
	}
	await(":")
	n.push(t, "events", strings.Repeat("belfry ", 8000)) // larger than a proxy's buffer
	await("data: " + strings.Repeat("belfry ", 8000))
	cancel()
	eventually(t, "the session's end", nil, func() error {
		if count, err := n.sessions(); err != nil || count != 0 {
			return fmt.Errorf("%d sessions, %v", count, err)
		}
		return nil
	})

	refused := p.getStream(t, t.Context(), http2, "/sse", "https://evil.example.com")
	text, _ := io.ReadAll(refused.Body)
	if refused.StatusCode != http.StatusForbidden || !strings.Contains(string(text), "upgrade.origins") {
		t.Errorf("another origin: %s: %s", refused.Status, text)
	}
}

// Event streams pass the proxies with the configurations of deploy/ without
// delay, over HTTP/1.1 and HTTP/2.
func TestE2EEventStreams(t *testing.T) {
	const pings = "session.ping_interval=1s"
	for _, c := range []struct {
		name  string
		start func(*testing.T, *node) *proxy
		http2 bool // the proxy speaks it
	}{
		{"nginx", func(t *testing.T, n *node) *proxy { return startNginx(t, n, "nginx/belfry.conf") }, true},
		{"nginx with the name alone", func(t *testing.T, n *node) *proxy { return startNginx(t, n, "nginx/belfry-host.conf") }, false},
		{"haproxy", func(t *testing.T, n *node) *proxy { return startHAProxy(t, n, "haproxy/belfry-http.cfg") }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := startNode(t, pings)
			p := c.start(t, n)
			streams(t, p, n, false)
			if c.http2 {
				streams(t, p, n, true)
			}
		})
	}
	t.Run("haproxy by PROXY protocol", func(t *testing.T) {
		n := startNode(t, pings, "proxy.protocol={listen}", "proxy.trusted=127.0.0.0/8")
		streams(t, startHAProxy(t, n, "haproxy/belfry-tcp.cfg"), n, false)
	})
}
