package push

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"belfry/message"
)

func TestPushCarriesTheBodyAsItIs(t *testing.T) {
	_, ts, rec := start(t, Options{})
	tests := []struct {
		path, contentType, body string
		kind                    message.Kind
		target                  message.Target
	}{
		{"/v1/all", "", "hello", message.Text, message.ToAll()},
		{"/v1/all", "application/x-www-form-urlencoded", "a=1&b=%20+\r\n", message.Text, message.ToAll()}, // curl -d
		{"/v1/all", "application/json", `{ "a" : 1 }`, message.Text, message.ToAll()},
		{"/v1/all", "", "", message.Text, message.ToAll()}, // an empty message is legal
		{"/v1/all", "application/octet-stream", "", message.Binary, message.ToAll()},
		{"/v1/all", "Application/Octet-Stream ; x=y", "\xff\x00\xfe", message.Binary, message.ToAll()},
		{"/v1/topics/news", "text/plain; charset=utf-8", "grüße", message.Text, message.ToTopics("news")},
		{"/v1/topics/a%2Fb", "", "x", message.Text, message.ToTopics("a/b")},
		{"/v1/topics/a:b@c-d_e.f", "", "x", message.Text, message.ToTopics("a:b@c-d_e.f")},
		{"/v1/topics/a%2F%2Fb%2f.%2F", "", "x", message.Text, message.ToTopics("a//b/./")},
		{"/v1/users/u1", "", "x", message.Text, message.ToUsers("u1")},
		{"/v1/users/a%2Fb", "", "x", message.Text, message.ToUsers("a/b")},
		{"/v1/users/J%C3%B6rg%20%25%3F%23", "", "x", message.Text, message.ToUsers("Jörg %?#")},
		{"/v1/users/a+b", "", "x", message.Text, message.ToUsers("a+b")}, // no form decoding in paths
		{"/v1/users/%2E%2E", "", "x", message.Text, message.ToUsers("..")},
		{"/v1/users/%2e", "", "x", message.Text, message.ToUsers(".")},
		{"/v1/users/..%2F..%2Fall", "", "x", message.Text, message.ToUsers("../../all")},
		{"/v1/sessions/" + testSID, "", "x", message.Text, message.ToSessions(testSID)},
	}
	for i, tt := range tests {
		a := post(t, ts, tt.path, tt.body, "Content-Type: "+tt.contentType)
		if want := fmt.Sprintf("{\"id\":\"m%d\"}\n", i+1); a.StatusCode != http.StatusAccepted || a.body != want {
			t.Fatalf("%s: %d %q, want 202 %q", tt.path, a.StatusCode, a.body, want)
		}
		if ct := a.Header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s: content type %q", tt.path, ct)
		}
		m := rec.last(t)
		if string(m.Payload) != tt.body || m.Kind != tt.kind || fmt.Sprint(m.Target) != fmt.Sprint(tt.target) {
			t.Errorf("%s %q: got %q %v %v", tt.path, tt.contentType, m.Payload, m.Kind, m.Target)
		}
		if cap(m.Payload) != len(m.Payload) {
			t.Errorf("%s: payload of %d bytes holds %d", tt.path, len(m.Payload), cap(m.Payload))
		}
	}
}

