// Package coder is a push server on github.com/coder/websocket, built as its
// chat example is: the HTTP handler's goroutine writes what comes through the
// connection's channel, and CloseRead's reads.
package coder

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"belfry/bench/peers/servers/api"
	"belfry/bench/peers/servers/registry"
)

// The numbers of the chat example except the queue, which is 16 there: it
// overflows when 600 concurrent requests keep the writers from running.
const (
	queue     = 64
	writeWait = 5 * time.Second
)

type client struct {
	conn *websocket.Conn
	send chan []byte
}

type hub struct {
	conns *registry.Registry[*client]
}

// Serve serves until the end of ctx.
func Serve(ctx context.Context, sockets, control net.Listener) error {
	h := &hub{conns: registry.New[*client]()}
	return api.ServeWith(ctx, sockets, http.HandlerFunc(h.serve), control, h)
}

func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	c := &client{conn: conn, send: make(chan []byte, queue)}
	uid := r.URL.Query().Get("uid")
	h.conns.Add(uid, c)
	defer h.conns.Remove(uid, c)
	ctx := conn.CloseRead(context.Background())
	for {
		select {
		case payload := <-c.send:
			if write(ctx, conn, payload) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func write(ctx context.Context, conn *websocket.Conn, payload []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	return conn.Write(ctx, websocket.MessageText, payload)
}

// push queues a message. Who does not keep up is cut off, as in the example.
func (c *client) push(payload []byte) {
	select {
	case c.send <- payload:
	default:
		go c.conn.CloseNow()
	}
}

// Len returns the number of connections.
func (h *hub) Len() int { return h.conns.Len() }

// All sends to every connection. The library has no frames made once for all.
func (h *hub) All(payload []byte) { h.conns.All(func(c *client) { c.push(payload) }) }

// User sends to a user's connections.
func (h *hub) User(uid string, payload []byte) {
	h.conns.User(uid, func(c *client) { c.push(payload) })
}
