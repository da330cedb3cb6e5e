package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"belfry/bench"
)

// push posts messages to users and checks that each reached all connections of
// its user exactly once.
func (r *run) push(ctx context.Context) error {
	p, err := newPusher(r.o)
	if err != nil {
		return err
	}
	defer p.close()
	if err := r.begin(ctx); err != nil {
		return err
	}
	r.progress.begin("pushing", int(r.o.Duration/time.Millisecond))
	begun := time.Now()
	pushErr := p.run(ctx, func(done *Pushed) {
		took := time.Since(begun)
		r.progress.set(int(took/time.Millisecond), "%d pushes, %.0f/s", done.Accepted, float64(done.Accepted)/took.Seconds())
	})
	last, cancel := lastWords(ctx)
	defer cancel()
	if err := r.arrive(context.WithoutCancel(ctx), p.Deliveries); err != nil {
		r.rep.problem("push: %v", err)
	}
	used, known := r.ended(last)
	r.rep.Answers = p.Answers
	r.rep.figure("pushes accepted", float64(p.Accepted), "")
	r.rep.figure("pushes per second", float64(p.Accepted)/max(p.Took, time.Microsecond).Seconds(), "/s")
	r.rep.figure("deliveries expected from these", float64(p.Deliveries), "")
	r.rep.figure("deliveries per second", float64(p.Deliveries)/max(p.Took, time.Microsecond).Seconds(), "/s")
	r.rep.figure("refused with 503 or 429, and repeated", float64(p.Refused), "")
	if r.o.OpenRate > 0 {
		r.rep.figure("sent late by at most", float64(p.Late)/1e6, "ms")
	}
	if known && p.Accepted > 0 {
		r.rep.figure("server CPU per push", used*1e6/float64(p.Accepted), "µs")
	}
	busy := p.CPU.Seconds() / max(p.Took, time.Microsecond).Seconds()
	r.rep.figure("the generator's CPU per push", p.CPU.Seconds()*1e6/float64(max(p.Accepted, 1)), "µs")
	if busy >= tooBusy {
		r.rep.warning("the HTTP pusher used %.0f %% of a processor: it was the bottleneck", 100*busy)
	}
	return errors.Join(pushErr, ctx.Err())
}

// arriveQuiet is the time without an arrival after which the rest is given up.
const arriveQuiet = 5 * time.Second

// arrive waits for a number of direct messages. Every connection checks that it
// gets all messages of its user once and none of other users, so the sum is
// right only if each got exactly its own.
func (r *run) arrive(ctx context.Context, want uint64) error {
	last, since := uint64(0), time.Now()
	for {
		s, err := r.pool.Stats(ctx)
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
		case time.Since(since) > r.o.wait(arriveQuiet):
			return fmt.Errorf("%d of %d deliveries are missing", want-got, want)
		}
		if err := bench.Sleep(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("%d of %d deliveries are missing", want-got, want)
		}
	}
}
