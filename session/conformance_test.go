package session_test

import (
	"context"
	"testing"
	"time"

	"belfry/poller"
	"belfry/session"
	"belfry/wire"
	"belfry/wire/plain"
	"belfry/wire/websocket"
	"belfry/ws"
	"belfry/ws/conformance"
)

// TestConformance holds the whole server, reactor and output queues included,
// against the cases.
func TestConformance(t *testing.T) { testConformance(t, nil) }

// TestConformanceDeflate is TestConformance with a server that negotiates
// permessage-deflate and compresses all messages.
func TestConformanceDeflate(t *testing.T) {
	d, err := websocket.NewDeflate(ws.DeflateOptions{MinSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	testConformance(t, d)
	t.Cleanup(func() {
		if st := d.Stats(); st.Compressed == 0 || st.Inflated == 0 {
			t.Errorf("no compression: %+v", st)
		}
	})
}

func testConformance(t *testing.T, d *websocket.Deflate) {
	s, err := session.New(session.Options{
		Echo: true,
		Endpoints: []wire.Endpoint{websocket.New(websocket.Options{
			Encodings: []websocket.Encoding{{Encoding: plain.Encoding{}}},
			Deflate:   d,
		})},
		Poller: poller.Options{Shards: 2, Listen: []poller.PortRange{{Host: "127.0.0.1"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx, 0, 0); err != nil {
			t.Error(err)
		}
	})
	conformance.Run(t, s.Addrs()[0].String(), d != nil)
}
