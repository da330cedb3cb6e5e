package broadcast

import (
	"context"
	"errors"
	"testing"
	"time"

	"belfry/message"
)

// If the publisher has gone away or was stopped when its wait is over, nothing is
// published: it will publish again. Without a wait Gone is not called.
func TestGonePublisher(t *testing.T) {
	stopped, stop := context.WithCancel(context.Background())
	stop()
	yes := func() bool { return true }
	for _, tt := range []struct {
		what   string
		ctx    context.Context
		gone   func() bool
		waited bool
		want   bool // published
	}{
		{"stays", context.Background(), func() bool { return false }, true, true},
		{"is not asked", context.Background(), nil, true, true},
		{"goes away", context.Background(), yes, true, false},
		{"is stopped", stopped, nil, true, false},
		{"goes away at once", context.Background(), yes, false, true},
	} {
		n := open(t, Options{})
		n.await = func(_ context.Context, w message.Wait) (bool, error) {
			if w.Time != time.Hour || w.Others != 7 {
				t.Errorf("%s: waits within %v beside %d", tt.what, w.Time, w.Others)
			}
			return tt.waited, nil
		}
		waited, err := n.PublishWithin(tt.ctx, &message.Message{Target: message.ToUsers("u"), Payload: []byte("x")}, message.Wait{Time: time.Hour, Others: 7, Gone: tt.gone})
		var over *message.OverloadedError
		if waited != tt.waited || (err == nil) != tt.want || err != nil && !errors.As(err, &over) || len(n.messages()) != map[bool]int{true: 1}[tt.want] {
			t.Errorf("%s: waited %v, %v, %d deliveries", tt.what, waited, err, len(n.messages()))
		}
	}
}
