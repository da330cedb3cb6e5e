package push

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// scanned returns the framing after bytes that come in pieces.
func scanned(pieces ...[]byte) *framing {
	f := new(framing)
	for _, p := range pieces {
		f.scan(p)
	}
	return f
}

func TestFraming(t *testing.T) {
	const post, chunked = "POST / HTTP/1.1\r\nHost: x\r\n", "Transfer-Encoding: chunked\r\n"
	for _, tt := range []struct {
		in     string
		done   uint64
		faulty bool
	}{
		{post, 0, false},
		{post + "\r\n", 1, false},
		{"GET / HTTP/1.1\n\nGET / HTTP/1.1\n\n", 2, false},
		{"\r\n\r\n" + post + "\r\n\r\n" + post + "\r\n", 2, false}, // RFC 9112 §2.2
		{post + "content-LENGTH: \t5 \r\n\r\nhell", 0, false},
		{post + "content-LENGTH: \t5 \r\n\r\nhello" + post + "\r\n", 2, false},
		{post + "Content-Length: 0\r\n\r\n" + post + "\r\n", 2, false},
		{post + chunked + "\r\n5;x=y\r\nhello\r\n0\r\n", 0, false},
		{post + chunked + "\r\n5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n" + post + "\r\n", 2, false},
		{post + chunked + "Content-Length: 5\r\n\r\n", 0, true},
		{post + "Content-Length: 5\r\nTransfer-Encoding:chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 1, true},
		{"POST / HTTP/1.0\r\nContent-Length: 5\r\n" + chunked + "\r\nhello", 1, true},
		{"POST / HTTP/1.0\r\n" + chunked + "\r\n", 1, true},
		{post + "Content-Length: x\r\n\r\n", 0, true},
		{post + "Content-Length:\r\n 5\r\n\r\nhello", 0, true}, // net/http unfolds it
		{post + "Content-Length: " + strings.Repeat(" ", 100) + "5\r\n\r\n", 0, true},
		{post + chunked + "\r\nzz\r\n", 0, true},
		{post + "X-Content-Length: 5\r\nContent-Lengthy: 5\r\nTE: chunked\r\nContent: x\r\nT: x\r\n\r\n", 1, false},
	} {
		f := scanned([]byte(tt.in))
		if f.done.Load() != tt.done || f.ambiguous.Load() != tt.faulty {
			t.Errorf("%q: %d done, ambiguous %v; want %d, %v", tt.in, f.done.Load(), f.ambiguous.Load(), tt.done, tt.faulty)
		}
		for i := range tt.in {
			f := scanned([]byte(tt.in[:i]), []byte(tt.in[i:]))
			if f.done.Load() != tt.done || f.ambiguous.Load() != tt.faulty {
				t.Errorf("%q split at %d: %d done, ambiguous %v", tt.in, i, f.done.Load(), f.ambiguous.Load())
			}
		}
	}
}

// For all input, framing finds the end of every request that net/http reads
// completely, or sets ambiguous. The result does not depend on how the bytes are
// split.
func FuzzFraming(f *testing.F) {
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.0\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\nx"))
	f.Fuzz(func(t *testing.T, in []byte) {
		whole := scanned(in)
		var bytewise framing
		for i := range in {
			bytewise.scan(in[i : i+1])
		}
		if whole.done.Load() != bytewise.done.Load() || whole.ambiguous.Load() != bytewise.ambiguous.Load() || whole.state != bytewise.state {
			t.Fatalf("whole: %d done, state %d; byte by byte: %d done, state %d", whole.done.Load(), whole.state, bytewise.done.Load(), bytewise.state)
		}
		if whole.ambiguous.Load() {
			return
		}
		var read uint64
		for r := bufio.NewReader(bytes.NewReader(in)); ; read++ {
			req, err := http.ReadRequest(r)
			if err != nil || req.ProtoMajor != 1 { // a net/http server refuses other versions
				break
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				break
			}
		}
		if whole.done.Load() < read {
			t.Fatalf("%d requests; framing saw %d", read, whole.done.Load())
		}
	})
}

// The connection closes after a message that a proxy may have read in another way
// (RFC 9112 §6.1).
func TestAmbiguousFramingClosesTheConnection(t *testing.T) {
	for _, tt := range []struct {
		head   string
		closes bool
	}{
		{"POST /v1/all HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", true},
		{"POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n", true},
		{"POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n", true},
		{"POST /v1/all HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", false},
	} {
		s, _, _ := serve(t, Options{})
		v := visit(t, s, "127.0.0.1")
		a := v.ask(t, tt.head+"4\r\nwiki\r\n0\r\n\r\n")
		if a.Close != tt.closes || a.StatusCode >= 400 && a.StatusCode != 404 {
			t.Errorf("%q: %d, close %v", tt.head, a.StatusCode, a.Close)
		}
		if tt.closes {
			v.wantClosed(t, tt.head)
		} else if a := v.ask(t, smallPush); a.StatusCode != 202 {
			t.Errorf("%q: then %d", tt.head, a.StatusCode)
		}
	}
	// HTTP/1.0 has no chunks: with this field the length is ambiguous.
	s, _, _ := serve(t, Options{})
	v := visit(t, s, "127.0.0.1")
	v.ask(t, "POST /v1/all HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nwiki")
	v.wantClosed(t, "HTTP/1.0")
}
