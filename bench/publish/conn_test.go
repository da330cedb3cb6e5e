package publish

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"belfry/bench"
)

// answers serves answers one after the other and collects the bodies.
func answers(t *testing.T, bodies *[]string, handlers ...http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		n := len(*bodies)
		*bodies = append(*bodies, r.URL.Path+" "+string(body))
		handlers[min(n, len(handlers)-1)](w, r)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func to(t *testing.T, addr, path, body string) *Request {
	t.Helper()
	r, err := NewRequest("", "http://"+addr+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

func TestPushRepeatsWhatWasRefused(t *testing.T) {
	var bodies []string
	addr := answers(t, &bodies, status(503, "later"), status(202, ""))
	conn := NewConn(to(t, addr, "/to/{uid}", `{"m":"{payload}"}`))
	defer conn.Close()
	stamp, err := conn.Push(t.Context(), bench.Message{Stream: bench.Direct, User: 3, Seq: 9}, 128)
	if err != nil || conn.Refused != 1 || len(bodies) != 2 {
		t.Fatalf("%v, %d refused, %d requests", err, conn.Refused, len(bodies))
	}
	if !strings.HasPrefix(bodies[1], "/to/"+bench.UID(3)+` {"m":"`) {
		t.Errorf("request %s", bodies[1])
	}
	m, _, err := bench.FindPayload([]byte(bodies[1]))
	if err != nil || m != (bench.Message{Stream: bench.Direct, User: 3, Seq: 9, Stamp: stamp}) {
		t.Errorf("payload %+v, %v", m, err)
	}
}

func TestPushReportsWhatFailed(t *testing.T) {
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"status":        {status(404, "no such thing"), "404: no such thing"},
		"not delivered": {status(200, `{"error":1}`), `{"error":1}`},
		"closing": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			io.WriteString(w, "bye")
		}, "200: bye"},
		"cut off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			var bodies []string
			r := to(t, answers(t, &bodies, tt.handler), "/", "")
			r.Delivered = `"result"`
			conn := NewConn(r)
			defer conn.Close()
			if _, err := conn.Push(t.Context(), bench.Message{Stream: bench.Broadcast, Seq: 1}, 128); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// Servers close idle connections, and may close one at any time.
func TestPushConnectsAgain(t *testing.T) {
	var bodies []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bodies = append(bodies, r.URL.Path)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer s.Close()
	conn := NewConn(ToUser(s.Listener.Addr().String()))
	defer conn.Close()
	push := func() error {
		_, err := conn.Push(t.Context(), bench.Message{Stream: bench.Direct, User: 7, Seq: 1}, 128)
		return err
	}
	if err := conn.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.CloseClientConnections()
	conn.used = time.Now().Add(-2 * fresh)
	if err := push(); err != nil {
		t.Errorf("after a pause: %v", err)
	}
	s.CloseClientConnections()
	if err := push(); err == nil {
		t.Error("a message that may or may not have arrived was not reported")
	}
	if err := push(); err != nil {
		t.Errorf("after an error: %v", err)
	}
	if want := "/v1/users/" + bench.UID(7); len(bodies) != 2 || bodies[0] != want {
		t.Errorf("requests %q, want 2 of %s", bodies, want)
	}
}

// Waiting for a server that does not answer ends with the context.
func TestPushEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn := NewConn(ToAll(l.Addr().String()))
	defer conn.Close()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		c, err := l.Accept()
		if err == nil {
			c.Read(make([]byte, 1))
			cancel(why)
			defer c.Close()
			<-t.Context().Done()
		}
	}()
	for range 2 { // the second does not begin
		if _, err := conn.Push(ctx, bench.Message{Stream: bench.Broadcast, Seq: 1}, 128); !errors.Is(err, why) {
			t.Errorf("%v, want %v", err, why)
		}
	}
}

// A connection outlives the context of a push, and the late end of a context
// does not disturb later pushes.
func TestPushWithTheNextContext(t *testing.T) {
	var bodies []string
	conn := NewConn(to(t, answers(t, &bodies, status(202, "")), "/", ""))
	defer conn.Close()
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := conn.Push(ctx, bench.Message{Stream: bench.Broadcast, Seq: 1}, 128)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A message is offered to a busy server for RetryFor.
func TestPushLosesPatience(t *testing.T) {
	var bodies []string
	conn := NewConn(to(t, answers(t, &bodies, status(429, "slow down")), "/", ""))
	defer conn.Close()
	conn.RetryFor = time.Second
	if err := conn.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Push(t.Context(), bench.Message{Stream: bench.Broadcast, Seq: 1}, 128); err == nil || !strings.Contains(err.Error(), "429: slow down") {
		t.Errorf("%v", err)
	}
	if conn.Refused == 0 || conn.Refused != len(bodies)-1 {
		t.Errorf("%d refused and asked again, of %d requests", conn.Refused, len(bodies))
	}
}

func TestPushToBelfry(t *testing.T) {
	var got *http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.WriteHeader(http.StatusAccepted)
		w.(http.Flusher).Flush() // so the answer comes in chunks
		io.WriteString(w, `{"id":"1"}`)
	}))
	defer s.Close()
	conn := NewConn(ToAll(s.Listener.Addr().String()))
	defer conn.Close()
	for range 2 {
		if _, err := conn.Push(t.Context(), bench.Message{Stream: bench.Broadcast, Seq: 1}, 128); err != nil {
			t.Fatal(err)
		}
	}
	if got.Method != "POST" || got.URL.Path != "/v1/all" || got.Header.Get("Content-Type") != "text/plain" || got.ContentLength != 128 {
		t.Errorf("%s %s, %v", got.Method, got.URL, got.Header)
	}
}

func TestGetStats(t *testing.T) {
	body := `{"sessions":3,"fanout_passes":4,"push_latency":{"count":7,"p50_us":1,"p99_us":20,"p999_us":300,"more":1}}`
	code := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(code)
		io.WriteString(w, body)
	}))
	defer s.Close()
	get := func() (Stats, error) { return GetStats(t.Context(), time.Minute, s.Listener.Addr().String()) }
	st, err := get()
	if want := (bench.Quantiles{Count: 7, P50: 1e3, P99: 20e3, P999: 300e3}); err != nil || st.Latency() != want || st.Sessions != 3 || st.Passes != 4 {
		t.Errorf("%+v, %v", st, err)
	}
	body = `{"sessions":3}` // of a node that has pushed nothing
	if st, err := get(); err != nil || st.Latency() != (bench.Quantiles{}) {
		t.Errorf("%+v, %v", st, err)
	}
	body = "404 page not found"
	if _, err := get(); err == nil || !strings.Contains(err.Error(), "/v1/stats") {
		t.Errorf("something else than JSON: %v", err)
	}
	code = http.StatusUnauthorized
	if _, err := get(); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("%v", err)
	}
}
