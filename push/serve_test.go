package push

import (
	"context"
	"testing"
	"time"
)

// serve runs a whole server on real ports until stop or the test's end.
func serve(t *testing.T, o Options) (s *Server, stop context.CancelFunc, served chan error) {
	t.Helper()
	if o.Publisher == nil {
		o.Publisher = &recorder{}
	}
	o.Address = "127.0.0.1:0"
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served = make(chan error, 1)
	done := make(chan struct{})
	go func() { served <- s.Serve(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	return s, stop, served
}

// until polls a condition of the server that answers do not show.
func until(t *testing.T, f func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline:
			t.Fatal("condition not reached within a minute")
		case <-tick.C:
		}
	}
}