// http.ServeMux would redirect most of these paths, and clients lose a push that is
// redirected.
func TestPathsTheMuxWouldClean(t *testing.T) {
	_, ts, rec := start(t, Options{})
	tests := []struct {
		path   string
		target message.Target
		status int
	}{
		{"/v1/users/.", message.ToUsers("."), 202},
		{"/v1/users/..", message.ToUsers(".."), 202},
		{"/v1/topics/a%2F%2Fb", message.ToTopics("a//b"), 202},
		{"/v1/topics/..", message.Target{}, 400}, // empty tokens
		// An unescaped slash ends the name, so the path does not exist.
		{"/v1/topics/news/sessions", message.Target{}, 404},
		{"/v1/topics/a//b", message.Target{}, 404},
		{"/v1/topics//a", message.Target{}, 404},
		{"/v1/topics/a/./b", message.Target{}, 404},
		{"/v1/topics/a/", message.Target{}, 404},
		{"/v1/topics/../all", message.Target{}, 404},
		{"/v1/topics/", message.Target{}, 404},
		{"/v1/topics", message.Target{}, 404},
		{"/v1/users/../all", message.Target{}, 404},
		{"/v1/users/a/b", message.Target{}, 404},
		{"/v1/users/", message.Target{}, 404},
		{"/v1//all", message.Target{}, 404},
		{"//v1/all", message.Target{}, 404},
		{"/v1/./all", message.Target{}, 404},
		{"/x/../v1/all", message.Target{}, 404},
		{"/v1", message.Target{}, 404},
		{"/v1/", message.Target{}, 404},
		{"/v1/all/", message.Target{}, 404},
		{"*", message.Target{}, 404},
	}
	for _, tt := range tests {
		before := len(rec.all())
		a := raw(t, ts, "POST "+tt.path+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi")
		if a.StatusCode != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.path, a.StatusCode, a.body, tt.status)
			continue
		}
		if tt.status != 202 {
			if p := a.problem(t); a.StatusCode == 404 && strings.HasPrefix(tt.path, "/v1/topics/") && !strings.Contains(p.Detail, "%2F") {
				t.Errorf("%s: the text does not say how to escape a slash: %s", tt.path, p.Detail)
			}
			if len(rec.all()) != before {
				t.Errorf("%s was refused and published", tt.path)
			}
			continue
		}
		if m := rec.last(t); fmt.Sprint(m.Target) != fmt.Sprint(tt.target) {
			t.Errorf("%s: target %v, want %v", tt.path, m.Target, tt.target)
		}
	}
	if a := raw(t, ts, "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n"); a.StatusCode != 404 {
		t.Errorf("CONNECT: %d", a.StatusCode)
	}
}

func TestParameters(t *testing.T) {
	_, ts, rec := start(t, Options{})
	if a := post(t, ts, "/v1/all?exclude="+testSID+"&key=k%201", "x"); a.StatusCode != 202 {
		t.Fatal(a.body)
	}
	if m := rec.last(t); m.Target.Exclude != testSID || m.Key != "k 1" {
		t.Fatalf("exclude %q, key %q", m.Target.Exclude, m.Key)
	}
	refused := []struct {
		query, field string
		cause        Cause
	}{
		{"exclud=x", "exclud", CauseParameter},
		{"exclude=", "exclude", CauseField},
		{"exclude=short", "exclude", CauseField},
		{"exclude=" + testSID + "&exclude=" + testSID, "exclude", CauseField},
		{"key=", "key", CauseField},
		{"key=a%0Ab", "key", CauseField}, // a line break could start a header on the bus
		{"key=" + strings.Repeat("k", 129), "key", CauseField},
		{"key=%zz", "", CauseParameter},
		{"wait=2s", "wait", CauseField}, // there are no reports
		{"wait=0s", "wait", CauseField},
		{"wait=30.001s", "wait", CauseField},
		{"wait=2", "wait", CauseField},
		{"wait=", "wait", CauseField},
		{"ack=1", "ack", CauseField},
		{"ack=yes&wait=1s", "ack", CauseField},
		{"key=a;exclude=b", "", CauseParameter},
	}
	for _, tt := range refused {
		p := post(t, ts, "/v1/all?"+tt.query, "x").problem(t)
		if p.Status != 400 || p.Field != tt.field || p.Type != tt.cause.Type() {
			t.Errorf("?%s: %+v", tt.query, p)
		}
	}
	if n := len(rec.all()); n != 1 {
		t.Errorf("%d messages published, want 1", n)
	}
}

