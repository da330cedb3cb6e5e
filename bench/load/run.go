package load

import (
	"context"
	"fmt"
	"os"
	"time"

	"belfry/bench"
)

// run is a measurement in progress.
type run struct {
	o        *Options
	pool     *bench.Pool
	rep      *Report
	progress *progress
	clock    bench.Clock
	before   []bench.Stats // of the clients when the measurement began
	after    []bench.Stats // and at its end, nil if it was not reached
	cpu      float64       // of the server then, in s; 0 if it is not known
	sampler  *sampler
}

// warmups are broadcasts before those that count: the first touches every
// socket's send path.
const warmups = 2

// Run carries out o, which must be valid (Validate). If ctx is done, it ends
// early with the report so far. An error means that it could not begin; later
// errors are in the report, see Report.Err. Bars are shown on the terminal,
// which may be nil.
func Run(ctx context.Context, o *Options, terminal *os.File) (*Report, error) {
	targets, sources, err := o.addresses()
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
	pool, err := bench.StartPool(alive, bench.PoolOptions{
		Connections: o.Connections, Targets: targets, Sources: sources, Processes: o.Processes,
		Program: clientProgram(), Rate: o.Rate, Window: window, Wire: o.Wire,
		ConnectTimeout: o.connectTimeout(), ReceiptTimeout: o.wait(time.Minute),
	})
	if err != nil {
		return nil, err
	}
	defer pool.Stop()
	r := &run{o: o, pool: pool, progress: newProgress(terminal), clock: bench.NewClock(), rep: newReport(o, len(pool.Processes()))}
	defer r.progress.close()
	r.sampler = startSampler(alive, o, pool, r.rep.Began)
	err = r.measure(ctx)
	r.progress.end()
	if ctx.Err() != nil {
		r.rep.Interrupted = true
		err = nil
	}
	if err != nil {
		r.rep.problem("%s: %v", o.Mode, err)
	}
	last, cancel := context.WithTimeout(alive, 10*time.Second)
	defer cancel()
	if err := r.finish(last); err != nil {
		r.rep.problem("the clients: %v", err)
	}
	return r.rep, nil
}

// clientProgram returns the hidden command of this program that holds
// connections.
func clientProgram() []string {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return []string{self, "client"}
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
	r.progress.begin("connecting", r.o.Connections)
	type outcome struct {
		c   bench.Connects
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		c, err := r.pool.Connect(ctx, 0, r.o.Connections)
		done <- outcome{c, err}
	}()
	for begun := time.Now(); ; {
		select {
		case x := <-done:
			r.rep.connected(x.c)
			if s, err := r.pool.Stats(ctx); err == nil {
				r.rep.Handshakes = s.Handshakes
			}
			if x.err == nil && x.c.Opened == 0 {
				return fmt.Errorf("no connection could be made: %s", bench.Causes(x.c.Causes))
			}
			return x.err
		case <-time.After(200 * time.Millisecond):
		}
		if s, ok := r.sampler.last(); ok {
			r.progress.set(s.Open, "%d of %d connected, %.0f/s, %d failed", s.Open, r.o.Connections, float64(s.Open)/time.Since(begun).Seconds(), s.Failed)
		}
	}
}

// begin marks the beginning of the measurement.
func (r *run) begin(ctx context.Context) (err error) {
	if err = r.pool.Mark(ctx); err != nil {
		return err
	}
	if _, r.cpu, err = r.sampler.server(ctx); err != nil {
		return err
	}
	r.before, err = r.pool.Each(ctx)
	return err
}

// ended marks the end of the measurement. It returns the processor time, in
// seconds, that the server has used since begin; known is false if it cannot be
// read.
func (r *run) ended(ctx context.Context) (used float64, known bool) {
	_, cpu, err := r.sampler.server(ctx)
	if after, err := r.pool.Each(ctx); err == nil {
		r.after = after
	}
	return cpu - r.cpu, err == nil && cpu > 0
}

// finish reads the clients for the last time and completes the report.
func (r *run) finish(ctx context.Context) error {
	each, err := r.pool.Each(ctx)
	if err != nil {
		return err
	}
	all, err := r.pool.Stats(ctx)
	if err != nil {
		return err
	}
	samples, failed := r.sampler.end(ctx)
	r.rep.Samples = samples
	if failed != "" {
		r.rep.warning("the server's memory and CPU: %s", failed)
	}
	if r.after != nil {
		each = r.after
	}
	r.rep.finish(r.o, all, r.before, each)
	return nil
}

// last returns the latest sample.
func (s *sampler) last() (Sample, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.samples) == 0 {
		return Sample{}, false
	}
	return s.samples[len(s.samples)-1], true
}

// hold keeps the connections for the duration.
func (r *run) hold(ctx context.Context) error {
	if used, known := r.ended(ctx); known {
		r.rep.figure("server CPU per connection made", used*1e6/float64(max(r.rep.Opened, 1)), "µs")
	}
	err := r.wait(ctx, "holding", r.o.Duration)
	r.memoryFigures()
	return err
}

// wait waits for a time.
func (r *run) wait(ctx context.Context, what string, d time.Duration) error {
	r.progress.begin(what, int(d/time.Millisecond))
	for begun := time.Now(); time.Since(begun) < d; {
		if err := bench.Sleep(ctx, min(200*time.Millisecond, d-time.Since(begun))); err != nil {
			return err
		}
		s, _ := r.sampler.last()
		r.progress.set(int(time.Since(begun)/time.Millisecond), "%d open, %d lost", s.Open, s.Lost)
	}
	return nil
}

// memoryFigures adds the server's memory per connection: its memory now less
// that before the first connection.
func (r *run) memoryFigures() {
	now, ok := r.sampler.last()
	first := r.sampler.first()
	if !ok || now.RSS == 0 || now.Open == 0 {
		return
	}
	per := func(a, b int64) float64 { return float64(b-a) / float64(now.Open) }
	r.rep.figure("server RSS", float64(now.RSS)/(1<<20), "MiB")
	r.rep.figure("server RSS per connection", per(first.RSS, now.RSS), "B")
	if now.Slab > 0 {
		r.rep.figure("kernel slab per connection, both ends", per(first.Slab, now.Slab), "B")
	}
}

func (s *sampler) first() Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.samples[0]
}
