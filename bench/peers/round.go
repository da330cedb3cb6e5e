package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"belfry/bench"
)

// warmups are broadcasts before those that count.
const warmups = 2

// round is the result of one server in fresh processes. A value that was not
// measured is 0.
type round struct {
	RSS      float64 `json:"rss"`      // of the server, bytes an idle connection: the slope, so that the program itself cancels out
	Slab     float64 `json:"slab"`     // of the kernel, bytes a connection, both ends
	BaseRSS  int64   `json:"base_rss"` // of the server with a third of the connections
	Connects float64 `json:"connects_per_second"`
	Wall     float64 `json:"wall_us"` // publish → last receipt, median, µs a connection
	P99      float64 `json:"p99_ms"`  // publish → receipt of a connection, ms
	CPU      float64 `json:"cpu_us"`  // of the server, µs a delivery
	Push     *pushes `json:"push,omitempty"`
	Clients  clients `json:"clients"`           // during the fan-out
	Problem  string  `json:"problem,omitempty"` // what ended the round early
}

// clients shows how much the clients disturbed the server, with which they
// share processors.
type clients struct {
	CPU     float64 `json:"cpu_us"`        // of all of them, µs a delivery
	Starved float64 `json:"starved"`       // time that they were ready to run without a processor, over the time of the fan-out
	Gap     float64 `json:"read_delay_ms"` // longest time that received data waited to be read
}

// measureRound does one round. Its failures are in the result; only the end of
// ctx is an error.
func measureRound(ctx context.Context, o *options, c contender, note func(string)) (r round, err error) {
	if err := r.measure(ctx, o, c, note); err != nil {
		if ctx.Err() != nil {
			return r, context.Cause(ctx)
		}
		r.Problem = err.Error()
	}
	return r, nil
}

func (r *round) measure(ctx context.Context, o *options, c contender, note func(string)) error {
	note("starting")
	t, err := c.start(ctx)
	if err != nil {
		return err
	}
	defer t.stop()
	wire := c.wire
	wire.Users = o.connections / perUser
	p, err := bench.StartPool(ctx, bench.PoolOptions{
		Connections: o.connections, Targets: t.addresses(), Processes: o.clients, Wire: wire,
	})
	if err != nil {
		return err
	}
	defer p.Stop()
	err = r.with(ctx, o, c, p, t, note)
	select {
	case <-t.proc.Exited(): // which is more useful than the error that it caused
		err = errors.Join(t.proc.Failure(), err)
	default:
	}
	return err
}

// with measures a server with the clients that were started for it.
func (r *round) with(ctx context.Context, o *options, c contender, p *bench.Pool, t *target, note func(string)) (err error) {
	note("connecting")
	if err := r.connect(ctx, o, p, t); err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	note("fan-out")
	if err := r.fanout(ctx, o, p, t); err != nil {
		return fmt.Errorf("fan-out: %w", err)
	}
	if c.pushes && o.push > 0 {
		note("pushes to users")
		if r.Push, err = measurePushes(ctx, o, p, t); err != nil {
			return fmt.Errorf("pushes: %w", err)
		}
	}
	return nil
}

// reading is the memory at one number of connections.
type reading struct {
	bench.Memory
	slab int64
}

// connect makes all connections in two steps and reads the memory between them.
func (r *round) connect(ctx context.Context, o *options, p *bench.Pool, t *target) error {
	base := o.connections / 3
	var took time.Duration
	var readings [2]reading
	for i, step := range [][2]int{{0, base}, {base, o.connections}} {
		c, err := p.Connect(ctx, step[0], step[1])
		if err = errors.Join(err, c.Err()); err != nil {
			return err
		}
		took += c.Took
		if err := t.connected(ctx, step[1]); err != nil {
			return err
		}
		if err := bench.Sleep(ctx, o.settle); err != nil {
			return err
		}
		if readings[i].Memory, err = bench.ReadMemory(t.proc.PID()); err != nil {
			return err
		}
		if readings[i].slab, err = bench.ReadSlab(); err != nil {
			return err
		}
	}
	span := float64(o.connections - base)
	r.RSS = float64(readings[1].RSS-readings[0].RSS) / span
	// The slabs are those of the whole machine. If it frees more meanwhile than
	// the connections take, there is no figure.
	r.Slab = max(float64(readings[1].slab-readings[0].slab)/span, 0)
	r.BaseRSS = readings[0].RSS
	r.Connects = float64(o.connections) / took.Seconds()
	return p.Verify(ctx)
}

// fanout sends broadcasts one after the other. It reads the CPU time when the
// server has finished its work for them.
func (r *round) fanout(ctx context.Context, o *options, p *bench.Pool, t *target) error {
	publish := func(ctx context.Context, seq uint32) (int64, error) { return t.all.broadcast(ctx, seq, o.size) }
	for range warmups {
		if _, err := p.Broadcast(ctx, publish); err != nil {
			return err
		}
	}
	if err := p.Mark(ctx); err != nil {
		return err
	}
	begin, err := p.Stats(ctx)
	if err != nil {
		return err
	}
	before, err := settledCPU(ctx, t.proc.PID())
	if err != nil {
		return err
	}
	walls := make([]float64, o.broadcasts)
	for i := range walls {
		took, err := p.Broadcast(ctx, publish)
		if err != nil {
			return err
		}
		walls[i] = float64(took.Nanoseconds()) / 1e3 / float64(o.connections)
	}
	after, err := settledCPU(ctx, t.proc.PID())
	if err != nil {
		return err
	}
	st, err := p.Stats(ctx)
	if err != nil {
		return err
	}
	r.Wall = bench.Median(walls)
	r.P99 = float64(st.Broadcasts.At(99)) / 1e6
	deliveries := float64(o.broadcasts * o.connections)
	r.CPU = float64((after - before).Nanoseconds()) / 1e3 / deliveries
	_, starved := bench.Busy(begin, st)
	r.Clients = clients{
		CPU: float64(st.CPU-begin.CPU) / 1e3 / deliveries, Gap: float64(st.Gap) / 1e6,
		Starved: starved / float64(len(p.Processes())),
	}
	return p.Verify(ctx)
}

// settledCPU reads the CPU time of a process when it is idle: when two readings
// 10 ms apart differ by less than 2 % of 10 ms. A runtime that is never idle is
// read after a second.
func settledCPU(ctx context.Context, pid int) (time.Duration, error) {
	const pause, idle = 10 * time.Millisecond, 200 * time.Microsecond
	last := time.Duration(-time.Hour)
	for range 100 {
		now, err := bench.ProcessCPU(pid)
		if err != nil || now-last < idle {
			return now, err
		}
		last = now
		if err := bench.Sleep(ctx, pause); err != nil {
			return 0, err
		}
	}
	return last, nil
}
