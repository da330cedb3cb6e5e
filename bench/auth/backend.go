package auth

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// backend decides about clients: each is the user in the query of its request. It
// may hang: then it accepts calls and answers none.
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
	b := &backend{url: "http://" + l.Addr().String() + "/connect", ended: make(chan struct{})}
	b.http.Handler = http.HandlerFunc(b.serve)
	go b.http.Serve(l) // ends with Shutdown
	return b, nil
}

func (b *backend) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body) // else the server does not notice that the node gives up
	if err != nil {
		return
	}
	if b.hangs.Load() {
		select {
		case <-b.ended:
		case <-r.Context().Done():
		}
		return
	}
	var asked struct{ Query string }
	if err := json.Unmarshal(body, &asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	query, err := url.ParseQuery(asked.Query)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"uid": query.Get("uid")}) // else the node has given up
}

func (b *backend) stop() {
	close(b.ended)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = b.http.Shutdown(ctx) // the node's idle connections are of no interest
}
