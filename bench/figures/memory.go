package figures

import (
	"context"
	"errors"
	"fmt"
	"time"

	"belfry/bench"
)

// memory is one round of the memory of idle sessions. Slopes are bytes per
// session between o.base and o.conns sessions, so that the memory of the
// program itself cancels out.
type memory struct {
	Idle      float64 `json:"idle"`           // total RSS
	IdleAnon  float64 `json:"idle_anonymous"` // without pages backed by files
	Slab      float64 `json:"slab"`           // kernel, both ends of a connection
	Used      float64 `json:"used"`           // RSS after broadcasts and a heartbeat round, at both ends of the slope
	UsedAnon  float64 `json:"used_anonymous"`
	Once      float64 `json:"once"` // the same from the idle beginning, which includes what broadcasts cost once for the process
	Base      int64   `json:"base_rss"`
	Heartbeat bool    `json:"heartbeat"` // whether there was a heartbeat round: the floor has none
}

// reading is the memory of a server at one number of sessions.
type reading struct {
	bench.Memory
	slab int64
}

func read(s side) (r reading, err error) {
	if r.Memory, err = bench.ReadMemory(s.process().PID()); err != nil {
		return r, err
	}
	r.slab, err = bench.ReadSlab()
	return r, err
}

// memoryRound runs two servers: one whose sessions get nothing, and one that
// sends broadcasts and pings.
func memoryRound(ctx context.Context, o options) (m memory, err error) {
	span := float64(o.conns - o.base)
	slope := func(from, to int64) float64 { return float64(to-from) / span }

	low, high, err := idleReadings(ctx, o)
	if err != nil {
		return m, fmt.Errorf("idle: %w", err)
	}
	m.Idle, m.IdleAnon, m.Slab = slope(low.RSS, high.RSS), slope(low.Anonymous, high.Anonymous), slope(low.slab, high.slab)
	m.Base = low.RSS
	idle := low.RSS

	ping := fmt.Sprintf("BELFRY_SESSION_PING_INTERVAL=%v", o.ping)
	low, high, err = twoReadings(ctx, o, func() (side, error) { return startServer(ctx, o, ping) }, func(p *bench.Pool, s side) error {
		connected := time.Now()
		for range o.broadcasts {
			if _, err := broadcast(ctx, o, p, s); err != nil {
				return err
			}
		}
		if _, ok := s.(*belfrySide); ok {
			m.Heartbeat = true
			if err := heartbeat(ctx, o, p); err != nil {
				return err
			}
		}
		return bench.Sleep(ctx, o.settle-time.Since(connected))
	})
	if err != nil {
		return m, fmt.Errorf("used: %w", err)
	}
	m.Used, m.UsedAnon, m.Once = slope(low.RSS, high.RSS), slope(low.Anonymous, high.Anonymous), slope(idle, high.RSS)
	return m, nil
}

// idleReadings are those of a server whose sessions never hear anything.
func idleReadings(ctx context.Context, o options, env ...string) (low, high reading, err error) {
	return twoReadings(ctx, o, func() (side, error) { return startServer(ctx, o, env...) }, func(*bench.Pool, side) error {
		return bench.Sleep(ctx, o.settle)
	})
}

// twoReadings connects o.base sessions, does something with them, reads, and
// the same with all o.conns of them.
func twoReadings(ctx context.Context, o options, start func() (side, error), use func(*bench.Pool, side) error) (low, high reading, err error) {
	err = withSide(ctx, o, start, func(p *bench.Pool, s side) error {
		for _, step := range []struct {
			from, to int
			into     *reading
		}{{0, o.base, &low}, {o.base, o.conns, &high}} {
			if c, err := p.Connect(ctx, step.from, step.to); err != nil || c.Failed > 0 {
				return errors.Join(err, c.Err())
			}
			if err := use(p, s); err != nil {
				return err
			}
			if *step.into, err = read(s); err != nil {
				return err
			}
		}
		return verify(ctx, p, s)
	})
	return low, high, err
}

// heartbeat waits until every session was pinged once more and has answered.
func heartbeat(ctx context.Context, o options, p *bench.Pool) error {
	if err := p.Mark(ctx); err != nil {
		return err
	}
	waitLimit := 3*o.ping + 5*time.Second
	for deadline := time.Now().Add(waitLimit); ; {
		sum, err := p.Stats(ctx)
		if err != nil {
			return err
		}
		if sum.MinPings >= 1 {
			return bench.Sleep(ctx, 500*time.Millisecond) // the last pongs arrive
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not every session was pinged within %v at an interval of %v: %d pings, %d connections open, ended: %s",
				waitLimit, o.ping, sum.Pings, sum.Open, bench.Causes(sum.Ended))
		}
		if err := bench.Sleep(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
}
