package session_test

import (
	"context"
	"testing"
	"time"

	"belfry/poller"
	"belfry/session"
	"belfry/ws/conformance"
)

// TestConformance holds the whole server, reactor and output queues included,
// against the cases.
func TestConformance(t *testing.T) {
	s, err := session.New(session.Options{
		Echo:   true,
		Poller: poller.Options{Shards: 2, Listen: []poller.Endpoint{{Host: "127.0.0.1"}}},
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
	conformance.Run(t, s.Addrs()[0].String(), false)
}
