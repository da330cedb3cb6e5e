//go:build e2e

package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// hookClient is a belfry.v1 client whose frames the test reads.
type hookClient struct {
	t    *testing.T
	conn *websocket.Conn
}

// upgrade returns the answer to a handshake that is refused.
func (n *clusterNode) upgrade(query string) (status int, text string) {
	n.t.Helper()
	conn, resp, err := (&websocket.Dialer{HandshakeTimeout: waitLimit}).Dial("ws://"+n.Listen[0]+"/ws?"+query, nil)
	if err == nil {
		conn.Close()
		return http.StatusSwitchingProtocols, ""
	}
	if resp == nil {
		n.t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// connectWith opens a session with a field in its request, and reads the hello.
func (n *clusterNode) connectWith(name, value string) *hookClient {
	n.t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"belfry.v1"}, HandshakeTimeout: waitLimit}
	conn, resp, err := dialer.Dial("ws://"+n.Listen[0]+"/ws", http.Header{name: {value}})
	if err != nil {
		n.t.Fatalf("%v%s", err, answered(resp))
	}
	n.t.Cleanup(func() { conn.Close() })
	c := &hookClient{n.t, conn}
	c.want(`"type":"hello"`)
	return c
}

func (c *hookClient) want(part string) {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(waitLimit))
	if _, p, err := c.conn.ReadMessage(); err != nil || !strings.Contains(string(p), part) {
		c.t.Fatalf("got %s %v, want %s", p, err, part)
	}
}

func (c *hookClient) wantData(data string) { c.t.Helper(); c.want(`"` + data + `"`) }

func (c *hookClient) command(command, answer string) {
	c.t.Helper()
	if err := c.conn.WriteMessage(websocket.TextMessage, []byte(command)); err != nil {
		c.t.Fatal(err)
	}
	c.want(answer)
}
