package target

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Backend is an HTTP server on loopback that belfry calls: a connect webhook, or the
// end of a gateway's route. It may hang: then it accepts calls and answers none.
type Backend struct {
	URL   string
	Hangs atomic.Bool

	answer func(w http.ResponseWriter, r *http.Request, body []byte)
	ended  chan struct{} // closed by Stop
	http   http.Server
}

// StartBackend starts a backend, which answers calls with answer.
func StartBackend(answer func(w http.ResponseWriter, r *http.Request, body []byte)) (*Backend, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &Backend{URL: "http://" + l.Addr().String() + "/", answer: answer, ended: make(chan struct{})}
	b.http.Handler = http.HandlerFunc(b.serve)
	go b.http.Serve(l) // ends with Shutdown
	return b, nil
}

func (b *Backend) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body) // net/http notices only then that the node gives up
	if err != nil {
		return // the node gave the call up
	}
	if b.Hangs.Load() {
		select {
		case <-b.ended:
		case <-r.Context().Done():
		}
		return
	}
	b.answer(w, r, body)
}

// Stop ends the calls that hang, and waits a second for the others.
func (b *Backend) Stop() {
	close(b.ended)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = b.http.Shutdown(ctx) // the node's idle connections are of no interest
}
