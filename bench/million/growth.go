package million

import (
	"context"
	"fmt"
	"math"
	"time"

	"belfry/bench"
)

const (
	// warmups are broadcasts before those that count: the first touches the
	// send path of every socket.
	warmups = 1
	// enough deliveries of a step that one reading of processor time can
	// tell them from nothing.
	enough = 200_000
	// most broadcasts of a step.
	most = 200
	// rest is the time for nodes to finish their work after a fan-out, when the
	// clients already have all bytes.
	rest = 200 * time.Millisecond
)

// fanout is a number of broadcasts to a number of connections.
type fanout struct {
	Connections int          `json:"connections"`
	Nodes       int          `json:"nodes"`
	CPU         float64      `json:"cpu_us"`         // of all nodes, per delivery, in µs
	Clients     float64      `json:"clients_cpu_us"` // of the client processes, per receipt
	Wall        float64      `json:"wall_ms"`        // publish → last receipt, median, in ms
	Walls       []float64    `json:"walls_ms"`
	Idle        float64      `json:"idle_cores"` // cores that the nodes use without fan-outs
	Curve       []curvePoint `json:"curve"`      // of the one whose wall is nearest the median
}

// each is the time to the last receipt per connection, in µs.
func (f *fanout) each() float64 { return f.Wall * 1e3 / float64(f.Connections) }

// after returns the time in ms until a share of the connections had the
// message.
func (f *fanout) after(share float64) float64 {
	for _, p := range f.Curve {
		if p.Share >= share {
			return p.Seconds * 1e3
		}
	}
	return f.Wall
}

// reached returns when half of the clients and when nearly all had the message.
func (f *fanout) reached() string { return fmt.Sprintf("%.0f and %.0f", f.after(0.5), f.after(0.99)) }

// nodesFor returns how many nodes hold the first n connections.
func (p *Plan) nodesFor(n int) int {
	for i, node := range p.Nodes {
		if n -= node.Connections; n <= 0 {
			return i + 1
		}
	}
	return len(p.Nodes)
}

// grow takes servers and clients through the steps of a part. Its results so
// far are in g even if it fails.
func grow(ctx context.Context, o *Options, p *Plan, s servers, c *clients, t *progress, g *growth) error {
	for _, n := range o.steps() {
		before := len(s.processes())
		nodes := p.nodesFor(n)
		t.phase(0, "%s: starting nodes up to %d of %d", s.name(), nodes, len(p.Nodes))
		if err := s.grow(ctx, nodes); err != nil {
			return err
		}
		if err := c.grow(ctx, nodes); err != nil {
			return err
		}
		if err := g.empty(s.processes()[before:]); err != nil {
			return err
		}
		t.phase(n-c.open(), "%s: connecting up to %d", s.name(), n)
		if err := c.connect(ctx, &g.Ramp, upTo(n)); err != nil {
			return err
		}
		broadcasts := o.Broadcasts
		if n < o.Connections {
			broadcasts = min(max(enough/n, 5), most)
		}
		t.phase(warmups+broadcasts, "%s: fan-outs to %d", s.name(), n)
		f, err := measureFanout(ctx, c, s, broadcasts, t)
		if err != nil {
			return err
		}
		g.Fanouts = append(g.Fanouts, f)
	}
	var err error
	g.Full, err = readMemory(s.processes(), c.open())
	return err
}

// empty adds the memory of nodes without connections. The slab is that before
// the first node.
func (g *growth) empty(processes []*bench.Process) error {
	r, err := readMemory(processes, 0)
	if err != nil {
		return err
	}
	g.Empty.RSS += r.RSS
	g.Empty.Anonymous += r.Anonymous
	if g.Empty.Slab == 0 {
		g.Empty.Slab, g.Empty.Available = r.Slab, r.Available
	}
	return nil
}

// measureFanout sends broadcasts one after the other and waits for all
// receivers after each. It reads the processor time of the nodes before the
// first and after the last.
func measureFanout(ctx context.Context, c *clients, s servers, broadcasts int, t *progress) (fanout, error) {
	f := fanout{Connections: c.open(), Nodes: len(s.processes())}
	for range warmups {
		if _, _, err := c.broadcast(ctx, 1); err != nil {
			return f, err
		}
		t.add(1)
	}
	var err error
	if f.Idle, err = cores(ctx, s, time.Second); err != nil {
		return f, err
	}
	before, err := cpuOf(s.processes())
	if err != nil {
		return f, err
	}
	clientsBefore, err := cpuOf(c.processes())
	if err != nil {
		return f, err
	}
	curves := make([][]curvePoint, broadcasts)
	for i := range broadcasts {
		took, curve, err := c.broadcast(ctx, curvePoints)
		if err != nil {
			return f, fmt.Errorf("broadcast %d of %d: %w", i+1, broadcasts, err)
		}
		f.Walls = append(f.Walls, took.Seconds()*1e3)
		curves[i] = curve
		t.add(1)
	}
	if err := bench.Sleep(ctx, rest); err != nil {
		return f, err
	}
	after, err := cpuOf(s.processes())
	if err != nil {
		return f, err
	}
	clientsAfter, err := cpuOf(c.processes())
	if err != nil {
		return f, err
	}
	f.Clients = (clientsAfter - clientsBefore).Seconds() * 1e6 / float64(broadcasts*f.Connections)
	f.CPU = (after - before).Seconds() * 1e6 / float64(broadcasts*f.Connections)
	f.Wall = bench.Median(f.Walls)
	f.Curve = curves[nearest(f.Walls, f.Wall)]
	return f, c.verify(ctx)
}

// nearest returns the index of the value nearest to v.
func nearest(values []float64, v float64) int {
	best := 0
	for i := range values {
		if math.Abs(values[i]-v) < math.Abs(values[best]-v) {
			best = i
		}
	}
	return best
}

// cores returns how many processors all nodes together use during a time.
func cores(ctx context.Context, s servers, over time.Duration) (float64, error) {
	before, err := cpuOf(s.processes())
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := bench.Sleep(ctx, over); err != nil {
		return 0, err
	}
	took := time.Since(began)
	after, err := cpuOf(s.processes())
	return (after - before).Seconds() / took.Seconds(), err
}
