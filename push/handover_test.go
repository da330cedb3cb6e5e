package push

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"testing"
	"time"
)

// A server that holds answers requests on open connections with a 503 that ends the
// connection, and leaves new connections in the kernel: for another server that has the
// same sockets, or until it resumes.
func TestHold(t *testing.T) {
	s, _, _ := serve(t, Options{})
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	ask := func() *http.Response {
		t.Helper()
		if _, err := c.Write([]byte("POST /v1/all HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx")); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	if resp := ask(); resp.StatusCode != http.StatusAccepted {
		t.Fatal(resp.Status)
	}
	if err := s.Hold(context.Background()); err != nil {
		t.Fatal(err)
	}
	if resp := ask(); resp.StatusCode != http.StatusServiceUnavailable || !resp.Close || resp.Header.Get("Retry-After") == "" {
		t.Errorf("while it holds: %s, close %v, Retry-After %q", resp.Status, resp.Close, resp.Header.Get("Retry-After"))
	}
	late := make(chan int, 1)
	go func() {
		resp, err := http.Post("http://"+s.Addr().String()+"/v1/all", "text/plain", http.NoBody)
		if err != nil {
			t.Error(err)
			late <- 0
			return
		}
		resp.Body.Close()
		late <- resp.StatusCode
	}()
	select {
	case status := <-late:
		t.Errorf("a new connection was answered with %d while the server holds", status)
	case <-time.After(50 * time.Millisecond):
	}
	s.Resume()
	if status := <-late; status != http.StatusAccepted {
		t.Errorf("after Resume: %d", status)
	}
}
