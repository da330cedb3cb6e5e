package million

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
)

// quarters is the number of steps in which the idle part connects. The memory
// slope begins after the first step, because the first connection of a process
// costs more than others.
const quarters = 4

// leaveTimeout bounds the time until every node has noticed that all clients
// left.
const leaveTimeout = 2 * time.Minute

// idle is the part in which sessions only answer pings.
type idle struct {
	Ramp     ramp      `json:"ramp"`
	Readings []reading `json:"readings"` // empty, then after each quarter
	Ping     float64   `json:"ping_seconds"`
	Seconds  float64   `json:"seconds"`    // how long it was watched
	Pings    uint64    `json:"pings"`      // that clients got meanwhile
	Cores    float64   `json:"cores"`      // of all nodes together
	Base     float64   `json:"base_cores"` // of all nodes without connections
	Left     *reading  `json:"left,omitempty"`
	LeftIn   float64   `json:"left_in_seconds"` // until no node had a session any more
}

// slope is bytes of memory a connection, from the first quarter
// to the last.
func (d *idle) slope(value func(reading) int64) float64 {
	low, high := d.Readings[1], d.Readings[len(d.Readings)-1]
	return float64(value(high)-value(low)) / float64(high.Connections-low.Connections)
}

// sit connects all clients in quarters, evenly to all nodes, reads the memory,
// watches them while they are idle, and closes them. Its results so far are in
// d even if it fails.
func sit(ctx context.Context, o *Options, p *Plan, b *belfry, c *clients, t *progress, d *idle) error {
	t.phase(0, "idle: starting %d nodes", len(p.Nodes))
	if err := b.grow(ctx, len(p.Nodes)); err != nil {
		return err
	}
	if err := c.grow(ctx, len(p.Nodes)); err != nil {
		return err
	}
	for i := range quarters + 1 {
		if i > 0 {
			t.phase(p.Connections/quarters, "idle: connecting, part %d of %d", i, quarters)
			if err := c.connect(ctx, &d.Ramp, share(i, quarters)); err != nil {
				return err
			}
		}
		if i <= 1 || i == quarters { // the ends of slopes; the other readings are for the chart
			t.phase(0, "idle: settling before memory is read")
			used, err := cores(ctx, b, o.Settle)
			if err != nil {
				return err
			}
			if i == 0 {
				d.Base = used
			}
		}
		r, err := readMemory(b.processes(), c.open())
		if err != nil {
			return err
		}
		d.Readings = append(d.Readings, r)
	}
	if err := watch(ctx, o, b, c, t, d); err != nil {
		return err
	}
	return leave(ctx, o, b, c, t, d)
}

// watch measures the processor time of nodes whose sessions are pinged.
func watch(ctx context.Context, o *Options, b *belfry, c *clients, t *progress, d *idle) error {
	over := max(o.Idle, o.Ping) // every session is pinged once in an interval
	t.phase(0, "idle: pings every %v, watched for %v", o.Ping, over)
	before, err := c.stats(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if d.Cores, err = cores(ctx, b, over); err != nil {
		return err
	}
	after, err := c.stats(ctx)
	if err != nil {
		return err
	}
	d.Seconds = time.Since(began).Seconds()
	d.Ping = o.Ping.Seconds()
	d.Pings = after.Pings - before.Pings
	if after.PongsLost > 0 {
		return fmt.Errorf("idle: %d pongs could not be sent", after.PongsLost)
	}
	return c.verify(ctx)
}

// leave closes all connections at the clients, and reads the memory when the
// nodes have noticed.
func leave(ctx context.Context, o *Options, b *belfry, c *clients, t *progress, d *idle) error {
	t.phase(0, "idle: all clients leave")
	began := time.Now()
	if _, err := c.all(ctx, bench.Command{Op: bench.OpDrop}); err != nil {
		return err
	}
	err := until(ctx, leaveTimeout, func() error {
		n, err := b.sessions(ctx)
		if err == nil && n > 0 {
			err = fmt.Errorf("%d sessions are still open", n)
		}
		return err
	})
	if err != nil {
		return err
	}
	d.LeftIn = time.Since(began).Seconds()
	if err := bench.Sleep(ctx, o.Settle); err != nil {
		return err
	}
	r, err := readMemory(b.processes(), 0)
	d.Left = &r
	return err
}
