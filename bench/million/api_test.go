package million

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"belfry/bench"
)

func TestPush(t *testing.T) {
	var asked atomic.Int32
	var got atomic.Pointer[string]
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		text := r.Method + " " + r.URL.Path + " " + string(body)
		got.Store(&text)
		switch n := asked.Add(1); {
		case r.URL.Path == "/v1/refused":
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, "why")
		case n == 1: // nothing was delivered: once more
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	defer node.Close()
	a, err := dialAPI(node.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { a.close() }()
	message := bench.Message{Stream: bench.Direct, User: 7, Seq: 9}
	stamp, err := a.push(t.Context(), "/v1/users/u7", message, 128)
	if err != nil || asked.Load() != 2 || a.refused != 1 {
		t.Fatalf("%v after %d requests, %d refused", err, asked.Load(), a.refused)
	}
	message.Stamp = stamp
	if want := "POST /v1/users/u7 " + string(bench.AppendMessage(nil, message, 128)); *got.Load() != want {
		t.Errorf("%q, not %q", *got.Load(), want)
	}

	// A node closes connections that are silent.
	node.CloseClientConnections()
	a.used = time.Now().Add(-2 * apiFresh)
	if _, err := a.push(t.Context(), "/v1/users/u7", message, 128); err != nil {
		t.Errorf("after a pause: %v", err)
	}
	if _, err := a.push(t.Context(), "/v1/refused", message, 128); err == nil || !strings.Contains(err.Error(), "status 400: why") {
		t.Errorf("a refused push: %v", err)
	}
}
