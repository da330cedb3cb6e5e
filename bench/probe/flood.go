package probe

import (
	"context"
	"errors"
	"time"
)

// inFlight is how many broadcasts are on their way at any time: with two, the
// next one waits when one ends.
const inFlight = 2

// Send publishes the next broadcast and returns the function that waits until
// everybody has it.
type Send func(ctx context.Context) (received func(ctx context.Context) error, err error)

// Flooded is how much was broadcast during something.
type Flooded struct {
	Broadcasts int     `json:"broadcasts"`
	Seconds    float64 `json:"seconds"`
}

// During runs do while broadcasts follow one another without a gap, and waits
// for the last of them. What fails there ends do's ctx.
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
	if floodErr := <-flooded; !errors.Is(err, floodErr) { // do may have ended for it
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
