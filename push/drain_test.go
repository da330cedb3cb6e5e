package push

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// drainNode is a Drain that remembers what it was told.
type drainNode struct {
	calls []string
	err   error
	panic bool
}

func (d *drainNode) status(err error) (DrainStatus, error) {
	if d.panic {
		panic("a fault")
	}
	return DrainStatus{Node: "a", State: DrainRunning, Total: 9, Closed: 2, Left: 7, Rate: 3, Over: 4, Since: seen, ETA: 2.5}, err
}

func (d *drainNode) Start(ctx context.Context, over time.Duration) (DrainStatus, error) {
	if _, limited := ctx.Deadline(); !limited {
		return DrainStatus{}, errors.New("no deadline")
	}
	d.calls = append(d.calls, fmt.Sprint("start ", over))
	return d.status(d.err)
}

func (d *drainNode) Status() DrainStatus {
	st, _ := d.status(nil)
	return st
}

func (d *drainNode) Stop(context.Context) (DrainStatus, error) {
	d.calls = append(d.calls, "stop")
	return d.status(d.err)
}

func TestDrain(t *testing.T) {
	d := new(drainNode)
	_, ts, _ := start(t, Options{Drain: d})
	const status = `{"node":"a","state":"draining","total":9,"closed":2,"left":7,"rate":3,"over":4,"since":"2026-01-31T12:00:00Z","eta":2.5}`
	for _, c := range []struct{ method, body, want, call string }{
		{"POST", `{"over":"90s"}`, status, "start 1m30s"},
		{"POST", ``, status, "start 10m0s"},
		{"POST", `{}`, status, "start 10m0s"},
		{"POST", `{"over":"24h"}`, status, "start 24h0m0s"},
		{"POST", `{"over":"999ms"}`, `"over"`, ""},
		{"POST", `{"over":"24h1s"}`, `1s to 24h`, ""},
		{"POST", `{"over":"0"}`, `1s to 24h`, ""},
		{"POST", `{"over":"soon"}`, `allowed is a time from 1s to 24h, such as 10m`, ""},
		{"POST", `{"over":10}`, `"over"`, ""},
		{"POST", `{"rate":10}`, `unknown; allowed: over`, ""},
		{"GET", ``, status, ""},
		{"DELETE", ``, status, "stop"},
	} {
		d.calls = nil
		a := request(t, ts, c.method, "/v1/drain", strings.NewReader(c.body))
		if !strings.Contains(a.body, c.want) || (a.StatusCode == 200) != (c.want == status) || strings.Join(d.calls, ",") != c.call {
			t.Errorf("%s %s: %d %s, called %q", c.method, c.body, a.StatusCode, a.body, d.calls)
		}
	}
	d.err = ErrStopping
	if a := request(t, ts, "POST", "/v1/drain", nil); a.StatusCode != 503 || !strings.Contains(a.body, "shutting-down") || a.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	d.err = errors.New("no shard answers")
	if a := request(t, ts, "DELETE", "/v1/drain", nil); a.StatusCode != 500 || strings.Contains(a.body, "shard") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// drains sends requests that get every answer that those about a drain can have.
func (c *contract) drains(open, keyed, slow, busy *httptest.Server) {
	const path = "/v1/drain"
	_, none, _ := start(c.t, Options{})
	_, faulty, _ := start(c.t, Options{Drain: &drainNode{panic: true}})
	_, stopping, _ := start(c.t, Options{Drain: &drainNode{err: ErrStopping}})
	for _, method := range []string{"POST", "GET", "DELETE"} {
		c.send(open, method, path, path, "", "Content-Type: application/json")
		c.send(open, method, path, path+"?x=1", "")
		c.send(keyed, method, path, path, "")
		c.send(open, method, path, path, "", "Host: evil.example")
		c.send(none, method, path, path, "")
		c.send(faulty, method, path, path, "")
		c.send(busy, method, path, path, "")
	}
	c.send(stopping, "POST", path, path, "")
	c.send(open, "POST", path, path, `{"over":"2m"}`, "Content-Type: application/json")
	c.send(open, "POST", path, path, strings.Repeat("x", maxCommandBody+1))
	c.send(open, "POST", path, path, "{}", "Content-Encoding: br")
	c.raw("POST", path, slow.Listener.Addr().String(), "POST /v1/drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nx")
}