func TestPushRefusals(t *testing.T) {
	s, ts, rec := start(t, Options{Limits: Limits{MaxPayload: 100}})
	tests := []struct {
		path, body, header string
		status             int
		field, detail      string
	}{
		{"/v1/topics/a..b", "x", "", 400, "topic", "empty token"},
		{"/v1/topics/a%20b", "x", "", 400, "topic", "A-Z a-z 0-9"},
		{"/v1/topics/*", "x", "", 400, "topic", "A-Z a-z 0-9"},
		{"/v1/topics/" + strings.Repeat("t", 129), "x", "", 400, "topic", "1 to 128"},
		{"/v1/users/a%0Ab", "x", "", 400, "uid", "control character"},
		{"/v1/users/%FF", "x", "", 400, "uid", "UTF-8"},
		{"/v1/users/" + strings.Repeat("u", 129), "x", "", 400, "uid", "1 to 128"},
		{"/v1/sessions/abc", "x", "", 400, "session", "30"},
		{"/v1/all", "a\xffb", "", 400, "body", "UTF-8"},
		{"/v1/all", "x", "Content-Encoding: gzip", 415, "Content-Encoding", "gzip"},
		{"/v1/all", "x", "Content-Type: multipart/form-data; boundary=b", 415, "Content-Type", "--data-binary"},
		{"/v1/all", strings.Repeat("x", 101), "", 413, "body", "101 bytes; allowed are at most 100"},
		{"/v1/all", "fail:field", "", 400, "key", "control characters"},
		{"/v1/all", "fail:large", "", 413, "body", "65536"},
		{"/v1/all", "fail:full", "", 503, "", "outbox"},
		{"/v1/all", "fail:other", "", 500, "", "log"},
		{"/v1/all", "fail:panic", "", 500, "", "log"},
		{"/v1/nothing", "x", "", 404, "", "/v1/all"},
		{"/", "x", "", 404, "", ""},
	}
	for _, tt := range tests {
		a := post(t, ts, tt.path, tt.body, tt.header)
		p := a.problem(t)
		if p.Status != tt.status || p.Field != tt.field || !strings.Contains(p.Detail, tt.detail) {
			t.Errorf("%s %.20q: %+v", tt.path, tt.body, p)
		}
		if strings.Contains(a.body, errBroken.Error()) {
			t.Errorf("an internal error is shown to clients: %s", a.body)
		}
		if retry := a.Header.Get("Retry-After"); (retry == "2") != (tt.status == 503) || p.RetryAfter > 0 != (tt.status == 503) {
			t.Errorf("%s: Retry-After %q", tt.body, retry)
		}
	}
	if n := len(rec.all()); n != 0 {
		t.Errorf("%d messages published", n)
	}
	var refused uint64
	for _, c := range s.Stats().Rejected {
		refused += c.Count
	}
	if int(refused) != len(tests) {
		t.Errorf("%d refusals counted, want %d", refused, len(tests))
	}
}

// The limit is exact, and a body of unknown length is not read past it.
func TestPayloadLimit(t *testing.T) {
	_, ts, rec := start(t, Options{Limits: Limits{MaxPayload: 100_000}})
	for _, size := range []int{99_999, 100_000, 100_001} {
		body := strings.Repeat("x", size)
		for name, r := range map[string]io.Reader{
			"length":  strings.NewReader(body),
			"chunked": io.MultiReader(strings.NewReader(body)),
		} {
			a := request(t, ts, http.MethodPost, "/v1/all", r)
			if want := size <= 100_000; (a.StatusCode == 202) != want || !want && a.problem(t).Status != 413 {
				t.Errorf("%s, %d bytes: %d", name, size, a.StatusCode)
			}
			if size <= 100_000 {
				if m := rec.last(t); string(m.Payload) != body || cap(m.Payload) != size {
					t.Errorf("%s, %d bytes: got %d in %d", name, size, len(m.Payload), cap(m.Payload))
				}
			}
		}
	}
}

