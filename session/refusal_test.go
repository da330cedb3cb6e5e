package session

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"time"
)

func TestRefusals(t *testing.T) {
	tests := []struct {
		refusal *Refusal
		status  int
		header  map[string]string
	}{
		{Unauthorized("no token"), 401, map[string]string{"Www-Authenticate": "Bearer"}},
		{Forbidden("not you"), 403, nil},
		{Unavailable("full", 1500*time.Millisecond), 503, map[string]string{"Retry-After": "2"}},
		{Unavailable("full", 0), 503, map[string]string{"Retry-After": ""}},
		{&Refusal{Status: 405, Problem: "x"}, 405, map[string]string{"Allow": "GET"}},
		{&Refusal{Status: 426, Problem: "x"}, 426, map[string]string{"Upgrade": "websocket", "Sec-Websocket-Version": "13"}},
	}
	for _, tt := range tests {
		resp := readRefusal(t, tt.refusal)
		if resp.StatusCode != tt.status {
			t.Errorf("%v: status %d", tt.refusal, resp.StatusCode)
		}
		for name, value := range tt.header {
			if got := resp.Header.Get(name); got != value {
				t.Errorf("%v: %s: %q, want %q", tt.refusal, name, got, value)
			}
		}
	}
}

// readRefusal checks that r is a whole HTTP response and returns it.
func readRefusal(t *testing.T, r *Refusal) *http.Response {
	t.Helper()
	raw := AppendRefusal(nil, r)
	br := bufio.NewReader(bytes.NewReader(raw))
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatalf("%v in %q", err, raw)
	}
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	if br.Buffered() > 0 {
		t.Errorf("bytes after the body in %q", raw)
	}
	if want := fmt.Sprintf("%d %s: %s\n", r.Status, http.StatusText(r.Status), r.Problem); body.String() != want {
		t.Errorf("body %q, want %q", body.String(), want)
	}
	if !resp.Close {
		t.Errorf("no Connection: close in %q", raw)
	}
	if r.Status == 426 && !bytes.Contains(raw, []byte("\r\nConnection: close, Upgrade\r\n")) {
		t.Errorf("Upgrade not listed in Connection in %q", raw)
	}
	return resp
}
