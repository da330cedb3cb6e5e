package sse

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"belfry/wire"
	"belfry/wire/plain"
	"belfry/wire/v1"
	"belfry/ws"
)

// ask parses a GET for a target with more header fields, each ended by CRLF.
func ask(t *testing.T, target, fields string) *ws.Request {
	t.Helper()
	p, err := ws.NewParser(ws.ParserOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, _, refusal := p.Parse([]byte("GET " + target + " HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	return r
}

// respond parses a response that ends with the connection.
func respond(t *testing.T, p []byte) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(p)), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestAccept(t *testing.T) {
	resp, body := respond(t, (&Transport{}).AppendAccept(nil, ask(t, "/sse", "")))
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no",
		"X-Content-Type-Options": "nosniff", "Vary": "Origin", "Access-Control-Allow-Origin": "", "Access-Control-Allow-Credentials": "",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if resp.StatusCode != 200 || !resp.Close || resp.ContentLength != -1 || resp.TransferEncoding != nil {
		t.Errorf("%+v", resp)
	}
	if d, err := http.ParseTime(resp.Header.Get("Date")); err != nil || time.Since(d) > time.Minute || time.Since(d) < -time.Second {
		t.Errorf("date %v, %v", d, err)
	}
	if s := parse(body); s.retry != defaultRetry || len(s.events) != 0 {
		t.Errorf("%q", body)
	}

	tr := &Transport{Retry: 1500 * time.Millisecond}
	resp, body = respond(t, tr.AppendAccept(nil, ask(t, "/sse", "Origin: https://app.example\r\n")))
	if resp.Header.Get("Access-Control-Allow-Origin") != "https://app.example" || resp.Header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("%v", resp.Header)
	}
	if s := parse(body); s.retry != tr.Retry {
		t.Errorf("%q", body)
	}
}

func TestRefusal(t *testing.T) {
	tr := &Transport{}
	accept := tr.AppendAccept(nil, ask(t, "/sse", ""))
	for _, c := range []struct {
		refusal *ws.Refusal
		status  int
		retry   time.Duration
	}{
		{&ws.Refusal{Status: 503, Detail: "full", RetryAfter: 5 * time.Second}, 200, 5 * time.Second},
		{&ws.Refusal{Status: 503, Detail: "full"}, 200, defaultRetry},
		{&ws.Refusal{Status: 500, Detail: "fault\ndata: x"}, 200, defaultRetry},
		{&ws.Refusal{Status: 429, Detail: "too many", RetryAfter: 7 * time.Second}, 200, 7 * time.Second},
		{&ws.Refusal{Status: 429, Detail: "replaced"}, 429, 0}, // coming back would only replace another one
		{&ws.Refusal{Status: 401, Detail: "who"}, 401, 0},
		{&ws.Refusal{Status: 403, Detail: "no"}, 403, 0},
	} {
		resp, body := respond(t, tr.AppendRefusal(nil, accept, c.refusal, nil))
		if resp.StatusCode != c.status || !resp.Close {
			t.Errorf("%v: %v", c.refusal, resp)
		}
		if !strings.Contains(body, strings.ReplaceAll(c.refusal.Detail, "\n", " ")) {
			t.Errorf("%v is not told in %q", c.refusal, body)
		}
		if c.status != 200 {
			continue
		}
		if s := parse(body); s.retry != c.retry || len(s.events) != 0 {
			t.Errorf("%v: retry %v, want %v; events %q", c.refusal, s.retry, c.retry, s.events)
		}
	}
	// Before the request is accepted there is nothing to say it with.
	if resp, _ := respond(t, tr.AppendRefusal(nil, nil, &ws.Refusal{Status: 503}, nil)); resp.StatusCode != 503 {
		t.Errorf("%v", resp)
	}
}

func TestClose(t *testing.T) {
	for _, c := range []struct {
		close wire.Close
		bytes string
	}{
		{wire.Close{Code: 1001, Text: "bye", Reconnect: true, After: 2 * time.Second}, ": 1001 bye\nretry: 2000\n\n"},
		{wire.Close{Code: 4004, Text: "slow", Reconnect: true}, ": 4004 slow\n"},
		{wire.Close{Code: 4006, Text: "a\r\nretry: 1"}, ": 4006 a  retry: 1\nretry: 3600000\n\n"},
	} {
		if got := string((&Transport{}).AppendClose(nil, &c.close)); got != c.bytes {
			t.Errorf("%+v is %q, want %q", c.close, got, c.bytes)
		}
	}
}

// A client cannot answer: whatever it sends is consumed and is no event.
func TestDecoder(t *testing.T) {
	for _, p := range []string{"x", "GET / HTTP/1.1\r\n\r\n", "\x81\x80\x00\x00\x00\x00"} {
		n, ev, err := (&Transport{}).NewDecoder().Next([]byte(p), nil, ws.Limits{})
		if n != len(p) || ev.Type != ws.EventNone || err != nil {
			t.Errorf("%q: %d, %+v, %v", p, n, ev, err)
		}
	}
}

func TestChoose(t *testing.T) {
	e := New(Options{Encodings: []wire.Encoding{plain.Encoding{}, v1.Encoding{}}, Transport: Transport{Retry: time.Second}})
	if p := e.Paths(); len(p) != 1 || p[0] != "/sse" {
		t.Errorf("paths %q", p)
	}
	for target, want := range map[string]int{"/sse": 0, "/sse?encoding=plain": 0, "/sse?topic=a&encoding=belfry.v1": 1, "/sse?encoding=belfry%2Ev1": 1} {
		v, refusal := e.Choose(ask(t, target, ""))
		if refusal != nil || v != want || e.Variants()[v].Transport.(*Transport).Retry != time.Second {
			t.Errorf("%s: %d, %v", target, v, refusal)
		}
	}
	for _, target := range []string{"/sse?encoding=plain&encoding=plain", "/sse?Encoding=plain"} {
		if _, refusal := e.Choose(ask(t, target, "")); refusal == nil || refusal.Status != 400 {
			t.Errorf("%s: %v", target, refusal)
		}
	}
	for _, tc := range []struct {
		fields string
		status int
	}{
		{"Sec-Fetch-Site: same-origin\r\n", 0}, {"Sec-Fetch-Site: none\r\n", 0},
		{"Sec-Fetch-Site: cross-site\r\n", 403}, {"Sec-Fetch-Site: same-site\r\n", 403},
		{"Sec-Fetch-Site: cross-site\r\nOrigin: https://a.example\r\n", 0},
	} {
		_, refusal := e.Choose(ask(t, "/sse", tc.fields))
		if status := statusOf(refusal); status != tc.status {
			t.Errorf("%q: %d, want %d", tc.fields, status, tc.status)
		}
	}
	for _, target := range []string{"/sse?encoding=", "/sse?encoding=Plain", "/sse?encoding=%0d%0ax"} {
		_, refusal := e.Choose(ask(t, target, ""))
		if refusal == nil || refusal.Status != 400 || refusal.Cause != ws.CauseUpgrade || !strings.Contains(refusal.Detail, "allowed are plain, belfry.v1") || strings.ContainsAny(refusal.Detail, "\r\n") {
			t.Errorf("%s: %v", target, refusal)
		}
	}
}

func statusOf(r *ws.Refusal) int {
	if r == nil {
		return 0
	}
	return r.Status
}
