package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"belfry/bench"
	"belfry/bench/peers/peer"
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

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

func TestPushRepeatsWhatWasRefused(t *testing.T) {
	var bodies []string
	addr := answers(t, &bodies, status(503, "later"), status(202, ""))
	conn, err := dialHTTP(addr, &peer.Request{Path: "/to/{uid}", Body: `{"m":"{payload}"}`})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.close()
	stamp, err := conn.push(t.Context(), bench.Message{Stream: bench.Direct, User: 3, Seq: 9}, 128)
	if err != nil || conn.refused != 1 || len(bodies) != 2 {
		t.Fatalf("%v, %d refused, %d requests", err, conn.refused, len(bodies))
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
		"chunks": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			io.WriteString(w, "b")
		}, "chunks"},
		"cut off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			var bodies []string
			conn, err := dialHTTP(answers(t, &bodies, tt.handler), &peer.Request{Path: "/", Delivered: `"result"`})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.close()
			if _, err := conn.push(t.Context(), bench.Message{Stream: bench.Broadcast, Seq: 1}, 128); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}
