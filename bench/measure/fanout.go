package measure

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/target"
)

// FanoutOptions says which broadcasts to measure.
type FanoutOptions struct {
	Warmups int // broadcasts before those that count: the first uses the send path of every socket for the first time
	Count   int
	Size    int           // of the payload, in bytes
	Idle    time.Duration // how long the nodes are watched before, without broadcasts; 0 leaves it out
}

// Fanout is the cost of a number of broadcasts to a number of connections.
type Fanout struct {
	Connections int             `json:"connections"`
	Nodes       int             `json:"nodes"`
	Threads     int             `json:"threads,omitempty"` // of the floor
	CPU         float64         `json:"cpu_us"`            // of all nodes, per delivery, in µs
	Wall        float64         `json:"wall_ms"`           // publish → last receipt, median, in ms
	Walls       []float64       `json:"walls_ms"`
	Receipt     bench.Quantiles `json:"receipt"`              // publish → receipt, over all connections
	Idle        float64         `json:"idle_cores,omitempty"` // cores that the nodes use without broadcasts
	Clients     ClientLoad      `json:"clients"`

	Receipts *bench.Histogram `json:"-"` // publish → receipt
}

// ClientLoad shows how much the clients, which share processors with the server,
// may have disturbed it.
type ClientLoad struct {
	CPU     float64 `json:"cpu_us"`        // of all of them, µs a receipt
	Starved float64 `json:"starved"`       // share of the time in which one was ready to run and had no processor, on average
	Gap     float64 `json:"read_delay_ms"` // longest time that received data waited to be read
}

// Each is the time to the last receipt per connection, in µs.
func (f *Fanout) Each() float64 { return f.Wall * 1e3 / float64(f.Connections) }

// Broadcast sends one message to all and waits for the last receipt.
func (p *Population) Broadcast(ctx context.Context, size int) (time.Duration, error) {
	return p.Pool.Broadcast(ctx, func(ctx context.Context, seq uint32) (int64, error) { return p.Target.Broadcast(ctx, seq, size) })
}

// Broadcasts sends n messages to all: the next when all have the last one and the
// interval is over. It returns how long each took to the last receipt, in ms;
// with an error, of those before it.
func (p *Population) Broadcasts(ctx context.Context, n, size int, interval time.Duration) (walls []float64, err error) {
	begun := time.Now()
	for i := range n {
		took, err := p.Broadcast(ctx, size)
		if err != nil {
			return walls, fmt.Errorf("message %d of %d: %w", i+1, n, err)
		}
		walls = append(walls, took.Seconds()*1e3)
		p.Progress.Set(i+1, "%d of %d messages, the last reached all in %.0f ms", i+1, n, walls[i])
		if next := time.Duration(i+1) * interval; i+1 < n && next > 0 {
			if err := bench.Sleep(ctx, time.Until(begun.Add(next))); err != nil {
				return walls, err
			}
		}
	}
	return walls, nil
}

// Fanout measures broadcasts, one after the other. It reads the processor time
// of the nodes when they have finished their work before the first and after the
// last.
func (p *Population) Fanout(ctx context.Context, o FanoutOptions) (f Fanout, err error) {
	f.Connections, f.Nodes = p.Pool.Open(), len(p.Target.Processes())
	if _, err = p.Broadcasts(ctx, o.Warmups, o.Size, 0); err != nil {
		return f, err
	}
	if o.Idle > 0 {
		if f.Idle, err = p.Cores(ctx, o.Idle); err != nil {
			return f, err
		}
	}
	if err = p.Pool.Mark(ctx); err != nil {
		return f, err
	}
	before, err := p.SettledCPU(ctx)
	if err != nil {
		return f, err
	}
	clients, err := p.Pool.Stats(ctx)
	if err != nil {
		return f, err
	}
	if f.Walls, err = p.Broadcasts(ctx, o.Count, o.Size, 0); err != nil {
		return f, err
	}
	after, err := p.SettledCPU(ctx)
	if err != nil {
		return f, err
	}
	stats, err := p.Pool.Stats(ctx)
	if err != nil {
		return f, err
	}
	deliveries := float64(o.Count * f.Connections)
	f.CPU, f.Wall = (after-before).Seconds()*1e6/deliveries, bench.Median(f.Walls)
	f.Receipts, f.Receipt = stats.Broadcasts, stats.Broadcasts.Quantiles()
	_, starved := bench.Busy(clients, stats)
	f.Clients = ClientLoad{CPU: float64(stats.CPU-clients.CPU) / 1e3 / deliveries, Gap: float64(stats.Gap) / 1e6,
		Starved: starved / float64(len(p.Pool.Processes()))}
	return f, p.Verify(ctx)
}

// Limits of SettledCPU.
const (
	settlePause   = 5 * time.Millisecond
	settled       = 100 * time.Microsecond // a node that uses less in a pause has finished
	settleLimit   = time.Second
	clusterSettle = 200 * time.Millisecond // nodes of a cluster are never all idle
)

// SettledCPU reads the processor time of the nodes when they have finished their
// work. A runtime that is never idle is read after a second, a cluster after
// 200 ms.
func (p *Population) SettledCPU(ctx context.Context) (time.Duration, error) {
	limit := settleLimit
	if len(p.Target.Processes()) > 1 {
		limit = clusterSettle
	}
	last := time.Duration(-time.Hour)
	for begun := time.Now(); ; {
		now, err := target.CPU(p.Target.Processes())
		if err != nil || now-last < settled || time.Since(begun) > limit {
			return now, err
		}
		last = now
		if err := bench.Sleep(ctx, settlePause); err != nil {
			return 0, err
		}
	}
}

// Cores returns how many processors all nodes together use during a time.
func (p *Population) Cores(ctx context.Context, over time.Duration) (float64, error) {
	before, err := target.CPU(p.Target.Processes())
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := bench.Sleep(ctx, over); err != nil {
		return 0, err
	}
	took := time.Since(began)
	after, err := target.CPU(p.Target.Processes())
	return (after - before).Seconds() / took.Seconds(), err
}
