package ws

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
)

const testKey = "dGhlIHNhbXBsZSBub25jZQ==" // RFC 6455 §1.3

// goodHead is a handshake as a browser sends it, with lines replaced or added:
// "Name: value" sets a field, "-Name" removes it, "+Name: value" adds another
// one, and a line without any of these is the request line.
func goodHead(edits ...string) string {
	line := "GET /ws HTTP/1.1"
	fields := []string{
		"Host: push.example.com",
		"Upgrade: websocket",
		"Connection: keep-alive, Upgrade",
		"Sec-WebSocket-Key: " + testKey,
		"Sec-WebSocket-Version: 13",
	}
	for _, edit := range edits {
		name, _, isField := strings.Cut(edit, ":")
		switch {
		case strings.HasPrefix(edit, "-"):
			fields = removeField(fields, edit[1:])
		case strings.HasPrefix(edit, "+"):
			fields = append(fields, edit[1:])
		case strings.HasPrefix(edit, "="):
			line = edit[1:]
		case isField:
			fields = append(removeField(fields, name), edit)
		}
	}
	return line + "\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"
}

func removeField(fields []string, name string) []string {
	var kept []string
	for _, f := range fields {
		if !strings.HasPrefix(strings.ToLower(f), strings.ToLower(name)+":") {
			kept = append(kept, f)
		}
	}
	return kept
}

