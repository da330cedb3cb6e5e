// Package gws is a push server on github.com/lxzan/gws: a goroutine a
// connection that reads, and the library's Broadcaster, which makes the frame
// once and hands it to each connection's queue.
package gws

import (
	"context"
	"net"
	"net/http"

	"github.com/lxzan/gws"

	"belfry/bench/peers/servers/api"
	"belfry/bench/peers/servers/registry"
)

// uidKey is under what a session keeps its user.
const uidKey = "uid"

type hub struct {
	gws.BuiltinEventHandler
	conns *registry.Registry[*gws.Conn]
}

// Serve serves until the end of ctx.
func Serve(ctx context.Context, sockets, control net.Listener) error {
	h := &hub{conns: registry.New[*gws.Conn]()}
	upgrader := gws.NewUpgrader(h, &gws.ServerOption{
		Authorize: func(r *http.Request, session gws.SessionStorage) bool {
			session.Store(uidKey, r.URL.Query().Get("uid"))
			return true
		},
	})
	ws := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r)
		if err != nil {
			return // the upgrader has answered
		}
		// A goroutine of its own, as the library's examples have it: what
		// net/http's holds is released.
		go conn.ReadLoop()
	})
	return api.ServeWith(ctx, sockets, ws, control, h)
}

func user(c *gws.Conn) string {
	uid, _ := c.Session().Load(uidKey)
	s, _ := uid.(string)
	return s
}

// OnOpen is called by ReadLoop before it reads.
func (h *hub) OnOpen(c *gws.Conn) { h.conns.Add(user(c), c) }

// OnClose is called once.
func (h *hub) OnClose(c *gws.Conn, _ error) { h.conns.Remove(user(c), c) }

// OnPing answers, which is left to the user of the library.
func (h *hub) OnPing(c *gws.Conn, payload []byte) { _ = c.WritePong(payload) }

// OnMessage drops what clients say.
func (h *hub) OnMessage(_ *gws.Conn, m *gws.Message) { _ = m.Close() }

// Len returns the number of connections.
func (h *hub) Len() int { return h.conns.Len() }

// All sends to every connection.
func (h *hub) All(payload []byte) {
	b := gws.NewBroadcaster(gws.OpcodeText, payload)
	defer b.Close()
	h.conns.All(func(c *gws.Conn) { _ = b.Broadcast(c) }) // OnClose hears of what fails
}

// User sends to a user's connections.
func (h *hub) User(uid string, payload []byte) {
	b := gws.NewBroadcaster(gws.OpcodeText, payload)
	defer b.Close()
	h.conns.User(uid, func(c *gws.Conn) { _ = b.Broadcast(c) })
}
