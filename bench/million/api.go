package million

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/publish"
)

// apiTimeout bounds a request to a node, each answer to a push, and the time
// during which a push is repeated. It is long because 100 processes share the
// processors.
const apiTimeout = 60 * time.Second

func newConn(r *publish.Request) *publish.Conn {
	c := publish.NewConn(r)
	c.Timeout, c.RetryFor = apiTimeout, apiTimeout
	return c
}

func getStats(ctx context.Context, host string) (publish.Stats, error) {
	return publish.GetStats(ctx, apiTimeout, host)
}

// until calls ask every 20 ms until it returns nil, at most for waitLimit.
func until(ctx context.Context, waitLimit time.Duration, ask func() error) error {
	for deadline := time.Now().Add(waitLimit); ; {
		err := ask()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not after %v: %w", waitLimit, err)
		}
		if err := bench.Sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}
