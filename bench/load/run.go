package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/measure"
	"belfry/bench/report"
	"belfry/bench/tool"
)

// run is a measurement in progress.
type run struct {
	*measure.Population
	o          *Options
	rep        *report.Report
	detail     *Detail
	sampler    *sampler
	handshakes *bench.Histogram
	before     []bench.Stats // of the clients when the measurement began
	after      []bench.Stats // and at its end, nil if it was not reached
	cpu        float64       // of the server when the measurement began, in s; 0 if it is not known
}

// warmups are broadcasts before those that count: the first touches every
// socket's send path.
const warmups = 2

// Run carries out o, which must be valid (Validate). If ctx is done, it ends
// early with the report so far and an error. Without a report it could not begin;
// what goes wrong later is a problem of the report.
func Run(ctx context.Context, o *Options, p *tool.Progress) (*report.Report, error) {
	targets, sources, err := o.addresses()
	if err != nil {
		return nil, err
	}
	rep, err := report.New(o.Mode)
	if err != nil {
		return nil, err
	}
	server, err := newRemote(&o.Publish)
	if err != nil {
		return nil, err
	}
	window := o.Window
	if o.Mode == Storm {
		window = max(window, o.Connections) // all at once
	}
	// The clients run longer than ctx, so that their counters can be read for
	// the report.
	alive, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	begun := false
	err = measure.Populate(alive, server, bench.PoolOptions{
		Connections: o.Connections, Targets: targets, Sources: sources, Processes: int(o.Processes),
		Rate: o.Rate, Window: window, Wire: o.wire,
		ConnectTimeout: o.connectTimeout(), ReceiptTimeout: o.wait(time.Minute),
	}, measure.OneNode, p, func(pop *measure.Population) error {
		begun = true
		r := &run{Population: pop, o: o, rep: rep, detail: &Detail{Wanted: o.Connections}}
		rep.Detail = r.detail
		r.sampler = startSampler(alive, o, pop.Pool, rep.Began)
		if err := r.measure(ctx); err != nil && ctx.Err() == nil {
			rep.Problem("%s: %v", o.Mode, err)
		}
		last, cancel := context.WithTimeout(alive, 10*time.Second)
		defer cancel()
		if err := r.finish(last, ctx.Err() != nil); err != nil {
			rep.Problem("the clients: %v", err)
		}
		return nil
	})
	switch {
	case !begun:
		return nil, err
	case ctx.Err() != nil:
		err = errors.New("interrupted: the report has the results until then")
	}
	return rep, err
}

// wait returns how long to wait for something; tests may change it.
func (o *Options) wait(d time.Duration) time.Duration {
	if o.grace > 0 {
		return o.grace
	}
	return d
}

// connectTimeout gives a slow server 500 connections a second.
func (o *Options) connectTimeout() time.Duration {
	rate := 500.0
	if o.Rate > 0 {
		rate = min(rate, o.Rate/2)
	}
	return time.Minute + time.Duration(float64(o.Connections)/rate*float64(time.Second))
}

func (r *run) measure(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := r.connect(ctx); err != nil {
		return err
	}
	return map[string]func(context.Context) error{
		Connect: r.hold, Fanout: r.fanout, Push: r.push, Echo: r.echo,
		Heartbeat: r.heartbeat, Storm: r.storm, Slow: r.slow, Soak: r.soak,
	}[r.o.Mode](ctx)
}

// connect makes all connections.
func (r *run) connect(ctx context.Context) error {
	r.Progress.Count(r.o.Connections, "connecting")
	c, err := r.Dial(ctx, r.o.Connections)
	r.detail.Opened = c.Opened
	if c.Opened > 0 {
		r.rep.Figure("time to connect", c.Took.Seconds(), "s")
		r.rep.Figure("connections per second", c.PerSecond(), "/s")
	}
	if s, err := r.Pool.Stats(ctx); err == nil {
		r.handshakes = s.Handshakes
	}
	if err == nil && c.Opened == 0 {
		return fmt.Errorf("no connection could be made: %s", bench.Causes(c.Causes))
	}
	return err
}

// begin marks the beginning of the measurement.
func (r *run) begin(ctx context.Context) (err error) {
	if err = r.Pool.Mark(ctx); err != nil {
		return err
	}
	if _, r.cpu, err = r.sampler.server(ctx); err != nil {
		return err
	}
	r.before, err = r.Pool.Each(ctx)
	return err
}

// ended marks the end of the measurement. It returns the processor time, in
// seconds, that the server has used since begin; known is false if it cannot be
// read.
func (r *run) ended(ctx context.Context) (used float64, known bool) {
	_, cpu, err := r.sampler.server(ctx)
	if after, err := r.Pool.Each(ctx); err == nil {
		r.after = after
	}
	return cpu - r.cpu, err == nil && cpu > 0
}

// finish reads the clients for the last time and completes the report.
func (r *run) finish(ctx context.Context, interrupted bool) error {
	each, err := r.Pool.Each(ctx)
	if err != nil {
		return err
	}
	all, err := r.Pool.Stats(ctx)
	if err != nil {
		return err
	}
	samples, failed := r.sampler.end(ctx)
	r.detail.Samples = samples
	if failed != "" {
		r.rep.Warning("the server's memory and CPU: %s", failed)
	}
	if r.after != nil {
		each = r.after
	}
	if interrupted { // the last message may still have been in transit
		all.Missing = 0
	}
	r.conclude(all, each)
	r.draw()
	return nil
}

// wait waits for a time.
func (r *run) wait(ctx context.Context, what string, d time.Duration) error {
	r.Progress.Count(int(d/time.Millisecond), "%s", what)
	for begun := time.Now(); time.Since(begun) < d; {
		if err := bench.Sleep(ctx, min(200*time.Millisecond, d-time.Since(begun))); err != nil {
			return err
		}
		s, _ := r.sampler.last()
		r.Progress.Set(int(time.Since(begun)/time.Millisecond), "%d open, %d lost", s.Open, s.Lost)
	}
	return nil
}
