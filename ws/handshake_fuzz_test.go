package ws

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// FuzzHandshake compares the whole input with the same input in two pieces,
// cut everywhere, and byte by byte; and compares what is read as HTTP with
// net/http.
func FuzzHandshake(f *testing.F) {
	for _, head := range []string{
		goodHead(), goodHead("=GET http://a:1/ws?x=%41+b HTTP/1.1", "Sec-WebSocket-Protocol: a, belfry.v1"),
		goodHead("Origin: null"), goodHead("=POST / HTTP/1.0"), goodHead("Cookie: a\r\n b"), goodHead("Content-Length: 1") + "x",
		goodHead("Cookie: " + strings.Repeat("y", 600)), "GET " + strings.Repeat("/", 600), "\x16\x03\x01", goodHead("Connection: close", "+Connection: upgrade"),
		strings.ReplaceAll(goodHead(), "\r", ""), "GET /ws HTTP/1.1\r\r\n\r\n",
		"\r\n\r\n" + goodHead(), proxyV1 + "TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + goodHead(), proxyV2 + "\x21\x11\x00\x0c", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		strings.Repeat("\r\n", 300), goodHead("=HEAD /ws HTTP/1.1"), "HEAD /" + strings.Repeat("x", 600), goodHead("=OPTIONS * HTTP/1.1"), goodHead("=CONNECT a:1 HTTP/1.1"),
		goodHead("Connection: close"), goodHead("Upgrade: h2c"), goodHead("Upgrade: h2c", "+Upgrade: websocket", "Connection: a,,b", "+Connection: Upgrade"), goodHead("Transfer-Encoding: gzip, chunked"),
		goodHead("Sec-WebSocket-Extensions: a; b=\"c\", d;e ; f=g", "Host: [::1]:80", "Origin: http://[::1]"), goodHead("Sec-WebSocket-Protocol: a, b", "+Sec-WebSocket-Protocol: a"),
	} {
		f.Add([]byte(head))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 2048 {
			return
		}
		h := newTestHandshaker(t, handshakeOptions{MaxHead: MinMaxHead, Subprotocols: []string{"belfry.v1"}})
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
		compareHTTP(t, h, in)
	})
}

// compareHTTP compares h with http.ReadRequest. A request that h accepts, or
// refuses for a reason other than its HTTP, must be valid there too and have the
// same content.
func compareHTTP(t *testing.T, h *handshaker, in []byte) {
	req, n, refusal := h.Parse(in)
	if n == 0 || refusal != nil && (refusal.Cause == CauseHead || refusal.Cause == CauseProtocol || refusal.Cause == CauseHTTPVersion || refusal.Cause == CauseBody) {
		return
	}
	head := bytes.TrimLeft(in[:n], "\r\n") // net/http skips empty lines elsewhere
	if line, _, _ := bytes.Cut(head, []byte("\r\n")); bytes.ContainsRune(line, '%') && !bytes.Contains(line, []byte(" /")) {
		return // net/url knows no escapes in a host
	}
	std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		t.Fatalf("%q is no HTTP: %v; here it was %v", head, err, refusal)
	}
	if req == nil {
		return
	}
	if std.Host != string(req.Host()) || std.URL.Path != string(req.Path()) && std.URL.Path != "" || std.URL.RawQuery != string(req.RawQuery()) {
		t.Fatalf("host, path and query: %q %q %q; net/http has %q %q %q", req.Host(), req.Path(), req.RawQuery(), std.Host, std.URL.Path, std.URL.RawQuery)
	}
	for name, values := range std.Header {
		var mine []string
		req.HeaderAll(name, func(v []byte) bool { mine = append(mine, string(v)); return true })
		if !slices.Equal(mine, values) {
			t.Fatalf("%s: %q; net/http has %q", name, mine, values)
		}
	}
	for name, wanted := range map[string]string{"Connection": "upgrade", "Upgrade": "websocket"} {
		all := "," + strings.ToLower(strings.Join(std.Header[name], ","))
		if all = strings.NewReplacer(" ", "", "\t", "").Replace(all) + ","; !strings.Contains(all, ","+wanted+",") {
			t.Fatalf("accepted without %s in %s: %q", wanted, name, std.Header[name])
		}
	}
	for key, values := range std.URL.Query() {
		var mine []string
		req.QueryAll(key, func(v []byte) bool { mine = append(mine, string(v)); return true })
		if !slices.Equal(mine, values) && !strings.Contains(std.URL.RawQuery, ";") { // net/url refuses semicolons
			t.Fatalf("parameter %q: %q; net/url has %q", key, mine, values)
		}
	}
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
		return fmt.Sprintf("%d %v %v %v", n, refusal, refusal.Cause, refusal.NoContent)
	}
	var values []string
	req.QueryAll("x", func(v []byte) bool { values = append(values, string(v)); return true })
	return fmt.Sprintf("%d %q %q %q %q %q %q %q", n, req.Path(), req.RawQuery(), req.Host(), req.Origin(), req.Subprotocol(), values, req.AppendAccept(nil))
}
