package push

import (
	"net/http"
	"strings"
	"testing"

	"belfry/message"
)

// The lines of a list field form one list (RFC 9110 §5.3). Other fields may have one
// line.
func TestFieldsOfAPush(t *testing.T) {
	s, _, _ := serve(t, Options{Keys: []Key{{"", "first-key"}}})
	for _, tt := range []struct {
		fields string // instead of Content-Length: 2
		status int
		cause  Cause
		field  string
	}{
		{"Content-Length: 2\n", 202, 0, ""},
		{"Content-Length: 2\nContent-Encoding: identity\nContent-Encoding: identity,\n", 202, 0, ""},
		{"Content-Length: 2\nContent-Encoding: identity\nContent-Encoding: gzip\n", 415, CauseMediaType, "Content-Encoding"},
		{"Content-Length: 2\nContent-Encoding: identity, br\n", 415, CauseMediaType, "Content-Encoding"},
		{"Content-Length: 2\nContent-Encoding:\nContent-Encoding: gzip\n", 415, CauseMediaType, "Content-Encoding"},
		{"Content-Length: 2\nContent-Type: text/plain\nContent-Type: multipart/mixed\n", 400, CauseField, "Content-Type"},
		{"Content-Length: 2\nAuthorization: Bearer first-key\n", 401, CauseUnauthorized, "Authorization"},
		{"Content-Length: 2\nContent-Type: text/plain; charset=utf-8\n", 202, 0, ""},
		{"Content-Length: 2\nContent-Type: application/json;CharSet=\"UTF-8\" ; x=y\n", 202, 0, ""},
		{"Content-Length: 2\nContent-Type: text/plain; charset=us-ascii\n", 202, 0, ""},
		{"Content-Length: 2\nContent-Type: text/plain; x=y; charset=iso-8859-1\n", 415, CauseMediaType, "Content-Type"},
		{"Content-Length: 2\nContent-Type: application/json; charset=utf-16\n", 415, CauseMediaType, "Content-Type"},
		{"Content-Length: 2\nContent-Type: text/plain; charset=\n", 415, CauseMediaType, "Content-Type"},
		{"Content-Length: 2\nContent-Type: application/octet-stream; charset=iso-8859-1\n", 202, 0, ""}, // the charset does not matter for octets
		{"Content-Length: 2\nIdempotency-Key: \"8e03978e\n", 400, CauseField, "Idempotency-Key"},
		{"Content-Length: 2\nidempotency-key:\n", 400, CauseField, "Idempotency-Key"},
		{"Content-Length: 2\nIdempotency-Key: a\nIdempotency-Key: a\n", 400, CauseField, "Idempotency-Key"},
	} {
		for _, path := range []string{"/v1/all", "/v1/batch"} {
			v := visit(t, s, "127.0.0.1")
			a := v.ask(t, "POST "+path+" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer first-key\r\n"+strings.ReplaceAll(tt.fields, "\n", "\r\n")+"\r\nhi")
			want := tt.status
			if want == 202 && path == "/v1/batch" {
				want = 200
			}
			if a.StatusCode != want {
				t.Errorf("%s %q: %d %s, want %d", path, tt.fields, a.StatusCode, a.body, want)
				continue
			}
			if want >= 400 {
				if p := a.problem(t); p.Type != tt.cause.Type() || p.Field != tt.field {
					t.Errorf("%s %q: %+v", path, tt.fields, p)
				}
			}
		}
	}
}

// A push must have a length. Otherwise an empty message would be pushed, and the
// body would be taken for a request.
func TestPushWithoutALength(t *testing.T) {
	for _, tt := range []struct{ request, rest string }{
		{"POST /v1/all HTTP/1.1\r\nHost: localhost\r\n\r\n", ""}, // curl -X POST
		{"POST /v1/batch HTTP/1.1\r\nHost: localhost\r\n\r\n", ""},
		{"POST /v1/all HTTP/1.0\r\nHost: localhost\r\n\r\n", "hello"},
		{"POST /v1/all HTTP/1.1\r\nHost: localhost\r\n\r\n", smallPush},
	} {
		rec := &recorder{}
		s, _, _ := serve(t, Options{Publisher: rec})
		v := visit(t, s, "127.0.0.1")
		a := v.ask(t, tt.request+tt.rest)
		if p := a.problem(t); p.Status != http.StatusLengthRequired || p.Type != CauseLength.Type() || p.Field != "Content-Length" {
			t.Errorf("%q: %+v", tt.request, p)
		}
		v.wantClosed(t, tt.request)
		if n := len(rec.all()); n != 0 {
			t.Errorf("%q: %d published", tt.request, n)
		}
	}
	rec := &recorder{}
	s, _, _ := serve(t, Options{Publisher: rec})
	if a := visit(t, s, "127.0.0.1").ask(t, "POST /v1/all HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"); a.StatusCode != 202 {
		t.Errorf("an empty message: %d", a.StatusCode)
	}
	if m := rec.last(t); len(m.Payload) != 0 || m.Kind != message.Text {
		t.Errorf("%+v", m)
	}
}

