//go:build e2e

package deploy

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"testing"
	"time"
)

// Numbers of RFC 9113 and RFC 8441 for a WebSocket over HTTP/2.
const (
	h2Data     = 0x0
	h2Headers  = 0x1
	h2Settings = 0x4

	h2Ack        = 0x1
	h2EndHeaders = 0x4

	h2EnableConnect = 0x8 // SETTINGS_ENABLE_CONNECT_PROTOCOL
	h2Status200     = 0x88
)

// h2 is an HTTP/2 connection.
type h2 struct {
	*tls.Conn
	connect bool // the server accepts extended CONNECT
}

// dialH2 makes a connection and reads the server's settings.
func (p *proxy) dialH2(t *testing.T) *h2 {
	t.Helper()
	c, err := tls.Dial("tcp", p.address, &tls.Config{RootCAs: p.roots, ServerName: site, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if got := c.ConnectionState().NegotiatedProtocol; got != "h2" {
		t.Fatalf("protocol %q", got)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	h := &h2{Conn: c}
	if _, err := io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	h.write(t, h2Settings, 0, 0, nil)
	for {
		kind, flags, p := h.read(t)
		if kind != h2Settings || flags&h2Ack != 0 {
			continue
		}
		for ; len(p) >= 6; p = p[6:] {
			if binary.BigEndian.Uint16(p) == h2EnableConnect && binary.BigEndian.Uint32(p[2:]) == 1 {
				h.connect = true
			}
		}
		h.write(t, h2Settings, h2Ack, 0, nil)
		return h
	}
}

func (h *h2) write(t *testing.T, kind, flags byte, stream uint32, payload []byte) {
	t.Helper()
	n := len(payload)
	f := binary.BigEndian.AppendUint32([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, stream)
	if _, err := h.Write(append(f, payload...)); err != nil {
		t.Fatal(err)
	}
}

func (h *h2) read(t *testing.T) (kind, flags byte, payload []byte) {
	t.Helper()
	var head [9]byte
	if _, err := io.ReadFull(h, head[:]); err != nil {
		t.Fatal(err)
	}
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(h, payload); err != nil {
		t.Fatal(err)
	}
	return head[3], head[4], payload
}

// field appends a header field as a literal without indexing (RFC 7541 §6.2.2).
func field(dst []byte, name, value string) []byte {
	dst = append(dst, 0, byte(len(name)))
	dst = append(append(dst, name...), byte(len(value)))
	return append(dst, value...)
}

// A browser with an HTTP/2 connection to HAProxy opens its WebSocket over it
// (RFC 8441); belfry gets a WebSocket over HTTP/1.1.
func TestE2EHAProxyHTTP2(t *testing.T) {
	n := startNode(t)
	p := startHAProxy(t, n, "haproxy/belfry-http.cfg", " check inter 100ms fall 50", "")
	h := p.dialH2(t)
	if !h.connect {
		t.Skip("this HAProxy does not accept WebSockets over HTTP/2")
	}
	var head []byte
	for _, f := range [][2]string{{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"}, {":path", "/ws?topic=h2"},
		{":authority", site}, {"sec-websocket-version", "13"}, {"origin", "https://" + site}} {
		head = field(head, f[0], f[1])
	}
	h.write(t, h2Headers, h2EndHeaders, 1, head)
	for {
		kind, _, p := h.read(t)
		if kind != h2Headers {
			continue
		}
		if !bytes.HasPrefix(p, []byte{h2Status200}) {
			t.Fatalf("answer %x, not 200", p)
		}
		break
	}
	n.push(t, "h2", "over HTTP/2")
	want := append([]byte{0x81, 11}, "over HTTP/2"...)
	var got []byte
	for len(got) < len(want) {
		if kind, _, p := h.read(t); kind == h2Data {
			got = append(got, p...)
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%q arrived", got)
	}
	// The answer to a close frame with 1000 and mask 0 is a close frame with
	// 1000.
	h.write(t, h2Data, 0, 1, []byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8})
	for got = nil; len(got) < 4; {
		if kind, _, p := h.read(t); kind == h2Data {
			got = append(got, p...)
		}
	}
	if !bytes.Equal(got, []byte{0x88, 2, 0x03, 0xE8}) {
		t.Errorf("%x instead of the close frame", got)
	}
}

// nginx does not offer extended CONNECT, so browsers open an HTTP/1.1
// connection for the WebSocket. If this test fails, the comment in
// nginx/belfry.conf is out of date.
func TestE2ENginxHTTP2(t *testing.T) {
	n := startNode(t)
	p := startNginx(t, n, "nginx/belfry.conf")
	if p.dialH2(t).connect {
		t.Error("this nginx accepts WebSockets over HTTP/2, but nginx/belfry.conf says that it does not")
	}
	exchange(t, p, n, visit{url: "wss://" + site, origin: "https://" + site}, "beside")
}
