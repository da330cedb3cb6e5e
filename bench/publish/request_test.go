package publish

import (
	"bytes"
	"errors"
	"fmt"
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
	for to, want := range map[string]string{"http://host": "POST / HTTP/1.1\r\nHost: host\r\n", "http://host:8/a": "POST /a HTTP/1.1\r\nHost: host:8\r\n",
		"http://host?x=a/{uid}": "POST /?x=a/" + bench.UID(7) + " HTTP/1.1\r\nHost: host\r\n", "http://host/a?b#c": "POST /a?b HTTP/1.1\r\n"} {
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
	for _, connection := range []string{"Connection: close", "connection: TE, Close", "Connection: close\r\nConnection: TE"} {
		_, _, _, err := ParseResponse([]byte("HTTP/1.1 200 OK\r\n" + connection + "\r\nContent-Length: 2\r\n\r\nno"))
		if !errors.Is(err, ErrClosing) || !strings.Contains(err.Error(), "no") {
			t.Errorf("%q: %v", connection, err)
		}
	}
	for _, long := range []string{strings.Repeat("x", maxResponse+1), fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", maxResponse+1)} {
		if _, _, _, err := ParseResponse([]byte(long)); err != ErrTooLong {
			t.Errorf("%.40q: %v", long, err)
		}
	}
}

func FuzzParseResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nConnection: TE, close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		status, n, body, err := ParseResponse(p)
		if n < 0 || n > len(p) || len(body) > n || err == nil && n > 0 && (status < 200 || status > 999) {
			t.Fatalf("%d, %d of %d, %d, %v", status, n, len(p), len(body), err)
		}
		// What follows a response changes nothing of it, and less of it is not whole.
		again, m, same, _ := ParseResponse(p[:n])
		if n > 0 && (again != status || m != n || !bytes.Equal(same, body)) {
			t.Fatalf("%d, %d, %q became %d, %d, %q without what follows", status, n, body, again, m, same)
		}
		if n > 0 {
			if _, m, _, _ := ParseResponse(p[:n-1]); m != 0 {
				t.Fatalf("whole at %d and at %d", n, m)
			}
		}
	})
}
