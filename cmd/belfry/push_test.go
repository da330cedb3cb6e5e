package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"belfry/message"
	"belfry/push"
)

const pushTestSID = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// pushRecorder is a push.Publisher that keeps the messages it gets.
type pushRecorder struct {
	mu   sync.Mutex
	last *message.Message
}

func (p *pushRecorder) PublishWithin(_ context.Context, m *message.Message, _ message.Wait) (bool, error) {
	if string(m.Payload) == "too much" {
		return false, &message.OverloadedError{What: "outbox", RetryAfter: 3e9}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	m.ID, p.last = "the-id", m
	return false, nil
}

// startAPI serves a real API and sets its address in the environment.
func startAPI(t *testing.T, keys ...string) *pushRecorder {
	t.Helper()
	rec := &pushRecorder{}
	var named []push.Key
	for _, key := range keys {
		named = append(named, push.Key{Secret: key})
	}
	s, err := push.New(push.Options{Publisher: rec, Keys: named})
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(s.Handler())
	t.Cleanup(ts.Close)
	t.Setenv(envPushAPI, ts.URL)
	t.Setenv(envAPIKey, "")
	return rec
}

// runPush runs one push command.
func runPush(stdin string, args ...string) (stdout string, code int, err error) {
	cmd := newPushCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	markUsage(cmd)
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	err = cmd.Execute()
	if err != nil {
		code = exitFailed
		if u, ok := err.(*usageError); ok {
			code = u.ExitCode()
		}
	}
	return out.String(), code, err
}

func TestPushCommand(t *testing.T) {
	rec := startAPI(t)
	file := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		stdin string
		args  []string
		want  message.Message
	}{
		{"", []string{"all", "hello"}, message.Message{Target: message.ToAll(), Payload: []byte("hello")}},
		{"", []string{"all", ""}, message.Message{Target: message.ToAll()}},
		{"from stdin\n", []string{"all"}, message.Message{Target: message.ToAll(), Payload: []byte("from stdin\n")}},
		{"from stdin", []string{"all", "-f", "-"}, message.Message{Target: message.ToAll(), Payload: []byte("from stdin")}},
		{"", []string{"topic", "news", "-f", file}, message.Message{Target: message.ToTopics("news"), Payload: []byte("from a file\n")}},
		{"", []string{"topic", "a//b/./c", "x"}, message.Message{Target: message.ToTopics("a//b/./c"), Payload: []byte("x")}},
		{"", []string{"user", "u1", "--json", `{"a": 1}`}, message.Message{Target: message.ToUsers("u1"), Payload: []byte(`{"a": 1}`)}},
		{"", []string{"user", "..", "x"}, message.Message{Target: message.ToUsers(".."), Payload: []byte("x")}},
		{"", []string{"user", "a/../Jörg %2F?#", "x"}, message.Message{Target: message.ToUsers("a/../Jörg %2F?#"), Payload: []byte("x")}},
		{"", []string{"session", pushTestSID, "x"}, message.Message{Target: message.ToSessions(pushTestSID), Payload: []byte("x")}},
		{"\xff\x00", []string{"all", "--binary"}, message.Message{Target: message.ToAll(), Kind: message.Binary, Payload: []byte("\xff\x00")}},
		{"", []string{"all", "--exclude", pushTestSID, "--latest-key", "a b&c", "x"}, message.Message{Target: message.Target{Exclude: pushTestSID}, Key: "a b&c", Payload: []byte("x")}},
		{"", []string{"all", "--", "--dashes"}, message.Message{Target: message.ToAll(), Payload: []byte("--dashes")}},
	}
	for _, tt := range tests {
		out, code, err := runPush(tt.stdin, tt.args...)
		if out != "the-id\n" || code != 0 {
			t.Errorf("%q: %q, exit %d, %v", tt.args, out, code, err)
			continue
		}
		tt.want.ID, tt.want.Received = "the-id", rec.last.Received
		if got := fmt.Sprintf("%+v", *rec.last); got != fmt.Sprintf("%+v", tt.want) {
			t.Errorf("%q\n got %s\nwant %+v", tt.args, got, tt.want)
		}
	}
}

// A slash in a name is sent as %2F; a raw slash would end the name.
func TestPushCommandEscapesNames(t *testing.T) {
	startAPI(t)
	var paths []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.EscapedPath())
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, `{"id":"x"}`)
	}))
	defer api.Close()
	t.Setenv(envPushAPI, api.URL)
	for _, tt := range []struct{ kind, name, path string }{
		{"topic", "a/b", "/v1/topics/a%2Fb"}, {"topic", "/", "/v1/topics/%2F"}, {"user", "a/b c", "/v1/users/a%2Fb%20c"}, {"user", "..", "/v1/users/%2E%2E"},
	} {
		if _, _, err := runPush("", tt.kind, tt.name, "x"); err != nil || paths[len(paths)-1] != tt.path {
			t.Errorf("%s %s: %q, %v; want %s", tt.kind, tt.name, paths, err, tt.path)
		}
	}
}

