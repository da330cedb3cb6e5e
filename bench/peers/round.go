package main

import (
	"context"
	"time"

	"belfry/bench"
	"belfry/bench/measure"
	"belfry/bench/publish"
	"belfry/bench/tool"
)

// perUser is how many connections a user has, as in the published figure.
const perUser = 10

// round is the result of one server in fresh processes. A value that was not
// measured is 0.
type round struct {
	RSS      float64            `json:"rss"`      // of the server, bytes an idle connection: the slope, so that the program itself cancels out
	Slab     float64            `json:"slab"`     // of the kernel, bytes a connection, both ends
	BaseRSS  int64              `json:"base_rss"` // of the server with a third of the connections
	Connects float64            `json:"connects_per_second"`
	Wall     float64            `json:"wall_us"` // publish → last receipt, median, µs a connection
	P99      float64            `json:"p99_ms"`  // publish → receipt of a connection, ms
	CPU      float64            `json:"cpu_us"`  // of the server, µs a delivery
	Push     *pushes            `json:"push,omitempty"`
	Clients  measure.ClientLoad `json:"clients"`           // during the fan-out
	Problem  string             `json:"problem,omitempty"` // what ended the round early
}

// pushes is the result of pushes to users in a closed loop.
type pushes struct {
	PerSecond float64         `json:"per_second"` // from the first request to the last receipt
	Pushed    int             `json:"pushed"`
	Refused   int             `json:"refused"` // answered with 503 or 429 and repeated
	Latency   bench.Quantiles `json:"latency_ns"`
}

// measureRound does one round. Its failures are in the result; only the end of
// ctx is an error.
func measureRound(ctx context.Context, o *options, c contender, p *tool.Progress) (r round, err error) {
	s, err := c.start(ctx)
	if err == nil {
		wire := c.wire
		wire.Users = o.Connections / perUser
		err = measure.Populate(ctx, s, bench.PoolOptions{Connections: o.Connections, Targets: s.Listen(0), Processes: o.Clients, Wire: wire},
			measure.OneNode, p, func(pop *measure.Population) error { return r.measure(ctx, o, s, pop) })
	}
	switch {
	case ctx.Err() != nil:
		return r, context.Cause(ctx)
	case err != nil:
		r.Problem = err.Error()
	}
	return r, nil
}

// measure measures a server with the clients that were started for it. It
// connects in two steps and reads the memory between them.
func (r *round) measure(ctx context.Context, o *options, s server, pop *measure.Population) error {
	pop.Progress.Note("connecting")
	var readings [2]measure.Reading
	for i, n := range []int{o.Connections / 3, o.Connections} {
		err := pop.Connect(ctx, n)
		if err == nil {
			err = s.connected(ctx, n)
		}
		if err == nil {
			err = bench.Sleep(ctx, o.Settle)
		}
		if err == nil {
			readings[i], err = pop.Read()
		}
		if err != nil {
			return err
		}
	}
	low, high := readings[0], readings[1]
	r.RSS, r.BaseRSS = measure.Slope(low, high, measure.RSS), low.RSS
	// The slabs are those of the whole machine. If it frees more meanwhile than
	// the connections take, there is no figure.
	r.Slab = max(measure.Slope(low, high, measure.Slab), 0)
	r.Connects = pop.Ramp.PerSecond()
	if err := pop.Verify(ctx); err != nil {
		return err
	}
	pop.Progress.Note("fan-out")
	f, err := pop.Fanout(ctx, measure.FanoutOptions{Warmups: 2, Count: o.Broadcasts, Size: o.Size})
	if err != nil {
		return err
	}
	r.Wall, r.P99, r.CPU, r.Clients = f.Each(), float64(f.Receipt.P99)/1e6, f.CPU, f.Clients
	request, err := s.toUser()
	if err != nil || request == nil || o.Push == 0 {
		return err
	}
	pop.Progress.Note("pushes to users")
	r.Push, err = measurePushes(ctx, o, request, pop)
	return err
}

// measurePushes keeps o.Concurrency requests in progress for o.Push.
func measurePushes(ctx context.Context, o *options, request *publish.Request, pop *measure.Population) (*pushes, error) {
	if err := pop.Pool.Mark(ctx); err != nil {
		return nil, err
	}
	users := o.Connections / perUser
	p, err := pop.PushUsers(ctx, measure.PushOptions{Request: request, Users: users, Connections: o.Connections,
		Concurrency: min(o.Concurrency, users), Duration: o.Push, Size: o.Size}, measure.ArriveQuiet)
	if err != nil {
		return nil, err
	}
	s, err := pop.Pool.Stats(ctx)
	if err != nil {
		return nil, err
	}
	return &pushes{PerSecond: float64(p.Accepted) / time.Duration(s.LastDirect-p.Began).Seconds(), Pushed: p.Accepted,
		Refused: p.Refused, Latency: s.Directs.Quantiles()}, pop.Verify(ctx)
}
