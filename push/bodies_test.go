package push

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const longBatch = "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"

// Bodies that drip take no place of those that are served.
func TestDrippingBodiesUseUpNoRequests(t *testing.T) {
	s, _, _ := serve(t, Options{Limits: Limits{MaxRequests: 2, MaxBodies: 20}})
	for i := range 10 {
		io.WriteString(visit(t, s, "127.0.0.1"), longBatch+`{"to"`)
		if i < 9 {
			io.WriteString(visit(t, s, "127.0.0.1"), "POST /v1/all HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf")
		}
	}
	until(t, func() bool { return s.Stats().Bodies == 19 })
	v := visit(t, s, "127.0.0.1")
	if a := v.ask(t, smallPush); a.StatusCode != 202 {
		t.Errorf("a push: %d %s", a.StatusCode, a.body)
	}
	if n := s.Stats().InFlight; n != 0 {
		t.Errorf("%d requests are being served", n)
	}
}

// Bodies on their way in are bounded, batches to half of that; what came whole
// with its head is on no way.
func TestBodiesAreBounded(t *testing.T) {
	s, _, _ := serve(t, Options{Limits: Limits{MaxBodies: 4}})
	for i := range 2 {
		io.WriteString(visit(t, s, "127.0.0.1"), longBatch)
		until(t, func() bool { return s.Stats().Bodies == i+1 })
	}
	if p := visit(t, s, "127.0.0.1").ask(t, longBatch+"{").problem(t); p.Type != CauseBodies.Type() || !strings.Contains(p.Detail, "2 batches") {
		t.Errorf("a third batch: %+v", p)
	}
	const half = "POST /v1/all HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nha"
	var slow []*visitor
	for i := range 2 {
		slow = append(slow, visit(t, s, "127.0.0.1"))
		io.WriteString(slow[i], half)
		until(t, func() bool { return s.Stats().Bodies == i+3 })
	}
	a := visit(t, s, "127.0.0.1").ask(t, half)
	if p := a.problem(t); p.Type != CauseBodies.Type() || a.Header.Get("Retry-After") != "1" || !strings.Contains(p.Detail, "4 bodies") {
		t.Errorf("a fifth body: %+v", p)
	}
	if a := visit(t, s, "127.0.0.1").ask(t, smallPush); a.StatusCode != 202 {
		t.Errorf("a push in one packet: %d", a.StatusCode)
	}
	if a := slow[0].ask(t, "lf"); a.StatusCode != 202 {
		t.Errorf("a body that arrived: %d", a.StatusCode)
	}
	if a := visit(t, s, "127.0.0.1").ask(t, strings.Replace(smallPush, "2\r\n\r\nhi", "5000\r\n\r\n"+strings.Repeat("x", 5000), 1)); a.StatusCode != 202 {
		t.Errorf("a push after that: %d", a.StatusCode)
	}
}

