package ws

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestStatusTexts checks the names of RFC 9110 for which net/http has older ones.
func TestStatusTexts(t *testing.T) {
	for status, want := range map[int]string{403: "Forbidden", 413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"} {
		raw := AppendRefusal(nil, &Refusal{Status: status}, nil)
		if !bytes.HasPrefix(raw, fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n", status, want)) {
			t.Errorf("%d is answered with %q", status, raw)
		}
	}
}

// TestDates checks that each second has its date, formatted once, also when the
// clock goes back.
func TestDates(t *testing.T) {
	var d Date
	if got := string(d.At(refusalDate)); got != "Sun, 06 Nov 1994 08:49:37 GMT" {
		t.Errorf("date %q", got)
	}
	if allocs := testing.AllocsPerRun(100, func() { d.At(refusalDate.Add(999 * time.Millisecond)) }); allocs != 0 {
		t.Errorf("%v allocations in the same second", allocs)
	}
	d.text[0] = 'x' // a mark that formatting again would remove
	if got := string(d.At(refusalDate.Add(time.Millisecond))); got != "xun, 06 Nov 1994 08:49:37 GMT" {
		t.Errorf("formatted again in the same second: %q", got)
	}
	for _, step := range []time.Duration{time.Second, -time.Hour, 20 * time.Hour} {
		now := refusalDate.Add(step).In(time.FixedZone("", 3600))
		if got, err := http.ParseTime(string(d.At(now))); err != nil || !got.Equal(now) {
			t.Errorf("at %v: %v, %v", now, got, err)
		}
	}
	var zero Date
	if got := string(zero.At(time.Unix(0, 0))); got != "Thu, 01 Jan 1970 00:00:00 GMT" {
		t.Errorf("at second 0: %q", got)
	}
}

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
		{&Refusal{Status: 405, Detail: "x"}, 405, map[string]string{"Allow": "GET"}},
		{&Refusal{Status: 426, Detail: "x"}, 426, map[string]string{"Upgrade": "websocket", "Sec-Websocket-Version": "13"}},
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

// refusalDate is the example of RFC 9110 §5.6.7.
var refusalDate = time.Date(1994, time.November, 6, 8, 49, 37, 0, time.UTC)

// readRefusal checks that r is a whole HTTP response and returns it.
func readRefusal(t *testing.T, r *Refusal) *http.Response {
	t.Helper()
	raw := AppendRefusal(nil, r, new(Date).At(refusalDate))
	br := bufio.NewReader(bytes.NewReader(raw))
	method := http.MethodGet
	if r.NoContent {
		method = http.MethodHead
	}
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
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
	want := fmt.Sprintf("%d %s: %s\n", r.Status, statusText(r.Status), r.Detail)
	if resp.ContentLength != int64(len(want)) {
		t.Errorf("Content-Length %d; the content of a GET's answer has %d bytes", resp.ContentLength, len(want))
	}
	if r.NoContent {
		want = ""
	}
	if body.String() != want {
		t.Errorf("body %q, want %q", body.String(), want)
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err != nil || !date.Equal(refusalDate) {
		t.Errorf("Date %q: %v", resp.Header.Get("Date"), err)
	}
	if !resp.Close {
		t.Errorf("no Connection: close in %q", raw)
	}
	if r.Status == 426 && !bytes.Contains(raw, []byte("\r\nConnection: close, Upgrade\r\n")) {
		t.Errorf("Upgrade not listed in Connection in %q", raw)
	}
	return resp
}
