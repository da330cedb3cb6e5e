package measure

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
)

// Reading is the memory of all nodes at one number of connections, in bytes.
type Reading struct {
	Connections int `json:"connections"`
	bench.Memory
	Slab      int64 `json:"slab"`      // of the kernel: both ends of every connection
	Available int64 `json:"available"` // MemAvailable of the host
}

// Values of a Reading, for Slope.
func RSS(r Reading) int64       { return r.RSS }
func Anonymous(r Reading) int64 { return r.Anonymous }
func Slab(r Reading) int64      { return r.Slab }

// Slope is bytes a connection between two readings, so that what the processes
// need once cancels out.
func Slope(low, high Reading, value func(Reading) int64) float64 {
	return float64(value(high)-value(low)) / float64(high.Connections-low.Connections)
}

// Read reads the memory.
func (p *Population) Read() (Reading, error) {
	return read(p.Target.Processes(), p.Pool.Open())
}

// ReadEmpty reads the memory of the nodes from the given one on, as they are
// without connections.
func (p *Population) ReadEmpty(from int) (Reading, error) {
	return read(p.Target.Processes()[from:], 0)
}

func read(processes []*bench.Process, connections int) (r Reading, err error) {
	r.Connections = connections
	for _, p := range processes {
		m, err := bench.ReadMemory(p.PID())
		if err != nil {
			return r, err
		}
		r.RSS += m.RSS
		r.Anonymous += m.Anonymous
	}
	v, err := bench.Meminfo("Slab", "MemAvailable")
	if err == nil {
		r.Slab, r.Available = v[0], v[1]
	}
	return r, err
}

// Heartbeat waits until every connection was pinged once more and has answered;
// the server pings at an interval.
func (p *Population) Heartbeat(ctx context.Context, interval time.Duration) error {
	if err := p.Pool.Mark(ctx); err != nil {
		return err
	}
	limit := 3*interval + 5*time.Second
	for deadline := time.Now().Add(limit); ; {
		sum, err := p.Pool.Stats(ctx)
		if err != nil {
			return err
		}
		if sum.MinPings >= 1 {
			return bench.Sleep(ctx, 500*time.Millisecond) // the last pongs arrive
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not every session was pinged within %v at an interval of %v: %d pings, %d connections open, ended: %s",
				limit, interval, sum.Pings, sum.Open, bench.Causes(sum.Ended))
		}
		if err := bench.Sleep(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
}
