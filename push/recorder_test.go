package push

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"belfry/message"
)

func TestMain(m *testing.M) {
	// The keep-alive connections of tests' clients are closed by t.Cleanup.
	goleak.VerifyTestMain(settled{m})
}

// On a busy machine, goroutines that are about to end take longer than goleak
// waits by default.
type settled struct{ *testing.M }

func (s settled) Run() int {
	code := s.M.Run()
	for begun := time.Now(); goleak.Find() != nil && time.Since(begun) < 10*time.Second; {
	}
	return code
}

// testSID has the form of a session id: 30 characters of base64url.
const testSID = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// recorder is a Publisher that keeps the messages it gets. For a payload that starts
// with "fail:" it returns the error of that name.
type recorder struct {
	mu       sync.Mutex
	messages []*message.Message
	arrived  chan struct{} // if not nil, gets one value for each message
}

var errBroken = errors.New("disk on fire")

func (p *recorder) PublishWithin(_ context.Context, m *message.Message, _ message.Wait) (bool, error) {
	return false, p.publish(m)
}

func (p *recorder) publish(m *message.Message) error {
	switch string(m.Payload) {
	case "fail:field":
		return fmt.Errorf("wrapped: %w", &message.FieldError{Field: "key", Detail: "control characters are not allowed"})
	case "fail:large":
		return &message.TooLargeError{What: "payload with envelope", Size: 70_000, Max: 65_536}
	case "fail:full":
		return &message.OverloadedError{What: "outbox", RetryAfter: 1500e6}
	case "fail:other":
		return errBroken
	case "fail:panic":
		panic("boom")
	}
	p.mu.Lock()
	m.ID = fmt.Sprintf("m%d", len(p.messages)+1)
	p.messages = append(p.messages, m)
	p.mu.Unlock()
	if p.arrived != nil {
		p.arrived <- struct{}{}
	}
	return nil
}

func (p *recorder) all() []*message.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*message.Message(nil), p.messages...)
}

// last returns the last message and fails if there is none.
func (p *recorder) last(t *testing.T) *message.Message {
	t.Helper()
	all := p.all()
	if len(all) == 0 {
		t.Fatal("nothing was published")
	}
	return all[len(all)-1]
}

// start serves o on a real socket until the test ends.
func start(t *testing.T, o Options) (*Server, *httptest.Server, *recorder) {
	t.Helper()
	rec := &recorder{}
	if o.Publisher == nil {
		o.Publisher = rec
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewUnstartedServer(s.Handler())
	ts.Config = s.httpServer(s.Handler())
	ts.Start()
	t.Cleanup(func() { ts.Client().CloseIdleConnections(); ts.Close() })
	return s, ts, rec
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

// problemBody is the body of a refusal.
type problemBody struct {
	Type, Title, Detail, Field string
	Status                     int
	RetryAfter                 int `json:"retry_after"`
}

func (a answer) problem(t *testing.T) problemBody {
	t.Helper()
	if ct := a.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Fatalf("content type %q of %s", ct, a.body)
	}
	var p problemBody
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	if p.Status != a.StatusCode || p.Title == "" || p.Detail == "" || !strings.HasPrefix(p.Type, typePrefix) {
		t.Fatalf("status %d, problem %s", a.StatusCode, a.body)
	}
	return p
}

// raw sends a request exactly as written: an HTTP client would clean its path.
func raw(t *testing.T, ts *httptest.Server, request string) answer {
	t.Helper()
	return rawTo(t, ts.Listener.Addr().String(), request)
}

func rawTo(t *testing.T, addr, request string) answer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, bufio.NewReader(c))
}

func readAnswer(t *testing.T, r *bufio.Reader) answer {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(body)}
}

// post sends a body with headers given as "Name: value".
func post(t *testing.T, ts *httptest.Server, path, body string, headers ...string) answer {
	t.Helper()
	return request(t, ts, http.MethodPost, path, strings.NewReader(body), headers...)
}

func request(t *testing.T, ts *httptest.Server, method, path string, body io.Reader, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, ts.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ": ")
		if !ok {
			continue
		}
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	resp, err := ts.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(b)}
}
