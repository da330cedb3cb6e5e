package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// gatewayBackend records the events that it gets, by their session.
type gatewayBackend struct {
	*httptest.Server
	mu   sync.Mutex
	seen map[string][]string
	down bool          // answer 503
	hang chan struct{} // closed when calls for "hang" may end
}

func newGatewayBackend(t *testing.T) *gatewayBackend {
	b := &gatewayBackend{seen: map[string][]string{}, hang: make(chan struct{})}
	b.Server = httptest.NewServer(b)
	t.Cleanup(func() {
		close(b.hang)
		b.Close()
	})
	return b
}

func (b *gatewayBackend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	what := strings.TrimPrefix(r.Header.Get("Ce-Type"), "belfry.") + r.URL.Path
	switch {
	case r.Header.Get("Ce-Type") == "belfry.message":
		what += " " + string(body)
	case r.Header.Get("Ce-Type") == "belfry.session.closed":
		var closed struct{ Reason string }
		_ = json.Unmarshal(body, &closed)
		what += " " + closed.Reason
	}
	b.mu.Lock()
	b.seen[r.Header.Get("Ce-Uid")] = append(b.seen[r.Header.Get("Ce-Uid")], what)
	down := b.down
	b.mu.Unlock()
	switch {
	case down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case string(body) == "hang":
		select {
		case <-b.hang:
		case <-r.Context().Done():
		}
	case string(body) == "long":
		_, _ = w.Write(make([]byte, 10<<20)) // else the node has given it up
	case r.Header.Get("Ce-Type") == "belfry.message":
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		_, _ = w.Write(body)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func (b *gatewayBackend) of(uid string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.seen[uid])
}

// gatewayClient is a client that reads whole messages.
type gatewayClient struct {
	t *testing.T
	*websocket.Conn
}

func (n *clusterNode) connect(path, uid string, subprotocols ...string) *gatewayClient {
	n.t.Helper()
	dialer := websocket.Dialer{Subprotocols: subprotocols, HandshakeTimeout: waitLimit}
	conn, resp, err := dialer.Dial("ws://"+n.Listen[0]+path+"?uid="+uid, nil)
	if err != nil {
		n.t.Fatalf("%v%s", err, answered(resp))
	}
	n.t.Cleanup(func() { conn.Close() })
	if len(subprotocols) > 0 && conn.Subprotocol() != subprotocols[0] {
		n.t.Errorf("subprotocol %q", conn.Subprotocol())
	}
	return &gatewayClient{n.t, conn}
}

func (c *gatewayClient) say(text string) {
	c.t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *gatewayClient) gets(want ...string) {
	c.t.Helper()
	for _, w := range want {
		_ = c.SetReadDeadline(time.Now().Add(waitLimit))
		if _, got, err := c.ReadMessage(); err != nil || string(got) != w {
			c.t.Fatalf("got %q, %v; want %q", got, err, w)
		}
	}
}

// Clients talk to backends by path, subprotocol and command; backends see events in
// order, with the reason at the end.
func TestGatewayRoutes(t *testing.T) {
	t.Parallel()
	b := newGatewayBackend(t)
	n := startClusterNode(t, "gw", "--set", fmt.Sprintf(`gateway.routes=[
		{name: collab, url: "%[1]s/collab", subprotocol: collab, events: [connect, message, disconnect]},
		{name: room, url: "%[1]s/room", path: /room, events: [connect, message, disconnect]},
		{name: orders, url: "%[1]s/orders", match: {event: "orders.*"}},
		{name: rest, url: "%[1]s/rest", subprotocol: belfry.v1, events: [subscribe, message]}]`, b.URL))

	ann := n.connect("/ws", "ann", "collab")
	ann.say("one")
	ann.say("two")
	ann.gets("one", "two")
	bob := n.connect("/room", "bob")
	bob.say(`{"n":1}`)
	bob.gets(`{"n":1}`)
	_ = bob.Close() // without a close frame
	cid := n.connect("/ws", "cid", "belfry.v1")
	if _, hello, err := cid.ReadMessage(); err != nil || !strings.Contains(string(hello), `"hello"`) {
		t.Fatalf("%s, %v", hello, err)
	}
	cid.say(`{"type":"rpc","ref":1,"event":"orders.create","data":{"item":"bell"}}`)
	cid.gets(`{"type":"ack","ref":1,"data":{"item":"bell"}}`)
	cid.say(`{"type":"sub","ref":2,"topic":"news"}`)
	cid.gets(`{"type":"ack","ref":2}`)
	cid.say(`{"type":"rpc","ref":"x","data":"plain text"}`)
	cid.gets(`{"type":"ack","ref":"x","data":"plain text"}`)
	dan := n.connect("/ws", "dan")
	dan.say("nobody takes this")
	_ = ann.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(waitLimit))

	for uid, want := range map[string][]string{
		"ann": {"session.opened/collab", "message/collab one", "message/collab two", "session.closed/collab client"},
		"bob": {"session.opened/room", `message/room {"n":1}`, "session.closed/room gone"},
		"cid": {`message/orders {"item":"bell"}`, "session.subscribed/rest", "message/rest plain text"},
	} {
		soon(t, uid, func() bool { return len(b.of(uid)) >= len(want) })
		if got := b.of(uid); !slices.Equal(got, want) {
			t.Errorf("%s: %q; want %q", uid, got, want)
		}
	}
	soon(t, "unmatched", func() bool { return n.metric("belfry_gateway_messages_unmatched_total") == 1 })
	if got := b.of("dan"); len(got) != 0 {
		t.Errorf("dan: %q", got)
	}
	if got := n.metric(`belfry_gateway_calls_total{result="ok",route="collab"}`); got != 4 {
		t.Errorf("%v calls", got)
	}
	if n.metric("belfry_gateway_sessions") != 0 || n.metric("belfry_gateway_bytes") != 0 {
		t.Error("something is left of sessions without events")
	}
}

