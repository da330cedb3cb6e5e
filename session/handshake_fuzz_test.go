package session

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// FuzzHandshake compares the whole input with the same input in two pieces,
// cut everywhere, and byte by byte; and holds what is accepted against
// ws.Upgrader.
func FuzzHandshake(f *testing.F) {
	for _, head := range []string{
		goodHead(), goodHead("=GET http://a:1/ws?x=%41+b HTTP/1.1", "Sec-WebSocket-Protocol: a, belfry.v1"),
		goodHead("Origin: null"), goodHead("=POST / HTTP/1.0"), goodHead("Cookie: a\r\n b"), goodHead("Content-Length: 1") + "x",
		goodHead("Cookie: " + strings.Repeat("y", 600)), "GET " + strings.Repeat("/", 600), "\x16\x03\x01", goodHead("Connection: close", "+Connection: upgrade"),
		strings.ReplaceAll(goodHead(), "\r", ""), "GET /ws HTTP/1.1\r\r\n\r\n",
	} {
		f.Add([]byte(head))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 2048 {
			return
		}
		h := newTestHandshaker(t, HandshakeOptions{MaxHead: minMaxHead, Subprotocols: []string{"belfry.v1"}})
		want := describeHandshake(h.Parse(bytes.Clone(in)))
		for cut := range in {
			got, n := describeHandshake(h.Parse(bytes.Clone(in[:cut]))), cut
			if got == pendingHandshake {
				got, n = describeHandshake(h.Parse(bytes.Clone(in))), len(in)
			}
			if got != want {
				t.Fatalf("whole: %s\ncut at %d, decided with %d bytes: %s", want, cut, n, got)
			}
		}
		got := pendingHandshake
		for n := 0; n <= len(in) && got == pendingHandshake; n++ {
			got = describeHandshake(h.Parse(in[:n:n]))
		}
		if got != want {
			t.Fatalf("whole: %s\nbyte by byte: %s", want, got)
		}
		if req, n, _ := h.Parse(in); req != nil {
			if _, err := (ws.Upgrader{}).Upgrade(&headReadWriter{in: bytes.Clone(in[:n])}); err != nil {
				t.Fatalf("accepted what ws.Upgrader refuses: %v", err)
			}
		}
	})
}

const pendingHandshake = "more bytes needed"

func describeHandshake(req *Request, n int, refusal *Refusal) string {
	switch {
	case req == nil && refusal == nil:
		if n != 0 {
			return "bytes consumed without a result"
		}
		return pendingHandshake
	case refusal != nil:
		return fmt.Sprintf("%d %v", n, refusal)
	}
	var values []string
	req.QueryAll("x", func(v []byte) bool { values = append(values, string(v)); return true })
	return fmt.Sprintf("%d %q %q %q %q %q %q %q", n, req.Path(), req.RawQuery(), req.Host(), req.Origin(), req.Subprotocol(), values, req.AppendAccept(nil))
}
