// Package gorilla is a push server on github.com/gorilla/websocket, built as
// its chat example is: a reading and a writing goroutine a connection with a
// channel between hub and writer. Messages are prepared once for all.
package gorilla

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"belfry/bench/peers/servers/api"
	"belfry/bench/peers/servers/registry"
)

// The chat example's numbers but for the queue, which is 256 there: 2 KB a
// connection. 16 overflow where 100 requests at once keep the writers from
// running.
const (
	queue      = 64
	bufferSize = 1024
	writeWait  = 10 * time.Second
)

type client struct {
	conn *websocket.Conn
	uid  string
	send chan *websocket.PreparedMessage
	done chan struct{} // closed by the reader
}

type hub struct {
	conns *registry.Registry[*client]
}

// Serve serves until the end of ctx.
func Serve(ctx context.Context, sockets, control net.Listener) error {
	h := &hub{conns: registry.New[*client]()}
	upgrader := websocket.Upgrader{
		ReadBufferSize:  bufferSize,
		WriteBufferSize: bufferSize,
		WriteBufferPool: new(sync.Pool), // the manual's advice where few of many connections write
	}
	ws := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // the upgrader has answered
		}
		c := &client{conn: conn, uid: r.URL.Query().Get("uid"),
			send: make(chan *websocket.PreparedMessage, queue), done: make(chan struct{})}
		h.conns.Add(c.uid, c)
		go c.write()
		go h.read(c)
	})
	return api.ServeWith(ctx, sockets, ws, control, h)
}

// read drops what the client says until the connection ends.
func (h *hub) read(c *client) {
	defer func() {
		h.conns.Remove(c.uid, c)
		close(c.done)
		c.conn.Close()
	}()
	for {
		if _, _, err := c.conn.NextReader(); err != nil {
			return
		}
	}
}

func (c *client) write() {
	for {
		select {
		case m := <-c.send:
			if c.conn.SetWriteDeadline(time.Now().Add(writeWait)) != nil || c.conn.WritePreparedMessage(m) != nil {
				c.conn.Close() // ends read
				return
			}
		case <-c.done:
			return
		}
	}
}

// push queues a message. Who does not keep up is cut off, as in the example.
func (c *client) push(m *websocket.PreparedMessage) {
	select {
	case c.send <- m:
	default:
		c.conn.Close()
	}
}

// Len returns the number of connections.
func (h *hub) Len() int { return h.conns.Len() }

// All sends to every connection.
func (h *hub) All(payload []byte) {
	if m, err := websocket.NewPreparedMessage(websocket.TextMessage, payload); err == nil { // fails for no text
		h.conns.All(func(c *client) { c.push(m) })
	}
}

// User sends to a user's connections.
func (h *hub) User(uid string, payload []byte) {
	if m, err := websocket.NewPreparedMessage(websocket.TextMessage, payload); err == nil {
		h.conns.User(uid, func(c *client) { c.push(m) })
	}
}