// The bytes of bodies on their way in are bounded, and counted as they come: a
// Content-Length alone holds nothing.
func TestBodyBytesAreBounded(t *testing.T) {
	const payload = 1 << 20
	s, _, rec := serveRecorder(t, Limits{MaxPayload: payload, MaxBatchLine: 1 << 20, BodyBytes: 1, MaxBodies: 100}) // so the bound is a line's
	bound := s.in.maxBytes
	head := fmt.Sprintf("POST /v1/all HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", payload)
	for i := range 50 {
		io.WriteString(visit(t, s, "127.0.0.1"), head+"x")
		until(t, func() bool { return s.Stats().Bodies == i+1 })
	}
	if n := s.Stats().BodyBytes; n > 50 {
		t.Errorf("%d bytes held of bodies of which one byte came", n)
	}
	io.WriteString(visit(t, s, "127.0.0.1"), head+strings.Repeat("x", payload-10))
	until(t, func() bool { return s.Stats().BodyBytes > payload-100 })
	if p := visit(t, s, "127.0.0.1").ask(t, head+strings.Repeat("x", payload)).problem(t); p.Type != CauseBodies.Type() || !strings.Contains(p.Detail, fmt.Sprint(bound)) {
		t.Errorf("%+v", p)
	}
	if p := visit(t, s, "127.0.0.1").ask(t, strings.Replace(smallPush, "2\r\n\r\nhi", "9000\r\n\r\n"+strings.Repeat("x", 9000), 1)).problem(t); p.Type != CauseBodies.Type() {
		t.Errorf("a body that gets its memory at once: %+v", p)
	}
	line := visit(t, s, "127.0.0.1").ask(t, longBatch+strings.Repeat("x", 500_000))
	if got := parseAnswers(t, line.body); len(got) != 1 || got[0].Error == nil || got[0].Error.Type != CauseBodies.Type() {
		t.Errorf("a long line: %+v", got)
	}
	if n := len(rec.all()); n != 0 {
		t.Errorf("%d published", n)
	}
	if a := visit(t, s, "127.0.0.1").ask(t, smallPush); a.StatusCode != 202 {
		t.Errorf("a small push: %d", a.StatusCode)
	}
}

func serveRecorder(t *testing.T, l Limits) (*Server, chan error, *recorder) {
	rec := &recorder{}
	s, _, served := serve(t, Options{Limits: l, Publisher: rec})
	return s, served, rec
}

// Nothing of what bodies held is held when they have come or gone.
func TestBodyBytesAreGivenBack(t *testing.T) {
	s, _, rec := serveRecorder(t, Limits{MaxPayload: 1 << 20})
	v := visit(t, s, "127.0.0.1")
	for _, n := range []int{5000, 64 << 10, 64<<10 + 1, 300_000, 1 << 20} {
		body := strings.Repeat("x", n)
		if a := v.ask(t, fmt.Sprintf("POST /v1/all HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", n, body)); a.StatusCode != 202 {
			t.Fatalf("%d bytes: %d", n, a.StatusCode)
		}
		if m := rec.last(t); string(m.Payload) != body || cap(m.Payload) != n {
			t.Errorf("%d bytes: got %d in %d", n, len(m.Payload), cap(m.Payload))
		}
		v.ask(t, fmt.Sprintf("POST /v1/all HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", n, body))
		v.ask(t, fmt.Sprintf("POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", n, body))
	}
	gone := visit(t, s, "127.0.0.1")
	io.WriteString(gone, longBatch+strings.Repeat("x", 100_000))
	until(t, func() bool { return s.Stats().BodyBytes > 0 })
	gone.Close()
	until(t, func() bool { st := s.Stats(); return st.BodyBytes == 0 && st.Bodies == 0 && st.InFlight == 0 })
}

// A batch that drips is cut like one that says nothing: the time is a line's.
func TestBatchThatDrips(t *testing.T) {
	s, _, _ := serve(t, Options{Limits: Limits{BatchIdleTimeout: 200 * time.Millisecond}})
	v := visit(t, s, "127.0.0.1")
	io.WriteString(v, longBatch+`{"to":{"all":true},"text":"x"}`+"\n")
	answered := make(chan string, 1)
	go func() {
		defer close(answered)
		if resp, err := http.ReadResponse(v.r, nil); err == nil {
			body, _ := io.ReadAll(resp.Body)
			answered <- string(body)
		}
	}()
	drip := time.NewTicker(10 * time.Millisecond)
	defer drip.Stop()
	for n := 0; ; n++ {
		select {
		case body := <-answered:
			got := parseAnswers(t, body)
			if len(got) != 2 || got[0].ID == "" || got[1].Error == nil || got[1].Error.Type != CauseSlow.Type() || got[1].Line != 2 {
				t.Errorf("%s", body)
			}
			return
		case <-drip.C:
			if n == 1000 {
				v.Close()
				for range answered {
				}
				t.Fatal("never cut")
			}
			io.WriteString(v, "x")
		}
	}
}
