// Package nbio is a push server on github.com/lesismal/nbio: its own HTTP
// server and epoll sets instead of a goroutine a connection, configured as the
// library's author does for many connections (IOModNonBlocking). A message is
// written by the goroutine that pushes; the library queues what a socket does
// not take.
package nbio

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"

	"belfry/bench/peers/servers/api"
	"belfry/bench/peers/servers/registry"
)

type hub struct {
	conns *registry.Registry[*websocket.Conn]
}

// Serve serves until the end of ctx.
func Serve(ctx context.Context, sockets, control net.Listener) error {
	h := &hub{conns: registry.New[*websocket.Conn]()}
	mux := http.NewServeMux()
	mux.Handle("/ws", h.handler())
	logging.SetLevel(logging.LevelError)
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network:                 sockets.Addr().Network(),
		Addrs:                   []string{sockets.Addr().String()},
		Listen:                  func(string, string) (net.Listener, error) { return sockets, nil },
		Handler:                 mux,
		IOMod:                   nbhttp.IOModNonBlocking,
		NPoller:                 runtime.NumCPU(), // the default, a quarter of them, was slower
		ReleaseWebsocketPayload: true,
	})
	if err := engine.Start(); err != nil {
		return fmt.Errorf("nbio: %w", err)
	}
	defer engine.Stop()
	return api.Serve(ctx, control, h)
}

// handler upgrades requests. The library calls it and OnClose of one connection
// one after the other.
func (h *hub) handler() http.Handler {
	upgrader := websocket.NewUpgrader()
	upgrader.OnMessage(func(*websocket.Conn, websocket.MessageType, []byte) {}) // what clients say is dropped
	upgrader.OnClose(func(c *websocket.Conn, _ error) {
		uid, _ := c.Session().(string)
		h.conns.Remove(uid, c)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // the upgrader has answered
		}
		// Without heartbeats, clients that say nothing for two minutes would be
		// closed.
		_ = c.SetReadDeadline(time.Time{})
		uid := r.URL.Query().Get("uid")
		c.SetSession(uid)
		h.conns.Add(uid, c)
	})
}

func send(c *websocket.Conn, payload []byte) {
	_ = c.WriteMessage(websocket.TextMessage, payload) // OnClose hears of what fails
}

// Len returns the number of connections.
func (h *hub) Len() int { return h.conns.Len() }

// All sends to every connection. The library has no frames made once for all.
func (h *hub) All(payload []byte) { h.conns.All(func(c *websocket.Conn) { send(c, payload) }) }

// User sends to a user's connections.
func (h *hub) User(uid string, payload []byte) {
	h.conns.User(uid, func(c *websocket.Conn) { send(c, payload) })
}