func TestHandshakeStatuses(t *testing.T) {
	long := strings.Repeat("x", DefaultMaxHead)
	tests := []struct {
		name   string
		head   string
		status int    // 0: accepted
		says   string // in the refusal
	}{
		{"as a browser sends it", goodHead("Origin: https://push.example.com", "Cookie: a=b", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"), 0, ""},
		{"no request line", goodHead()[len("GET /ws HTTP/1.1\r\n"):], 400, "not METHOD"},
		{"field names in any case", goodHead("-Host", "hOST: x", "-Upgrade", "UPGRADE: WebSocket", "-Connection", "connection: UPGRADE"), 0, ""},
		{"no space after colons", strings.ReplaceAll(goodHead(), ": ", ":"), 0, ""},
		{"tabs and spaces around values", goodHead("Upgrade: \t websocket \t"), 0, ""},
		{"absolute-form", goodHead("=GET http://other.example.com:81/ws?uid=a HTTP/1.1"), 0, ""},
		{"absolute-form of ws", goodHead("=GET ws://push.example.com/ws HTTP/1.1"), 0, ""},
		{"absolute-form without path", goodHead("=GET http://push.example.com HTTP/1.1"), 404, "/ws"},
		{"absolute-form with user", goodHead("=GET http://me@push.example.com/ws HTTP/1.1"), 400, "host"},
		{"absolute-form of ftp", goodHead("=GET ftp://push.example.com/ws HTTP/1.1"), 400, "target"},
		{"escaped path", goodHead("=GET /%77s HTTP/1.1"), 0, ""},
		{"HTTP/1.2", goodHead("=GET /ws HTTP/1.2"), 0, ""},
		{"Content-Length 0", goodHead("Content-Length: 0"), 0, ""},
		{"empty origin", goodHead("Origin:"), 0, ""},
		{"latin-1 in a value", goodHead("Cookie: \xe4"), 0, ""},

		{"garbage", "\x00\x01\x02", 400, "not HTTP"},
		{"TLS", "\x16\x03\x01\x02\x00", 400, "TLS"},
		{"LF only", strings.ReplaceAll(goodHead(), "\r\n", "\n"), 400, "LF without CR"},
		{"one bare LF", goodHead("Cookie: a\nX-Injected: 1"), 400, "LF without CR"},
		{"bare CR", goodHead("Cookie: a\rb"), 400, "CR that does"},
		{"NUL", goodHead("Cookie: a\x00b"), 400, "control"},
		{"NUL in the request line", goodHead("=GET /ws\x00 HTTP/1.1"), 400, "request line"},
		{"two CR", strings.Replace(goodHead(), "\r\n", "\r\r\n", 1), 400, "CR that does"},
		{"control character", goodHead("Cookie: a\x01b"), 400, "control"},
		{"DEL", goodHead("Cookie: a\x7fb"), 400, "control"},
		{"folded line", goodHead("Cookie: a\r\n b"), 400, "folded"},
		{"folded first line", strings.Replace(goodHead(), "\r\n", "\r\n ", 1), 400, "folded"},
		{"space before colon", goodHead("+Cookie : a"), 400, "name and a colon"},
		{"no colon", goodHead("+Cookie"), 400, "name and a colon"},
		{"empty name", goodHead("+: a"), 400, "name and a colon"},
		{"two spaces in the request line", goodHead("=GET  /ws HTTP/1.1"), 400, "request line"},
		{"space in the target", goodHead("=GET /ws a HTTP/1.1"), 400, "HTTP version"},
		{"no version", goodHead("=GET /ws"), 400, "request line"},
		{"odd version", goodHead("=GET /ws HTTP/1.1x"), 400, "HTTP version"},
		{"odd version letters", goodHead("=GET /ws http/1.1"), 400, "HTTP version"},
		{"fragment", goodHead("=GET /ws#a HTTP/1.1"), 400, "request line"},
		{"not ASCII in the target", goodHead("=GET /ws?\xc3\xa4 HTTP/1.1"), 400, "request line"},
		{"bad escape in the path", goodHead("=GET /ws%2 HTTP/1.1"), 400, "hex"},
		{"bad escape in the query", goodHead("=GET /ws?a=%zz HTTP/1.1"), 400, "hex"},
		{"asterisk-form", goodHead("=GET * HTTP/1.1"), 400, "target"},
		{"authority-form", goodHead("=GET push.example.com:80 HTTP/1.1"), 400, "target"},

		{"HTTP/1.0", goodHead("=GET /ws HTTP/1.0"), 505, "HTTP/1.1"},
		{"HTTP/0.9", goodHead("=GET /ws HTTP/0.9"), 505, "HTTP/1.1"},
		{"POST", goodHead("=POST /ws HTTP/1.1"), 405, "GET"},
		{"HEAD", goodHead("=HEAD /ws HTTP/1.1"), 405, "GET"},
		{"get", goodHead("=get /ws HTTP/1.1"), 405, "GET"},
		{"body", goodHead("Content-Length: 5") + "hello", 413, "body"},
		{"body with leading zero", goodHead("Content-Length: 05"), 413, "body"},
		{"huge body", goodHead("Content-Length: 99999999999999999999999"), 413, "body"},
		{"chunked body", goodHead("Transfer-Encoding: chunked"), 413, "body"},
		{"odd Content-Length", goodHead("Content-Length: -1"), 400, "number"},
		{"other path", goodHead("=GET /other HTTP/1.1"), 404, "/ws"},
		{"path below", goodHead("=GET /ws/ HTTP/1.1"), 404, "/ws"},

		{"no Host", goodHead("-Host"), 400, "Host is missing"},
		{"empty Host", goodHead("Host:"), 400, "not a host"},
		{"two hosts in one", goodHead("Host: a, b"), 400, "not a host"},
		{"user in Host", goodHead("Host: a@b"), 400, "not a host"},
		{"repeated Host", goodHead("+Host: push.example.com"), 400, "Host is repeated"},
		{"repeated key", goodHead("+Sec-WebSocket-Key: " + testKey), 400, "Key is repeated"},
		{"repeated version", goodHead("+Sec-WebSocket-Version: 13"), 400, "Version is repeated"},
		{"repeated Origin", goodHead("+Origin: http://a", "+Origin: http://a"), 400, "Origin is repeated"},
		{"repeated Content-Length", goodHead("+Content-Length: 0", "+Content-Length: 0"), 400, "Length is repeated"},

		{"plain GET", goodHead("-Upgrade", "-Connection", "-Sec-WebSocket-Key", "-Sec-WebSocket-Version"), 426, "Upgrade is missing"},
		{"other upgrade", goodHead("Upgrade: h2c"), 400, "not websocket"},
		{"no Connection", goodHead("-Connection"), 400, "Connection"},
		{"Connection of a proxy", goodHead("Connection: close"), 400, "Connection"},
		{"Connection that only looks so", goodHead("Connection: upgraded"), 400, "Connection"},
		{"version 8", goodHead("Sec-WebSocket-Version: 8"), 426, "13"},
		{"several versions", goodHead("Sec-WebSocket-Version: 13, 8"), 426, "13"},
		{"no version field", goodHead("-Sec-WebSocket-Version"), 426, "13"},
		{"no key", goodHead("-Sec-WebSocket-Key"), 400, "Key"},
		{"short key", goodHead("Sec-WebSocket-Key: dGhlIHNhbXBsZQ=="), 400, "Key"},
		{"key of 24 other characters", goodHead("Sec-WebSocket-Key: ????????????????????????"), 400, "Key"},
		{"key of 17 bytes", goodHead("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWE="), 400, "Key"},
		{"key of 18 bytes", goodHead("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWFi"), 400, "Key"},
		{"subprotocols that are no tokens", goodHead("Sec-WebSocket-Protocol: a b"), 400, "tokens"},
		{"foreign page", goodHead("Origin: https://evil.example.com"), 403, "Origin"},
		{"page without an origin", goodHead("Origin: null"), 403, "Origin"},

		{"long header", goodHead("Cookie: " + long), 431, "8192"},
		{"long request line", goodHead("=GET /ws?" + long + " HTTP/1.1"), 414, "8192"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkStatus(t, tt.head, tt.status, tt.says) })
	}
}

// checkStatus checks the status of the answer to a head, 0 for accepted, and that
// the refusal contains a text.
func checkStatus(t *testing.T, head string, status int, says string) *Refusal {
	t.Helper()
	h := newTestHandshaker(t, handshakeOptions{})
	req, n, refusal := h.Parse([]byte(head))
	if status == 0 {
		if refusal != nil {
			t.Fatalf("refused: %v", refusal)
		}
		if from := len(head) - len(strings.TrimLeft(head, "\r\n")); req == nil || n != from+strings.Index(head[from:], "\r\n\r\n")+4 {
			t.Fatalf("Parse = %v, %d", req, n)
		}
		return nil
	}
	if refusal == nil {
		t.Fatal("accepted")
	}
	if req != nil {
		t.Error("a request beside the refusal")
	}
	if refusal.Status != status || !strings.Contains(refusal.Detail, says) {
		t.Errorf("refused with %v; want %d and %q", refusal, status, says)
	}
	readRefusal(t, refusal)
	return refusal
}

func TestHandshakeAccept(t *testing.T) {
	h := newTestHandshaker(t, handshakeOptions{Subprotocols: []string{"belfry.v1", "other"}})
	head := goodHead("Sec-WebSocket-Protocol: unknown, other , belfry.v1", "Sec-WebSocket-Extensions: permessage-deflate")
	pipelined := "\x81\x80\x00\x00\x00\x00"
	req, n, refusal := h.Parse([]byte(head + pipelined))
	if refusal != nil || n != len(head) {
		t.Fatalf("Parse = %d, %v; the head has %d bytes", n, refusal, len(head))
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(req.AppendAccept([]byte(nil)))), nil)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha1.Sum([]byte(testKey + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	want := map[string]string{
		"Sec-Websocket-Accept":     base64.StdEncoding.EncodeToString(sum[:]),
		"Sec-Websocket-Protocol":   "other",
		"Sec-Websocket-Extensions": "",
		"Upgrade":                  "websocket",
		"Connection":               "Upgrade",
	}
	for name, value := range want {
		if got := resp.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if resp.StatusCode != 101 {
		t.Errorf("status %d", resp.StatusCode)
	}
	if got := string(req.AppendAccept([]byte("before "))); !strings.HasPrefix(got, "before HTTP/1.1 101 ") || !strings.HasSuffix(got, "\r\n\r\n") {
		t.Errorf("AppendAccept gave %q", got)
	}
}

func TestHandshakeSubprotocol(t *testing.T) {
	tests := []struct {
		edits []string
		want  string
	}{
		{nil, ""},
		{[]string{"Sec-WebSocket-Protocol: belfry.v1"}, "belfry.v1"},
		{[]string{"Sec-WebSocket-Protocol: b, a"}, "b"},
		{[]string{"Sec-WebSocket-Protocol: x", "+Sec-WebSocket-Protocol: a, b"}, "a"},
		{[]string{"Sec-WebSocket-Protocol: BELFRY.V1"}, ""}, // case-sensitive
		{[]string{"Sec-WebSocket-Protocol: x, y"}, ""},
	}
	h := newTestHandshaker(t, handshakeOptions{Subprotocols: []string{"belfry.v1", "a", "b"}})
	for _, tt := range tests {
		req, _, refusal := h.Parse([]byte(goodHead(tt.edits...)))
		if refusal != nil {
			t.Fatal(refusal)
		}
		accept := string(req.AppendAccept(nil))
		if req.Subprotocol() != tt.want || strings.Contains(accept, "Sec-WebSocket-Protocol: ") != (tt.want != "") {
			t.Errorf("%v: chose %q, want %q; answer %q", tt.edits, req.Subprotocol(), tt.want, accept)
		}
	}
}

func TestParserOptions(t *testing.T) {
	for _, o := range []ParserOptions{{MaxHead: 100}, {MaxHead: 2 << 20}} {
		if _, err := NewParser(o); err == nil {
			t.Errorf("NewParser(%+v) accepted", o)
		}
	}
	h := newTestHandshaker(t, handshakeOptions{Paths: []string{"/a", "/b"}, MaxHead: 600})
	if _, _, refusal := h.Parse([]byte(goodHead("=GET /b HTTP/1.1"))); refusal != nil {
		t.Error(refusal)
	}
	if _, _, refusal := h.Parse([]byte(goodHead("=GET /a HTTP/1.1", "Cookie: "+strings.Repeat("x", 600)))); refusal == nil || refusal.Status != 431 {
		t.Error(refusal)
	}
}

// TestHandshakeAtTheLimit checks that a head of MaxHead bytes is accepted, and one
// with one byte more is refused.
func TestHandshakeAtTheLimit(t *testing.T) {
	h := newTestHandshaker(t, handshakeOptions{})
	pad := DefaultMaxHead - len(goodHead("Cookie: "))
	head := goodHead("Cookie: " + strings.Repeat("x", pad))
	if _, n, refusal := h.Parse([]byte(head + "frames")); n != DefaultMaxHead || refusal != nil {
		t.Errorf("head of %d bytes: %d, %v", len(head), n, refusal)
	}
	head = goodHead("Cookie: " + strings.Repeat("x", pad+1))
	if _, _, refusal := h.Parse([]byte(head[:DefaultMaxHead-1])); refusal != nil {
		t.Errorf("refused a byte too early: %v", refusal)
	}
	if _, _, refusal := h.Parse([]byte(head[:DefaultMaxHead])); refusal == nil || refusal.Status != 431 {
		t.Errorf("%d bytes without an end: %v", DefaultMaxHead, refusal)
	}
	if _, _, refusal := h.Parse([]byte(head)); refusal == nil || refusal.Status != 431 {
		t.Errorf("head of %d bytes: %v", len(head), refusal)
	}
}

func TestHandshakeAllocations(t *testing.T) {
	h := newTestHandshaker(t, handshakeOptions{Subprotocols: []string{"belfry.v1"}})
	head := []byte(goodHead("=GET /ws?uid=%61lice&topic=a HTTP/1.1", "Origin: https://push.example.com", "Sec-WebSocket-Protocol: belfry.v1"))
	out := make([]byte, 0, 512)
	allocs := testing.AllocsPerRun(200, func() {
		req, _, refusal := h.Parse(head)
		if refusal != nil {
			t.Fatal(refusal)
		}
		if uid, ok := req.Query("uid"); !ok || string(uid) != "alice" {
			t.Fatal("no uid")
		}
		out = req.AppendAccept(out[:0])
	})
	if allocs > 0 {
		t.Errorf("%v allocations a handshake, want none", allocs)
	}
}

func BenchmarkHandshake(b *testing.B) {
	h := newTestHandshaker(b, handshakeOptions{Subprotocols: []string{"belfry.v1"}})
	head := []byte(goodHead("=GET /ws?uid=alice&topic=news HTTP/1.1", "Origin: https://push.example.com",
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
		"Accept-Encoding: gzip, deflate, br", "Accept-Language: en-GB,en;q=0.9", "Cache-Control: no-cache", "Pragma: no-cache",
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"))
	out := make([]byte, 0, 512)
	b.ReportAllocs()
	b.SetBytes(int64(len(head)))
	for b.Loop() {
		req, _, refusal := h.Parse(head)
		if refusal != nil {
			b.Fatal(refusal)
		}
		out = req.AppendAccept(out[:0])
	}
}

// TestTokenBytes compares the bit sets with the list of RFC 9110 §5.6.2.
func TestTokenBytes(t *testing.T) {
	const all = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for c := range 256 {
		if isTokenByte(byte(c)) != (strings.IndexByte(all, byte(c)) >= 0) {
			t.Errorf("isTokenByte(%#x) = %v", c, isTokenByte(byte(c)))
		}
	}
}