func TestPushCommandErrors(t *testing.T) {
	startAPI(t)
	elsewhere := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound))
	defer elsewhere.Close()
	tests := []struct {
		stdin string
		args  []string
		code  int
		want  string
	}{
		{"", []string{"topic", "a..b", "x"}, 1, `topic: "a..b" has an empty token between dots (400 invalid-field)`},
		{"", []string{"all", "--exclude", "", "x"}, 1, "exclude: 0 characters long"},
		{"", []string{"all", "--latest-key", "", "x"}, 1, "key: "},
		{"", []string{"all", "too much"}, 1, "try again in 3 s (503 overloaded)"},
		{"", []string{"all", strings.Repeat("x", 65537)}, 1, "65537 bytes; allowed are at most 65536 (413 payload-too-large)"},
		{"\xff", []string{"all"}, 1, "--binary"},
		{"", []string{"all", "-f", "/does/not/exist"}, 1, "/does/not/exist"},
		{"", []string{"user", "secret-uid", "x", "--api", "http://127.0.0.1:1"}, 1, "http://127.0.0.1:1: "},
		{"", []string{"all", "x", "--api", elsewhere.URL}, 1, "302 Found"},
		{"", []string{"all", "x", "y"}, 2, "accepts between 0 and 1 arg(s)"},
		{"", []string{"topic"}, 2, "accepts between 1 and 2 arg(s)"},
		{"", []string{"all", "x", "-f", "y"}, 2, "more than once"},
		{"", []string{"all", "x", "--json", "1"}, 2, "more than once"},
		{"", []string{"all", "--json", "{"}, 2, "not valid JSON"},
		{"", []string{"all", "--json", "1", "--binary"}, 2, "--binary"},
		{"", []string{"all", "--wibble"}, 2, "--wibble"},
		{"", []string{"wibble"}, 2, "wibble"},
		{"", []string{"batch", "x"}, 2, "x"},
		{"", []string{"all", "x", "--api", "ftp://h"}, 2, "--api"},
		{"", []string{"all", "x", "--api", "http://h?x"}, 2, "--api"},
	}
	for _, tt := range tests {
		out, code, err := runPush(tt.stdin, tt.args...)
		if err == nil || code != tt.code || out != "" || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60q: %q, exit %d, %v\nwant exit %d, %q", tt.args, out, code, err, tt.code, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret-uid") {
			t.Errorf("names a user: %v", err)
		}
	}
}

func TestPushCommandKey(t *testing.T) {
	startAPI(t, "a-good-key")
	if _, code, err := runPush("", "all", "x"); code != 1 || !strings.Contains(err.Error(), "(401 unauthorized)") {
		t.Errorf("without: exit %d, %v", code, err)
	}
	if _, code, err := runPush("", "all", "x", "--key", "a-good-key"); code != 0 {
		t.Errorf("by flag: %v", err)
	}
	t.Setenv(envAPIKey, "a-good-key")
	if _, code, err := runPush("", "all", "x"); code != 0 {
		t.Errorf("by environment: %v", err)
	}
	if _, code, err := runPush("", "all", "x", "--key", "bad-key\n"); code != 1 || strings.Contains(err.Error(), "bad-key") {
		t.Errorf("a key that cannot be sent: exit %d, %v", code, err)
	}
}

func TestPushCommandBatch(t *testing.T) {
	rec := startAPI(t)
	good := `{"to":{"user":"u"},"text":"hi"}` + "\n"
	out, code, err := runPush(good+good, "batch")
	if want := "{\"line\":1,\"id\":\"the-id\"}\n{\"line\":2,\"id\":\"the-id\"}\n"; out != want || code != 0 {
		t.Errorf("%q, exit %d, %v", out, code, err)
	}
	if got := fmt.Sprint(rec.last.Target); got != fmt.Sprint(message.ToUsers("u")) {
		t.Error(got)
	}
	out, code, err = runPush(good+"nonsense\n"+good, "batch")
	if code != 1 || strings.Count(out, "\n") != 3 || !strings.Contains(err.Error(), "1 of 3 lines were refused") {
		t.Errorf("%q, exit %d, %v", out, code, err)
	}
	if out, code, err := runPush("", "batch"); out != "" || code != 0 {
		t.Errorf("empty: %q, exit %d, %v", out, code, err)
	}
	if _, code, _ := runPush("", "batch", "-f", "/does/not/exist"); code != 1 {
		t.Errorf("no file: exit %d", code)
	}
	// Answers that end too early are an error.
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "{\"line\":1,\"id\":\"x\"}\n{\"li")
	}))
	defer broken.Close()
	if _, code, err := runPush(good, "batch", "--api", broken.URL); code != 1 || err == nil {
		t.Errorf("broken answer: exit %d, %v", code, err)
	}
}

// The answer to a line is printed while the input is still open.
func TestPushCommandBatchStreams(t *testing.T) {
	startAPI(t)
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	cmd := newPushCommand()
	cmd.SetArgs([]string{"batch"})
	cmd.SetIn(inR)
	cmd.SetOut(outW)
	done := make(chan error, 1)
	go func() { done <- cmd.Execute(); outW.Close() }()
	buf := make([]byte, 100)
	for i := 1; i <= 3; i++ {
		fmt.Fprintln(inW, `{"to":{"all":true},"text":"x"}`)
		n, err := outR.Read(buf)
		if want := fmt.Sprintf("{\"line\":%d,\"id\":\"the-id\"}\n", i); err != nil || string(buf[:n]) != want {
			t.Fatalf("%q %v", buf[:n], err)
		}
	}
	inW.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
