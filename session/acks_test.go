package session

import (
	"fmt"
	"testing"

	"belfry/message"
	"belfry/poller"
)

// wantAcks waits until a report has these acknowledgements.
func wantAcks(t *testing.T, r *message.Report, asked, acked int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d of %d acknowledgements", acked, asked), func() bool {
		a, b := r.Acks()
		return a == asked && b == acked
	})
}

// asked reads a message that asks for an acknowledgement, and returns its id.
func (c *client) asked() string {
	c.t.Helper()
	m := c.object()
	if m["type"] != "msg" || m["ack"] != true {
		c.t.Fatalf("got %v, want a message that asks for an ack", m)
	}
	return m["id"].(string)
}

// Clients of belfry.v1 are asked to acknowledge. Each counts once, and only one that was
// asked.
func TestAcks(t *testing.T) {
	r := newRig(t, Options{Poller: poller.Options{Shards: 2}})
	var clients []*client
	for i := range 4 {
		c := r.dial(fmt.Sprintf("/ws?uid=u%d&topic=news", i), "belfry.v1")
		c.object()
		clients = append(clients, c)
	}
	stranger := r.dial("/ws?uid=x", "belfry.v1")
	stranger.object()
	plain := r.dial("/ws?topic=news")
	report := r.reported(message.ToTopics("news"), []byte("hello"), true)
	r.wantOutcomes("asked", report, [...]int{5, 0, 0, 0, 0})
	wantAcks(t, report, 4, 0)
	plain.want("hello")
	id := ""
	for i, c := range clients {
		if id = c.asked(); i == 3 {
			continue
		}
		for range 2 { // counts once
			c.say(`{"type":"ack","id":"` + id + `"}`)
		}
		c.say(`{"type":"ping","ref":1}`)
		if got := c.object(); got["type"] != "ack" || got["ref"] != 1.0 {
			t.Errorf("got %v; an ack is not answered", got)
		}
	}
	stranger.say(`{"type":"ack","id":"` + id + `"}`)
	stranger.say(`{"type":"ack","id":"m0"}`)
	stranger.say(`{"type":"ping","ref":1}`)
	stranger.object()
	wantAcks(t, report, 4, 3)
	clients[3].say(`{"type":"ack","id":"` + id + `"}`)
	wantAcks(t, report, 4, 4)
	if n := r.acks.Load(); n != 0 {
		t.Errorf("%d acknowledgements are awaited", n)
	}
	r.deliver(message.ToTopics("news"), "no ack")
	if m := clients[0].object(); m["ack"] != nil {
		t.Errorf("got %v", m)
	}
}

// What is not acknowledged is forgotten when nobody waits for it, and bounded.
func TestAcksBounded(t *testing.T) {
	r := newRig(t, Options{Poller: poller.Options{Shards: 1}, MaxAcks: 2})
	for range 3 {
		r.dial("/ws?topic=news", "belfry.v1")
	}
	report := r.reported(message.ToTopics("news"), []byte("hello"), true)
	wantAcks(t, report, 2, 0)
	if n := r.Stats().Limits["session.max_acks"]; n != 1 {
		t.Errorf("the limit was hit %d times", n)
	}
	r.tick(1)
	if n := r.acks.Load(); n != 2 {
		t.Errorf("%d acknowledgements are awaited", n)
	}
	report.Forsake()
	r.tick(1)
	if n := r.acks.Load(); n != 0 {
		t.Errorf("%d acknowledgements are awaited", n)
	}
}
