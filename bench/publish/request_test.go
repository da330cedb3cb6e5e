package publish

import (
	"strings"
	"testing"

	"belfry/bench"
)

func TestRequest(t *testing.T) {
	r, err := NewRequest("PUT", "http://127.0.0.1:8000/api/{uid}?x=1", `{"data":"{payload}"}`, "A: b")
	if err != nil {
		t.Fatal(err)
	}
	m := bench.Message{Stream: bench.Direct, User: 7, Seq: 1, Stamp: 5}
	want := "PUT /api/" + bench.UID(7) + "?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nA: b\r\nContent-Length: 139\r\n\r\n{\"data\":\"" +
		string(bench.AppendMessage(nil, m, 128)) + "\"}"
	if got := string(r.Append(nil, m, 128)); got != want || r.Address != "127.0.0.1:8000" {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for to, want := range map[string]string{"http://host": "POST / HTTP/1.1\r\nHost: host\r\n", "http://host:8/a": "POST /a HTTP/1.1\r\nHost: host:8\r\n"} {
		if r, err := NewRequest("", to, ""); err != nil || !strings.HasPrefix(string(r.Append(nil, m, 128)), want) {
			t.Errorf("%s: %q, %v", to, r.Append(nil, m, 128), err)
		}
	}
}

func TestParseResponse(t *testing.T) {
	for _, tt := range []struct {
		in     string
		status int
		body   string
		err    error
	}{
		{"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok", 202, "ok", nil},
		{"HTTP/1.1 204 No Content\r\n\r\n", 204, "", nil},
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", nil},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, "2\r\nok\r\n0\r\n\r\n", nil},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, "0\r\n\r\n", nil},
		{"HTTP/1.1 200 OK\r\n\r\n", 0, "", ErrLength},
		{"HTTP/1.1 100 Continue\r\n\r\n", 0, "", ErrResponse},
		{"SSH-2.0-OpenSSH_9\r\n\r\n", 0, "", ErrResponse},
		{"HTTP/1.1 abc\r\n\r\n", 0, "", ErrResponse},
		{"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 0, "", ErrResponse},
	} {
		status, n, body, err := ParseResponse([]byte(tt.in))
		if err != tt.err || status != tt.status && err == nil || string(body) != tt.body || err == nil && n != len(tt.in) {
			t.Errorf("%q: %d, %d, %q, %v", tt.in, status, n, body, err)
		}
		for cut := range len(tt.in) { // what is cut off is never whole
			if _, n, _, _ := ParseResponse([]byte(tt.in[:cut])); n != 0 {
				t.Errorf("%q: whole", tt.in[:cut])
			}
		}
	}
	if _, _, _, err := ParseResponse([]byte("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")); err == nil || !strings.Contains(err.Error(), "no") {
		t.Errorf("%v", err)
	}
}
