// Package measure has what scenarios are made of: a server under test with its
// clients, and the measurements of both.
package measure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/target"
	"belfry/bench/tool"
)

// Population is a server under test with its clients. One goroutine may use it.
type Population struct {
	Target   target.Target
	Pool     *bench.Pool
	Progress *tool.Progress
	Ramp     Ramp
	nodesFor func(connections int) int
	asked    int // connections that were to be made
}

// Ramp is the progress of connecting.
type Ramp struct {
	Opened int            `json:"opened"`
	Failed map[string]int `json:"failed,omitempty"` // by cause
	Took   float64        `json:"took_seconds"`     // first connect(2) → last 101, without the pauses between parts
	Points []Point        `json:"points"`
}

// Point is how many connections were open at a time of connecting.
type Point struct {
	Seconds float64 `json:"s"`
	Open    int     `json:"open"`
}

// PerSecond is the rate of the connections that were made.
func (r *Ramp) PerSecond() float64 { return float64(r.Opened) / max(r.Took, 1e-6) }

// OneNode is for Populate: one node holds all connections.
func OneNode(int) int { return 1 }

// Populate runs f with a server and its clients, and ends both. nodesFor says how
// many nodes hold the first n connections. The clients end first, because their
// resets leave no port in TIME_WAIT. If processes have ended too early, the error
// says why.
func Populate(ctx context.Context, t target.Target, o bench.PoolOptions, nodesFor func(n int) int, progress *tool.Progress, f func(*Population) error) error {
	defer t.Stop()
	pool, err := bench.StartPool(ctx, o)
	if err != nil {
		return err
	}
	defer pool.Stop()
	err = f(&Population{Target: t, Pool: pool, Progress: progress, nodesFor: nodesFor})
	during := progress.Doing()
	switch {
	case err == nil:
		progress.Note("ending processes")
		return pool.Drop(ctx)
	case ctx.Err() != nil: // the error has this cause
		return fmt.Errorf("%w, during: %s", context.Cause(ctx), during)
	}
	_ = bench.Sleep(ctx, 500*time.Millisecond) // the cause may be a process that ended a moment ago
	return errors.Join(fmt.Errorf("%s: %w", during, err), target.Alive(append(pool.Processes(), t.Processes()...)))
}

// Grow starts the nodes that n connections need.
func (p *Population) Grow(ctx context.Context, n int) error {
	return p.Target.Grow(ctx, p.nodesFor(n))
}

// Connect makes connections until there are n, on nodes that are started if
// necessary. It is an error if one fails.
func (p *Population) Connect(ctx context.Context, n int) error {
	if err := p.Grow(ctx, n); err != nil {
		return err
	}
	c, err := p.Dial(ctx, n)
	if err = errors.Join(err, c.Err()); err != nil {
		return fmt.Errorf("%s: %w", p.Target.Name(), err)
	}
	return nil
}

// Dial makes connections until n were tried. It adds to Ramp and shows the
// progress.
func (p *Population) Dial(ctx context.Context, n int) (c bench.Connects, err error) {
	begun, before, opened := time.Now(), p.Ramp.Took, p.Ramp.Opened
	if len(p.Ramp.Points) == 0 {
		p.Ramp.Points = append(p.Ramp.Points, Point{})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err = p.Pool.Connect(ctx, p.asked, n)
	}()
	// The more clients there are, the more a look costs.
	look := time.NewTicker(max(200*time.Millisecond, time.Duration(len(p.Pool.Processes()))*25*time.Millisecond))
	defer look.Stop()
	for {
		select {
		case <-done:
			p.asked = n
			p.Ramp.Opened, p.Ramp.Took, p.Ramp.Failed = opened+c.Opened, before+c.Took.Seconds(), c.Causes
			p.Ramp.Points = append(p.Ramp.Points, Point{p.Ramp.Took, p.Ramp.Opened})
			return c, err
		case <-look.C:
		}
		if s, err := p.Pool.Counters(ctx); err == nil {
			took := time.Since(begun).Seconds()
			p.Ramp.Points = append(p.Ramp.Points, Point{before + took, s.Open})
			p.Progress.Set(s.Open-opened, "%d connected, %.0f/s, failed: %s", s.Open, float64(s.Open-opened)/took, bench.Causes(s.Failed))
		}
	}
}

// Verify returns an error unless every connection is still open and got every
// message once, in order and unchanged.
func (p *Population) Verify(ctx context.Context) error {
	if err := p.Pool.Verify(ctx); err != nil {
		return fmt.Errorf("%s: %w", p.Target.Name(), err)
	}
	return nil
}
