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

// Serve serves the API of h until the end of ctx.
func Serve(ctx context.Context, control net.Listener, h Hub) error {
	return serve(ctx, endpoint{control, Handler(h)})
}

// ServeWith serves ws at the path /ws of sockets, and the API of h, until the
// end of ctx.
func ServeWith(ctx context.Context, sockets net.Listener, ws http.Handler, control net.Listener, h Hub) error {
	mux := http.NewServeMux()
	mux.Handle("/ws", ws)
	return serve(ctx, endpoint{sockets, mux}, endpoint{control, Handler(h)})
}

type endpoint struct {
	listener net.Listener
	handler  http.Handler
}

func serve(ctx context.Context, endpoints ...endpoint) error {
	var servers []*http.Server
	done := make(chan error, len(endpoints))
	for _, e := range endpoints {
		s := &http.Server{Handler: e.handler}
		servers = append(servers, s)
		go func() { done <- s.Serve(e.listener) }()
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