// The 413 comes while an endless body is still being sent.
func TestEndlessBody(t *testing.T) {
	_, ts, _ := start(t, Options{Limits: Limits{MaxPayload: 10}})
	c, err := net.Dial("tcp", ts.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/all HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
	go func() {
		for {
			if _, err := io.WriteString(c, "400\r\n"+strings.Repeat("x", 1024)+"\r\n"); err != nil {
				return
			}
		}
	}()
	if p := readAnswer(t, bufio.NewReader(c)).problem(t); p.Status != 413 {
		t.Errorf("%+v", p)
	}
}

// A client of HTTP/1.0, or one that sends Connection: close like "belfry push", sees
// why it was refused, although it is still sending the body.
func TestRefusalOfABodyUnderWay(t *testing.T) {
	for _, tt := range []struct {
		path   string
		size   int
		status int
	}{{"/v1/all", 200_000, 413}, {"/v1/batch?x=y", 200_000, 400}, {"/v1/nothing", 200_000, 404}, {"/v1/all", 3 << 20, 413}} {
		s, ts, _ := start(t, Options{})
		c, err := net.Dial("tcp", ts.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", tt.path, tt.size, strings.Repeat("x", 1000))
		refused := func() (n uint64) {
			for _, cause := range s.Stats().Rejected {
				n += cause.Count
			}
			return n
		}
		until(t, func() bool { return refused() > 0 }) // the request is refused, and the body has not arrived completely
		written := make(chan error, 1)
		go func() {
			var err error
			for sent := 1000; sent < tt.size && err == nil; sent += 1000 { // in many pieces, so that a reset would come between two of them
				_, err = io.WriteString(c, strings.Repeat("x", min(1000, tt.size-sent)))
			}
			written <- err
		}()
		if p := readAnswer(t, bufio.NewReader(c)).problem(t); p.Status != tt.status {
			t.Errorf("%s, %d bytes: %+v", tt.path, tt.size, p)
		}
		cut := uint64(1)
		if tt.size < maxRest {
			cut = 0
			if err := <-written; err != nil {
				t.Errorf("%s, %d bytes: %v", tt.path, tt.size, err)
			}
		}
		until(t, func() bool { return s.Stats().BodiesCut == cut })
	}
}

// A refusal is sent before the body has arrived, even if the body never arrives. The
// time for the answer is not over when the time for the body is.
func TestRefusalOfABodyThatDoesNotCome(t *testing.T) {
	t.Parallel()
	s, ts, _ := start(t, Options{Limits: Limits{ReadTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second}})
	cut := uint64(0)
	for _, tt := range []struct {
		request string
		status  int
	}{
		{"POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\n", 404},
		{"POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", 404},
		{"POST /v1/nothing HTTP/1.0\r\nHost: localhost\r\n", 404},
		{"POST /v1/batch?x=y HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n", 400},
		{"POST /v1/all HTTP/1.1\r\nHost: localhost\r\n", 408},
	} {
		a := raw(t, ts, tt.request+"Content-Length: 1000\r\n\r\nabc")
		if a.StatusCode != tt.status {
			t.Errorf("%q: %d", tt.request, a.StatusCode)
		}
		cut++
		until(t, func() bool { return s.Stats().BodiesCut == cut })
	}
}

// A body may turn out to be too long after a 100 has invited the client to send it.
func TestRefusalOfABodyThatWasAskedFor(t *testing.T) {
	_, ts, _ := start(t, Options{})
	for range 10 {
		c, err := net.Dial("tcp", ts.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "POST /v1/all HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
		r := bufio.NewReader(c)
		if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
			t.Fatalf("%q, %v", line, err)
		}
		r.ReadString('\n')
		for range 200 {
			if _, err := io.WriteString(c, "400\r\n"+strings.Repeat("x", 1024)+"\r\n"); err != nil {
				t.Fatal(err)
			}
		}
		io.WriteString(c, "0\r\n\r\n")
		if p := readAnswer(t, r).problem(t); p.Status != 413 {
			t.Errorf("%+v", p)
		}
	}
}

func TestBodyThatDoesNotCome(t *testing.T) {
	_, ts, rec := start(t, Options{Limits: Limits{ReadTimeout: 50 * time.Millisecond}})
	a := raw(t, ts, "POST /v1/all HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhel")
	if p := a.problem(t); p.Status != 408 || p.Type != CauseSlow.Type() {
		t.Errorf("%+v", p)
	}
	if !a.Close {
		t.Error("the connection stays open with half a body in it")
	}
	c, err := net.Dial("tcp", ts.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST /v1/all HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
	if p := readAnswer(t, bufio.NewReader(c)).problem(t); p.Status != 400 || p.Type != CauseBody.Type() {
		t.Errorf("%+v", p)
	}
	if len(rec.all()) != 0 {
		t.Error("half a body was published")
	}
}

func TestMethods(t *testing.T) {
	_, ts, _ := start(t, Options{Metrics: http.NotFoundHandler()})
	for path, allow := range map[string]string{
		"/v1/all": "POST", "/v1/topics/a%2Fb": "POST", "/v1/users/u": "POST", "/v1/sessions/s": "POST", "/v1/batch": "POST",
		"/v1/stats": "GET, HEAD", "/healthz": "GET, HEAD", "/readyz": "GET, HEAD", "/metrics": "GET, HEAD",
	} {
		for _, method := range []string{"PUT", "DELETE", "OPTIONS", "PATCH"} {
			a := request(t, ts, method, path, nil)
			if a.StatusCode != 405 || a.Header.Get("Allow") != allow {
				t.Errorf("%s %s: %d, Allow %q", method, path, a.StatusCode, a.Header.Get("Allow"))
			}
			a.problem(t)
		}
	}
	if a := request(t, ts, "GET", "/v1/all", nil); a.StatusCode != 405 {
		t.Errorf("GET /v1/all: %d", a.StatusCode)
	}
	if a := request(t, ts, "HEAD", "/healthz", nil); a.StatusCode != 200 || a.body != "" {
		t.Errorf("HEAD /healthz: %d %q", a.StatusCode, a.body)
	}
}
