package measure

import (
	"context"
	"errors"
	"time"
)

// inFlight is how many broadcasts are in progress at any time: with two, the
// next one is already waiting when one ends.
const inFlight = 2

// Send publishes the next broadcast and returns a function that waits until all
// have it.
type Send func(ctx context.Context) (received func(ctx context.Context) error, err error)

// Flooded counts the broadcasts during something.
type Flooded struct {
	Broadcasts int     `json:"broadcasts"`
	Seconds    float64 `json:"seconds"`
}

// During runs do during continuous broadcasts, and waits for the last of them.
// A failed broadcast ends do's ctx.
func During(ctx context.Context, send Send, do func(ctx context.Context) error) (f Flooded, err error) {
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop, flooded := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		if f.Broadcasts, err = flood(ctx, send, stop); err != nil {
			cancel(err)
		}
		flooded <- err
	}()
	err = do(ctx)
	close(stop)
	if floodErr := <-flooded; !errors.Is(err, floodErr) { // this may be why do ended
		err = errors.Join(floodErr, err)
	}
	f.Seconds = time.Since(began).Seconds()
	return f, err
}

// flood broadcasts until stop is closed, waits for the last, and returns how
// many there were.
func flood(ctx context.Context, send Send, stop <-chan struct{}) (n int, err error) {
	var flights []func(context.Context) error
	for stopped := false; ; {
		for !stopped && len(flights) < inFlight {
			received, err := send(ctx)
			if err != nil {
				return n, err
			}
			flights = append(flights, received)
			n++
		}
		if len(flights) == 0 {
			return n, nil
		}
		if err := flights[0](ctx); err != nil {
			return n, err
		}
		flights = flights[1:]
		select {
		case <-stop:
			stopped = true
		default:
		}
	}
}