// A backend that hangs, dies or sends far too much harms nobody else, and its client
// is told. A stopping node tells of the sessions that it closes.
func TestGatewayBackendFails(t *testing.T) {
	t.Parallel()
	b := newGatewayBackend(t)
	n := startClusterNode(t, "gw", "--set", fmt.Sprintf(
		`gateway.routes=[{name: r, url: "%s", events: [connect, message, disconnect], in_flight: 2, timeout: 1s, on_error: text}]`, b.URL))
	var hanging []*gatewayClient
	for i := range 4 { // two calls in flight, two wait
		c := n.connect("/ws", fmt.Sprint("h", i), "belfry.v1")
		c.ReadMessage()
		soon(t, "connect", func() bool { return len(b.of(fmt.Sprint("h", i))) == 1 })
		hanging = append(hanging, c)
	}
	for i, c := range hanging {
		c.say(fmt.Sprintf(`{"type":"rpc","ref":%d,"data":"hang"}`, i))
	}
	soon(t, "in flight", func() bool { return n.metric(`belfry_gateway_calls_in_flight{route="r"}`) == 2 })
	witness := n.connect("/ws", "witness")
	for i := range 100 {
		n.push("/v1/users/witness", fmt.Sprint(i))
		witness.gets(fmt.Sprint(i))
	}
	for i, c := range hanging {
		c.gets(fmt.Sprintf(`{"type":"err","ref":%d,"code":"unavailable","message":"the backend cannot be reached or has failed; try again"}`, i))
	}
	b.mu.Lock()
	b.down = true
	b.mu.Unlock()
	hanging[0].say(`{"type":"send","ref":7,"data":"x"}`)
	hanging[0].gets(`{"type":"err","ref":7,"code":"unavailable","message":"the backend cannot be reached or has failed; try again"}`)
	for i := range 6 { // of three clients: one alone opens no breaker
		c := hanging[i%3]
		c.say(`{"type":"send","ref":8,"data":"x"}`)
		c.ReadMessage()
	}
	soon(t, "breaker", func() bool {
		_, reasons := n.readiness()
		return n.metric(`belfry_gateway_backends_open{route="r"}`) == 1 && strings.Contains(reasons, "the backend of route r fails")
	})
	b.mu.Lock()
	b.down = false
	b.mu.Unlock()
	soon(t, "the backend is used again", func() bool {
		hanging[1].say(`{"type":"send","ref":9,"data":"x"}`)
		for {
			_, got, err := hanging[1].ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(got), `"msg"`) {
				continue // the answer, before the ack
			}
			return strings.Contains(string(got), `"ack"`)
		}
	})
	hanging[2].say(`{"type":"rpc","ref":10,"data":"long"}`)
	hanging[2].gets(`{"type":"err","ref":10,"code":"unavailable","message":"the answer of the backend was not valid"}`)
	stopsWithClosed(t, n, b, "h0", "h1", "h2", "h3")
}

// stopsWithClosed stops the node, which tells of the sessions that it closes.
func stopsWithClosed(t *testing.T, n *clusterNode, b *gatewayBackend, uids ...string) {
	t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, uid := range uids {
		soon(t, "disconnect", func() bool {
			seen := b.of(uid)
			return len(seen) > 0 && seen[len(seen)-1] == "session.closed/ shutdown"
		})
	}
}
