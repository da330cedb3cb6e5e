//go:build e2e

package deploy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// visit is a browser's connection through a proxy.
type visit struct {
	url    string // as the page has it; its port may differ from the proxy's
	origin string
	from   string // the client's address, 127.0.0.1 if ""
	header http.Header
	v1     bool // speaks belfry.v1
}

// dial connects. It returns an answer other than 101 with its text.
func (p *proxy) dial(t *testing.T, v visit) (*websocket.Conn, int, string) {
	t.Helper()
	header := v.header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	if v.origin != "" {
		header.Set("Origin", v.origin)
	}
	var protocols []string
	if v.v1 {
		protocols = []string{"belfry.v1"}
	}
	d := websocket.Dialer{Subprotocols: protocols, HandshakeTimeout: 10 * time.Second, TLSClientConfig: &tls.Config{RootCAs: p.roots, ServerName: site, NextProtos: []string{"http/1.1"}},
		NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			if v.from != "" {
				d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(v.from)}
			}
			return d.DialContext(ctx, "tcp4", p.address)
		}}
	c, resp, err := d.Dial(v.url, header)
	if err == nil {
		t.Cleanup(func() { c.Close() })
		return c, http.StatusSwitchingProtocols, ""
	}
	if resp == nil {
		return nil, 0, err.Error()
	}
	body, _ := io.ReadAll(resp.Body)
	return nil, resp.StatusCode, string(body)
}

// mustDial fails the test unless the connection is accepted.
func (p *proxy) mustDial(t *testing.T, v visit) *websocket.Conn {
	t.Helper()
	c, status, text := p.dial(t, v)
	if c == nil {
		t.Fatalf("%s from a page of %q: %d %s", v.url, v.origin, status, text)
	}
	return c
}

// refused fails the test unless the answer has the status, and its text all of
// the words.
func (p *proxy) refused(t *testing.T, v visit, status int, words ...string) {
	t.Helper()
	_, got, text := p.dial(t, v)
	if got != status {
		t.Errorf("%s from a page of %q: %d, not %d: %s", v.url, v.origin, got, status, text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s from a page of %q: %d %q does not say %q", v.url, v.origin, got, text, w)
		}
	}
}

// arrives fails the test unless the next message is text.
func arrives(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, p, err := c.ReadMessage()
	if err != nil || string(p) != text {
		t.Fatalf("%q, %v instead of %q", p, err, text)
	}
}

// exchange uses a session: a push arrives, messages larger than any buffer of a
// proxy pass in both directions, pings are answered, and the close code passes.
func exchange(t *testing.T, p *proxy, n *node, v visit, topic string) {
	t.Helper()
	base := v.url
	v.url = base + "/ws?topic=" + topic
	c := p.mustDial(t, v)
	for i := range 3 {
		text := fmt.Sprintf("push %d to %s", i, topic)
		n.push(t, topic, text)
		arrives(t, c, text)
	}
	pong := make(chan string, 1)
	c.SetPongHandler(func(s string) error { pong <- s; return nil })
	if err := c.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	// Pongs are handled while a message is read. Backends push to the node
	// directly, so a push may overtake the ping.
	for end := time.Now().Add(10 * time.Second); len(pong) == 0; {
		if time.Now().After(end) {
			t.Fatal("no pong")
		}
		n.push(t, topic, "after the ping")
		arrives(t, c, "after the ping")
	}
	if s := <-pong; s != "are you there" {
		t.Errorf("pong %q", s)
	}
	if err := c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4321, "bye"), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 4321) {
		t.Errorf("after the close frame: %v", err)
	}
	publishes(t, p, v, topic)
}

// publishes connects with belfry.v1 and publishes to itself.
func publishes(t *testing.T, p *proxy, v visit, topic string) {
	t.Helper()
	v.v1 = true
	c := p.mustDial(t, v)
	if c.Subprotocol() != "belfry.v1" {
		t.Fatalf("subprotocol %q", c.Subprotocol())
	}
	large := strings.Repeat("belfry ", 8000)
	err := c.WriteJSON(map[string]any{"type": "pub", "to": map[string]string{"topic": topic}, "data": large})
	if err != nil {
		t.Fatal(err)
	}
	// A push from just before the session opened may come first, because its
	// shard may have looked at the new connection before its mailbox.
	for range 10 {
		var m struct{ Type, Data string }
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if err := c.ReadJSON(&m); err != nil {
			t.Fatal(err)
		}
		if m.Type == "msg" && m.Data == large {
			return
		}
	}
	t.Error("the published message did not come back")
}
