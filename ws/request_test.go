package ws

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func parseGood(t *testing.T, h *handshaker, edits ...string) *Request {
	t.Helper()
	req, _, refusal := h.Parse([]byte(goodHead(edits...)))
	if refusal != nil {
		t.Fatal(refusal)
	}
	return req
}

func TestRequest(t *testing.T) {
	h := newTestHandshaker(t, handshakeOptions{Paths: []string{"/ws", "/a b/ü"}})
	tests := []struct {
		edits                     []string
		path, query, host, origin string
	}{
		{nil, "/ws", "", "push.example.com", ""},
		{[]string{"=GET /ws? HTTP/1.1"}, "/ws", "", "push.example.com", ""},
		{[]string{"=GET /ws?a=b?c&d HTTP/1.1"}, "/ws", "a=b?c&d", "push.example.com", ""},
		{[]string{"=GET /%61%20b/%C3%bc?%20 HTTP/1.1"}, "/a b/ü", "%20", "push.example.com", ""},
		{[]string{"Host:  Other.example.com:8080 ", "Origin: http://other.EXAMPLE.com:8080"}, "/ws", "", "Other.example.com:8080", "http://other.EXAMPLE.com:8080"},
		{[]string{"=GET http://abs.example.com:81/ws?x HTTP/1.1", "Origin: http://abs.example.com:81"}, "/ws", "x", "abs.example.com:81", "http://abs.example.com:81"},
	}
	for _, tt := range tests {
		req := parseGood(t, h, tt.edits...)
		got := fmt.Sprintf("%s|%s|%s|%s", req.Path(), req.RawQuery(), req.Host(), req.Origin())
		if want := strings.Join([]string{tt.path, tt.query, tt.host, tt.origin}, "|"); got != want {
			t.Errorf("%v: %s, want %s", tt.edits, got, want)
		}
	}
	// The Origin is compared with the host of the target, not with the field.
	if _, _, refusal := h.Parse([]byte(goodHead("=GET http://abs.example.com/ws HTTP/1.1", "Origin: http://push.example.com"))); refusal == nil || refusal.Status != 403 {
		t.Errorf("refused with %v, want 403", refusal)
	}
}

func TestRequestQuery(t *testing.T) {
	h := newTestHandshaker(t, handshakeOptions{})
	req := parseGood(t, h, "=GET /ws?topic=a&uid=al+ice%2B&topic=b%20c&&=x&flag&topic=&%74opic=d&last=z%3D=%26 HTTP/1.1")
	all := func(key string) string {
		var got []string
		req.QueryAll(key, func(v []byte) bool { got = append(got, string(v)); return true })
		return strings.Join(got, "|")
	}
	for key, want := range map[string]string{
		"topic": "a|b c||d", "uid": "al ice+", "flag": "", "last": "z==&", "": "x", "none": "", "TOPIC": "",
	} {
		if got := all(key); got != want {
			t.Errorf("QueryAll(%q) = %q, want %q", key, got, want)
		}
	}
	uid, _ := req.Query("uid")
	last, _ := req.Query("last")
	if string(uid) != "al ice+" || string(last) != "z==&" {
		t.Errorf("a value changed with the next: %q, %q", uid, last)
	}
	if _, ok := req.Query("flag"); !ok {
		t.Error("a key without a value is not there")
	}
	if v, ok := req.Query("none"); ok || v != nil {
		t.Errorf("Query of a missing key = %q, %v", v, ok)
	}
	calls := 0
	req.QueryAll("topic", func([]byte) bool { calls++; return calls < 2 })
	if calls != 2 {
		t.Errorf("%d calls after false", calls)
	}
}

func TestRequestHeader(t *testing.T) {
	h := newTestHandshaker(t, handshakeOptions{})
	req := parseGood(t, h, "Authorization: Bearer abc", "+X-Forwarded-For: 1.2.3.4", "+x-forwarded-for:  5.6.7.8  ", "+Empty:")
	for name, want := range map[string]string{
		"authorization": "Bearer abc", "X-FORWARDED-FOR": "1.2.3.4", "Sec-WebSocket-Key": testKey,
	} {
		if got := req.Header(name); string(got) != want {
			t.Errorf("Header(%q) = %q, want %q", name, got, want)
		}
	}
	if req.Header("Cookie") != nil || req.Header("Empty") == nil {
		t.Error("a missing field and an empty one are not told apart")
	}
	var hops []string
	req.HeaderAll("X-Forwarded-For", func(v []byte) bool { hops = append(hops, string(v)); return true })
	if fmt.Sprint(hops) != "[1.2.3.4 5.6.7.8]" {
		t.Errorf("HeaderAll gave %q", hops)
	}
	calls := 0
	req.HeaderAll("x-forwarded-for", func([]byte) bool { calls++; return false })
	if calls != 1 {
		t.Errorf("%d calls after false", calls)
	}
}

// TestRequestClone checks that a clone stays the same when the Parser reads another
// request and the input is overwritten.
func TestRequestClone(t *testing.T) {
	h := newTestHandshaker(t, handshakeOptions{Paths: []string{"/ws", "/xt"}, Subprotocols: []string{"belfry.v1", "x"}})
	in := []byte(goodHead("=GET /w%73?uid=%61lice HTTP/1.1", "Cookie: a=b", "Sec-WebSocket-Protocol: belfry.v1",
		"Padding: "+strings.Repeat("p", 500))) // the next request fits the same buffers
	req, n, refusal := h.Parse(in)
	if refusal != nil {
		t.Fatal(refusal)
	}
	want := describeHandshake(req, n, nil)
	clear(in)
	if got := describeHandshake(req, n, nil); got != want {
		t.Errorf("with the input overwritten: %s, want %s", got, want)
	}
	clone := req.Clone()
	parseGood(t, h, "=GET /x%74?uid=mallory&x=%41%42%43%44 HTTP/1.1", "Host: other.example.com", "Sec-WebSocket-Protocol: x",
		"Origin: http://other.example.com", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
	if got := describeHandshake(clone, n, nil); got != want {
		t.Errorf("clone: %s, want %s", got, want)
	}
	if uid, _ := clone.Query("uid"); string(uid) != "alice" || string(clone.Header("cookie")) != "a=b" {
		t.Errorf("clone: uid %q, cookie %q", uid, clone.Header("cookie"))
	}
	if !bytes.HasPrefix(clone.AppendAccept(nil), []byte("HTTP/1.1 101 ")) {
		t.Error("clone cannot be accepted")
	}
}
