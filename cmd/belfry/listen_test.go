package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// listenTo runs belfry listen against a server of the test, once.
func listenTo(t *testing.T, f listenFlags, handler http.HandlerFunc) (out string, least time.Duration, err error) {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	f.url = server.URL + "/any"
	var stdout, stderr bytes.Buffer
	l, err := f.listener(&stdout, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	least, err = l.connection(ctx)
	return stdout.String(), least, err
}

// TestListenPlain: listen also works with a server that does not know
// belfry.v1.
func TestListenPlain(t *testing.T) {
	speak := func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		c.Write(r.Context(), websocket.MessageText, []byte("a line\n"))
		c.Write(r.Context(), websocket.MessageText, []byte(`{"not closed`))
		c.Write(r.Context(), websocket.MessageBinary, []byte("\x00\xff"))
		c.Close(websocket.StatusPolicyViolation, "go away")
	}
	for _, tc := range []struct {
		json bool
		want string
	}{
		{false, "a line\n{\"not closed\n00000000  00 ff                                             |..|\n"},
		{true, `{"type":"msg","data":"a line\n"}` + "\n" + `{"type":"msg","data":"{\"not closed"}` + "\n" + `{"type":"msg","data":"AP8=","binary":true}` + "\n"},
	} {
		out, _, err := listenTo(t, listenFlags{json: tc.json}, speak)
		if out != tc.want {
			t.Errorf("got %q, want %q", out, tc.want)
		}
		var final *finalError
		if !errors.As(err, &final) || err.Error() != "closed with 1008 go away" {
			t.Errorf("ended with %v", err)
		}
	}
}

// TestListenRefused: after which refusals listen tries again.
func TestListenRefused(t *testing.T) {
	for status, again := range map[int]bool{400: false, 401: false, 403: false, 404: false, 408: true, 426: false, 429: true, 431: false, 500: true, 503: true, 505: false} {
		_, least, err := listenTo(t, listenFlags{}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			http.Error(w, "because", status)
		})
		if !strings.Contains(err.Error(), "is --url right? because") { // not a text of belfry
			t.Errorf("%d: %v", status, err)
		}
		var final *finalError
		if errors.As(err, &final) == again {
			t.Errorf("%d: %v; another try: %v", status, err, !again)
		}
		if again && least != 7*time.Second {
			t.Errorf("%d: comes back after %v", status, least)
		}
	}
}

func TestListenBackoff(t *testing.T) {
	for attempt, want := range map[int]time.Duration{0: time.Second, 1: 2 * time.Second, 4: 16 * time.Second, 5: 30 * time.Second, 1000: 30 * time.Second} {
		if least, most := backoff(attempt, 0), backoff(attempt, 1); least != want/2 || most != want {
			t.Errorf("attempt %d: %v to %v, want %v to %v", attempt, least, most, want/2, want)
		}
	}
}

// TestListenFinal: listen ends after the close codes for which docs/protocol.md
// says so.
func TestListenFinal(t *testing.T) {
	documented := []websocket.StatusCode{1000, 1002, 1007, 1008, 1009, 4006, 4009, 4401, 4403}
	for code := websocket.StatusCode(-1); code < 5000; code++ {
		if want := slices.Contains(documented, code); final(code) != want {
			t.Errorf("%d: %v, want %v", code, !want, want)
		}
	}
}

// A push cannot control a terminal. If the output is not a terminal, the bytes
// are unchanged.
func TestListenTamesForTerminals(t *testing.T) {
	const pushed = "a\tb\n\x1b]0;title\x07\u009b31m\u202ez"
	for tty, want := range map[bool]string{
		false: pushed + "\n",
		true:  "a\tb\n\\u001b]0;title\\u0007\\u009b31m\\u202ez\n",
	} {
		var out bytes.Buffer
		l := &listener{flags: &listenFlags{}, out: &out, tty: tty, left: -1}
		if err := l.received(false, false, []byte(pushed)); err != nil || out.String() != want {
			t.Errorf("terminal %v: %q, %v; want %q", tty, out.String(), err, want)
		}
	}
}
