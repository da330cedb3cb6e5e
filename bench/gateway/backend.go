package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
)

// backend answers each call with its body, or hangs.
type backend struct {
	url   string
	hangs atomic.Bool
	ended chan struct{} // closed by stop
	http  http.Server
}

func startBackend() (*backend, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &backend{url: "http://" + l.Addr().String() + "/echo", ended: make(chan struct{})}
	b.http.Handler = http.HandlerFunc(b.serve)
	go b.http.Serve(l) // ends with Shutdown
	return b, nil
}

func (b *backend) serve(w http.ResponseWriter, r *http.Request) {
	if b.hangs.Load() {
		select {
		case <-b.ended:
		case <-r.Context().Done():
		}
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the node gave the call up
	}
	w.Header()["Content-Type"] = r.Header["Content-Type"]
	_, _ = w.Write(body) // else the node gave the call up
}

func (b *backend) stop() {
	close(b.ended)
	_ = b.http.Shutdown(context.Background()) // waits for the calls
}
