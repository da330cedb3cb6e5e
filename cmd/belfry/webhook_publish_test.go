package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A webhook that decides alone, without tokens, can permit a client to publish.
func TestWebhookPermitsPublishing(t *testing.T) {
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"uid":"ann","topics":["chat"],"publish":["chat"]}`)
	}))
	defer b.Close()
	n := startClusterNode(t, "n", "--set", "auth.webhook.url="+b.URL)
	c, resp, err := (&websocket.Dialer{Subprotocols: []string{"belfry.v1"}}).Dial("ws://"+n.Listen[0]+"/ws", nil)
	if err != nil {
		t.Fatalf("%v%s", err, answered(resp))
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	said := ""
	for range 3 { // hello, the message and its ack
		if !strings.Contains(said, `"hello"`) {
			_ = c.WriteMessage(websocket.TextMessage, []byte(`{"type":"pub","ref":1,"to":{"topic":"chat"},"data":"x"}`))
		}
		_, p, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if said += string(p); strings.Contains(said, `"err"`) {
			break
		}
	}
	if !strings.Contains(said, `"ack"`) || !strings.Contains(said, `"msg"`) {
		t.Error(said)
	}
}
