// Package api is the HTTP API of the peers that are Go libraries.
package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// maxPayload is the longest payload taken, in bytes.
const maxPayload = 64 << 10

// Hub delivers text messages. It may keep the payload.
type Hub interface {
	All(payload []byte)
	User(uid string, payload []byte)
	Len() int // connections that would get a message
}

// Handler serves POST /v1/all and POST /v1/users/{uid}, whose body is the
// payload, GET /v1/connections, which answers their number, and GET /readyz.
func Handler(h Hub) http.Handler {
	mux := http.NewServeMux()
	push := func(deliver func(*http.Request, []byte)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			payload, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPayload))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			deliver(r, payload)
			w.WriteHeader(http.StatusAccepted)
		}
	}
	mux.HandleFunc("POST /v1/all", push(func(_ *http.Request, p []byte) { h.All(p) }))
	mux.HandleFunc("POST /v1/users/{uid}", push(func(r *http.Request, p []byte) { h.User(r.PathValue("uid"), p) }))
	mux.HandleFunc("GET /v1/connections", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, h.Len()) })
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	return mux
}

// Serve serves WebSockets, and the API of h, until the end of ctx.
func Serve(ctx context.Context, sockets, control net.Listener, ws http.Handler, h Hub) error {
	mux := http.NewServeMux()
	mux.Handle("/ws", ws)
	servers := []*http.Server{{Handler: mux}, {Handler: Handler(h)}}
	done := make(chan error, len(servers))
	for i, l := range []net.Listener{sockets, control} {
		go func() { done <- servers[i].Serve(l) }()
	}
	var first error
	select {
	case <-ctx.Done():
	case first = <-done:
	}
	// The servers do not close hijacked connections; the process ends soon.
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for _, s := range servers {
		first = errors.Join(first, s.Shutdown(late))
	}
	if errors.Is(first, context.DeadlineExceeded) {
		return nil
	}
	return first
}