func TestHosts(t *testing.T) {
	s, _, _ := serve(t, Options{Keys: []Key{{"", "first-key"}}, HealthAddress: "127.0.0.1:0"})
	for _, tt := range []struct {
		host string
		ok   bool
	}{
		{"a", true}, {"a:80", true}, {"a:", true}, {"[::1]", true}, {"[::1]:80", true}, {"a%41", true}, {"a_b.c~d", true}, {"192.0.2.1:65535", true},
		{"a:xx", false}, {"a:1:2", false}, {"[::1", false}, {"a%zz", false}, {"a%4", false}, {"[::1]80", false}, {"[::1]:x", false},
		{"[a]", false}, {"[1.2.3.4]", false}, {"::1", false}, {"a:65536", false}, {":80", false}, {"a/b", false}, {"a@b", false}, {"a b", false}, {"a:-1", false},
	} {
		for _, addr := range []string{s.Addr().String(), s.HealthAddr().String()} {
			a := rawTo(t, addr, "GET /v1/stats HTTP/1.1\r\nHost: "+tt.host+"\r\nAuthorization: Bearer first-key\r\nConnection: close\r\n\r\n")
			if (a.StatusCode == 400) == tt.ok {
				t.Errorf("%q at %s: %d %s", tt.host, addr, a.StatusCode, a.body)
			}
		}
	}
}

// The reason phrases are the ones of RFC 9110. Requests that net/http refuses by
// itself are answered with problems too.
func TestAnswersOfNetHTTP(t *testing.T) {
	s, _, _ := serve(t, Options{Limits: Limits{MaxHeaderBytes: 1000}})
	for _, tt := range []struct {
		request, status string
		cause           Cause
	}{
		{"POST /v1/all HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n", "413 Content Too Large", CausePayloadTooLarge},
		{"POST /v1/all HTTP/1.0\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n", "413 Content Too Large", CausePayloadTooLarge},
		{"\x16\x03\x01\x00\xa5\r\n\r\n", "400 Bad Request", CauseHTTP},
		{"GET /v1/stats HTTP/1.1\r\n\r\n", "400 Bad Request", CauseHTTP},
		{"GET /v1/stats HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400 Bad Request", CauseHTTP},
		{"POST /v1/all HTTP/1.1\r\nHost: localhost\r\nContent-Length:\r\n\r\n", "400 Bad Request", CauseHTTP},
		{"POST /v1/all HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400 Bad Request", CauseHTTP},
		{"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 100_000) + "\r\n\r\n", "431 Request Header Fields Too Large", CauseHead},
		{"POST /v1/all HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" + strings.Repeat("x", 100_000), "501 Not Implemented", CauseTransferCoding},
		{"GET / HTTP/3.0\r\nHost: localhost\r\n\r\n", "505 HTTP Version Not Supported", CauseVersion},
	} {
		before := s.count.rejected[tt.cause].Load()
		v := visit(t, s, "127.0.0.1")
		a := v.ask(t, tt.request)
		if a.Status != tt.status || a.Header.Get("Date") == "" {
			t.Errorf("%.60q: %q, Date %q", tt.request, a.Status, a.Header.Get("Date"))
		}
		if p := a.problem(t); p.Type != tt.cause.Type() {
			t.Errorf("%.60q: %+v", tt.request, p)
		}
		if n := s.count.rejected[tt.cause].Load() - before; n != 1 {
			t.Errorf("%.60q: counted %d times", tt.request, n)
		}
	}
}
