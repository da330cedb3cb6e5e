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
// against the cases, without deflate and with a server that compresses all it
// can.
func TestConformance(t *testing.T) {
	t.Run("plain", func(t *testing.T) { conform(t, nil, false) })
	t.Run("deflate", func(t *testing.T) {
		deflate, err := websocket.NewDeflate(websocket.DeflateOptions{DeflateOptions: ws.DeflateOptions{MinSize: 1}})
		if err != nil {
			t.Fatal(err)
		}
		conform(t, []wire.Endpoint{websocket.New(websocket.Options{Encodings: []websocket.Encoding{{Encoding: plain.Encoding{}}}, Deflate: deflate})}, true)
		if st := deflate.Stats(); st.Compressed == 0 || st.Inflated == 0 {
			t.Errorf("%d messages compressed, %d inflated", st.Compressed, st.Inflated)
		}
	})
}

// conform runs the cases against a server of its own and shuts it down once
// they are done.
func conform(t *testing.T, endpoints []wire.Endpoint, deflate bool) {
	s, err := session.New(session.Options{
		Echo:      true,
		Endpoints: endpoints,
		Poller:    poller.Options{Shards: 2, Listen: []poller.Endpoint{{Host: "127.0.0.1"}}},
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
	t.Run("cases", func(t *testing.T) { conformance.Run(t, s.Addrs()[0].String(), deflate) })
}
