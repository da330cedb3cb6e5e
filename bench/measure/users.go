package measure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"belfry/bench"
)

// PushUsers pushes messages to users and waits until each reached all
// connections of its user exactly once. Every connection checks that it gets all
// messages of its user once and none of other users, so the sum of receipts is
// right only if each got exactly its own. The rest is given up after a time in
// which nothing arrived. An error comes with what was pushed before it, unless
// it could not begin; ctx ends only the pushing.
func (p *Population) PushUsers(ctx context.Context, o PushOptions, quiet time.Duration) (*Pushed, error) {
	w, err := newPusher(o)
	if err != nil {
		return nil, err
	}
	defer w.close()
	begun := time.Now()
	err = w.run(ctx, func(done *Pushed) {
		took := time.Since(begun)
		p.Progress.Set(int(took/time.Millisecond), "%d pushes, %.0f/s", done.Accepted, float64(done.Accepted)/took.Seconds())
	})
	return &w.Pushed, errors.Join(err, p.arrive(context.WithoutCancel(ctx), w.Deliveries, quiet))
}

// arrive waits for a number of direct messages.
func (p *Population) arrive(ctx context.Context, want uint64, quiet time.Duration) error {
	last, since := uint64(0), time.Now()
	for {
		s, err := p.Pool.Counters(ctx)
		if err != nil {
			return err
		}
		got := s.Direct.Received
		switch {
		case got == want:
			return nil
		case got > want:
			return fmt.Errorf("%d messages arrived where %d were pushed", got, want)
		case got != last:
			last, since = got, time.Now()
		case time.Since(since) > quiet:
			return fmt.Errorf("%d of %d deliveries are missing", want-got, want)
		}
		if err := bench.Sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// ArriveQuiet is the time without an arrival after which the rest is given up.
const ArriveQuiet = 5 * time.Second
