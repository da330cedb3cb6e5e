package figures

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"belfry/bench"
)

// warmups is the number of broadcasts that do not count: the first one uses the
// send path of every socket, and belfry's HTTP server, for the first time.
const warmups = 2

// fanout is one round of broadcasts to one server.
type fanout struct {
	Threads int       `json:"threads,omitempty"` // of the floor
	CPU     float64   `json:"cpu_us"`            // server's, per delivery, in µs
	Wall    float64   `json:"wall_ms"`           // publish → last receipt, median of the round, in ms
	Walls   []float64 `json:"walls_ms"`
}

// measureFanout sends o.broadcasts messages. After each it waits for all
// receivers. The CPU time is read when the server has finished its work for
// them.
func measureFanout(ctx context.Context, o options, p *bench.Pool, s side) (fanout, error) {
	var f fanout
	for range warmups {
		if _, err := broadcast(ctx, o, p, s); err != nil {
			return f, err
		}
	}
	before, err := settledCPU(ctx, s.process().PID())
	if err != nil {
		return f, err
	}
	for range o.broadcasts {
		took, err := broadcast(ctx, o, p, s)
		if err != nil {
			return f, err
		}
		f.Walls = append(f.Walls, took.Seconds()*1e3)
	}
	after, err := settledCPU(ctx, s.process().PID())
	if err != nil {
		return f, err
	}
	f.CPU = (after - before).Seconds() * 1e6 / float64(o.broadcasts*p.Open())
	f.Wall = bench.Median(f.Walls)
	return f, verify(ctx, p, s)
}

// settledCPU reads the CPU time of a process when it is idle: when two readings
// 5 ms apart differ by less than 2 % of 5 ms.
func settledCPU(ctx context.Context, pid int) (time.Duration, error) {
	const pause, idle = 5 * time.Millisecond, 100 * time.Microsecond
	last := time.Duration(-time.Hour)
	for range 200 {
		now, err := bench.ProcessCPU(pid)
		if err != nil {
			return 0, err
		}
		if now-last < idle {
			return now, nil
		}
		last = now
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	return 0, fmt.Errorf("process %d was not idle within a second", pid)
}

// sideRound is the result of one server in one round.
type sideRound struct {
	Connects float64  `json:"connects_per_second"`
	Fanout   []fanout `json:"fanout"` // belfry: one; floor: all threads, then one
	Push     *push    `json:"push,omitempty"`
}

// withSide starts clients, runs f with them and s, and stops clients and
// server.
func withSide(ctx context.Context, o options, start func() (side, error), f func(*bench.Pool, side) error) error {
	s, err := start()
	if err != nil {
		return err
	}
	defer s.stop()
	p, err := bench.StartPool(ctx, bench.PoolOptions{
		Connections: o.conns, Targets: []netip.AddrPort{s.addr()}, Processes: o.clients,
		Wire: o.wire(),
	})
	if err != nil {
		return err
	}
	defer p.Stop()
	return f(p, s)
}

// broadcast sends one message to all connections and returns the time from the
// publish to the last receipt.
func broadcast(ctx context.Context, o options, p *bench.Pool, s side) (time.Duration, error) {
	return p.Broadcast(ctx, func(ctx context.Context, seq uint32) (int64, error) { return s.broadcast(ctx, seq, o.size) })
}

// verify returns an error unless every connection is still open and got every
// broadcast once, in order and unchanged.
func verify(ctx context.Context, p *bench.Pool, s side) error {
	if err := p.Verify(ctx); err != nil {
		return fmt.Errorf("%s: %w", s.name(), err)
	}
	return nil
}

// connectAll makes all connections and returns their number per second.
func connectAll(ctx context.Context, o options, p *bench.Pool, s side) (float64, error) {
	c, err := p.Connect(ctx, 0, o.conns)
	if err = errors.Join(err, c.Err()); err != nil {
		return 0, fmt.Errorf("%s: %w", s.name(), err)
	}
	return c.PerSecond(), nil
}

// floorRound measures the floor once.
func floorRound(ctx context.Context, o options) (r sideRound, err error) {
	err = withSide(ctx, o, func() (side, error) { return startFloor(ctx, o) }, func(p *bench.Pool, s side) error {
		if r.Connects, err = connectAll(ctx, o, p, s); err != nil {
			return err
		}
		if !o.measures("fanout") {
			return nil
		}
		threads := []int{o.shards}
		if o.shards > 1 {
			threads = append(threads, 1)
		}
		for _, n := range threads {
			s.(*floorSide).threads = n
			f, err := measureFanout(ctx, o, p, s)
			if err != nil {
				return err
			}
			f.Threads = n
			r.Fanout = append(r.Fanout, f)
		}
		return nil
	})
	return r, err
}

// serverRound measures the server once.
func serverRound(ctx context.Context, o options, note func(string)) (r sideRound, err error) {
	err = withSide(ctx, o, func() (side, error) { return startServer(ctx, o) }, func(p *bench.Pool, s side) error {
		if r.Connects, err = connectAll(ctx, o, p, s); err != nil {
			return err
		}
		if o.measures("fanout") {
			f, err := measureFanout(ctx, o, p, s)
			if err != nil {
				return err
			}
			r.Fanout = []fanout{f}
		}
		if b, ok := s.(*belfrySide); ok && o.measures("push") {
			note("pushes to one user during a fan-out")
			if r.Push, err = measurePush(ctx, o, p, b); err != nil {
				return fmt.Errorf("push: %w", err)
			}
		}
		return nil
	})
	return r, err
}
