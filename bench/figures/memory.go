package figures

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/measure"
	"belfry/bench/target"
	"belfry/bench/tool"
)

// memory is one round of the memory of idle sessions. Slopes are bytes per
// session between o.Base and o.Conns sessions.
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

// memoryRound runs two servers: one whose sessions get nothing, and one that
// sends broadcasts and pings.
func memoryRound(ctx context.Context, o *Options, p *tool.Progress) (m memory, err error) {
	low, high, err := idleReadings(ctx, o, p)
	if err != nil {
		return m, fmt.Errorf("idle: %w", err)
	}
	m.Idle, m.IdleAnon, m.Slab = measure.Slope(low, high, measure.RSS), measure.Slope(low, high, measure.Anonymous), measure.Slope(low, high, measure.Slab)
	m.Base = low.RSS
	idle := low

	ping := fmt.Sprintf("BELFRY_SESSION_PING_INTERVAL=%v", o.Ping)
	low, high, err = readings(ctx, o, p, []string{ping}, func(pop *measure.Population) error {
		connected := time.Now()
		if _, err := pop.Broadcasts(ctx, o.Broadcasts, o.Size, 0); err != nil {
			return err
		}
		if _, ok := pop.Target.(*target.Belfry); ok {
			m.Heartbeat = true
			if err := pop.Heartbeat(ctx, o.Ping); err != nil {
				return err
			}
		}
		return bench.Sleep(ctx, o.Settle-time.Since(connected))
	})
	if err != nil {
		return m, fmt.Errorf("used: %w", err)
	}
	m.Used, m.UsedAnon, m.Once = measure.Slope(low, high, measure.RSS), measure.Slope(low, high, measure.Anonymous), measure.Slope(idle, high, measure.RSS)
	return m, nil
}

// idleReadings are those of a server whose sessions never hear anything.
func idleReadings(ctx context.Context, o *Options, p *tool.Progress, env ...string) (low, high measure.Reading, err error) {
	return readings(ctx, o, p, env, func(*measure.Population) error { return bench.Sleep(ctx, o.Settle) })
}

// readings connects o.Base sessions, does something with them, reads, and the
// same with all o.Conns of them.
func readings(ctx context.Context, o *Options, p *tool.Progress, env []string, use func(*measure.Population) error) (low, high measure.Reading, err error) {
	err = o.populate(ctx, p, false, env, func(pop *measure.Population) error {
		for _, step := range []struct {
			n    int
			into *measure.Reading
		}{{o.Base, &low}, {o.Conns, &high}} {
			if err := pop.Connect(ctx, step.n); err != nil {
				return err
			}
			if err := use(pop); err != nil {
				return err
			}
			if *step.into, err = pop.Read(); err != nil {
				return err
			}
		}
		return pop.Verify(ctx)
	})
	return low, high, err
}
