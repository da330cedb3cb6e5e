package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"belfry/bench"
	"belfry/bench/publish"
)

// perUser is how many connections a user has, as in the published figure.
const perUser = 10

// pushes is the result of pushes to users in a closed loop.
type pushes struct {
	PerSecond float64         `json:"per_second"` // from the first request to the last receipt
	Pushed    int             `json:"pushed"`
	Refused   int             `json:"refused"` // answered with 503 or 429 and repeated
	Latency   bench.Quantiles `json:"latency_ns"`
}

// pusher is one connection that pushes to its own share of the users, so that
// the messages to a user have an order.
type pusher struct {
	conn  *publish.Conn
	users []uint32
	seqs  []uint32
	done  int
}

// measurePushes keeps o.concurrency requests in progress for o.push, each to
// one user after the other. It checks that every message arrived once at every
// connection of its user.
func measurePushes(ctx context.Context, o *options, p *bench.Pool, t *target) (*pushes, error) {
	users := o.connections / perUser
	pushers := make([]*pusher, min(o.concurrency, users))
	for i := range pushers {
		conn, err := newConn(t.def.API, t.def.User)
		if err == nil {
			err = conn.Connect(ctx)
		}
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		w := &pusher{conn: conn}
		for u := i; u < users; u += len(pushers) {
			w.users = append(w.users, uint32(u))
		}
		w.seqs = make([]uint32, len(w.users))
		pushers[i] = w
	}
	if err := p.Mark(ctx); err != nil {
		return nil, err
	}
	began := bench.NewClock().Now()
	if err := pushAll(ctx, o, pushers); err != nil {
		return nil, err
	}
	r := new(pushes)
	for _, w := range pushers {
		r.Pushed += w.done
		r.Refused += w.conn.Refused
	}
	st, err := arrival(ctx, p, uint64(r.Pushed*perUser))
	if err != nil {
		return nil, err
	}
	if err := p.Verify(ctx); err != nil {
		return nil, err
	}
	r.PerSecond = float64(r.Pushed) / time.Duration(st.LastDirect-began).Seconds()
	r.Latency = st.Directs.Quantiles()
	return r, nil
}

func pushAll(ctx context.Context, o *options, pushers []*pusher) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	end := time.Now().Add(o.push)
	var wg sync.WaitGroup
	for _, w := range pushers {
		wg.Go(func() {
			if err := w.run(ctx, end, o.size); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (w *pusher) run(ctx context.Context, end time.Time, size int) error {
	for time.Now().Before(end) {
		i := w.done % len(w.users)
		w.seqs[i]++
		if _, err := w.conn.Push(ctx, bench.Message{Stream: bench.Direct, User: w.users[i], Seq: w.seqs[i]}, size); err != nil {
			return err
		}
		w.done++
	}
	return nil
}

// arrival waits until a number of direct messages have arrived.
func arrival(ctx context.Context, p *bench.Pool, want uint64) (bench.Stats, error) {
	const waitLimit = 15 * time.Second
	for deadline := time.Now().Add(waitLimit); ; {
		st, err := p.Stats(ctx)
		switch {
		case err != nil || st.Direct.Received >= want:
			return st, err
		case time.Now().After(deadline):
			return st, errors.Join(fmt.Errorf("%d of %d messages to users arrived within %v of the last push", st.Direct.Received, want, waitLimit), st.Faults())
		}
		if err := bench.Sleep(ctx, 10*time.Millisecond); err != nil {
			return st, err
		}
	}
}
