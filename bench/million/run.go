package million

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/measure"
	"belfry/bench/report"
	"belfry/bench/target"
	"belfry/bench/tool"
)

// measured has all measured values.
type measured struct {
	Facts  target.Facts    `json:"facts"`
	Plan   *target.Plan    `json:"plan"`
	Floor  *growth         `json:"floor,omitempty"`
	Belfry *growth         `json:"belfry,omitempty"`
	Push   *measure.Pushes `json:"push,omitempty"`
	Idle   *idle           `json:"idle,omitempty"`
}

// run is a measurement in progress.
type run struct {
	measured
	o     *Options
	p     *tool.Progress
	rep   *report.Report
	ports *target.Ports
}

// Run makes a plan and shows it. If the host can hold it, Run starts everything,
// measures, and ends every process that it started. An error with a report means
// that the run did not complete; the report has the values measured before.
func Run(ctx context.Context, o *Options, p *tool.Progress) (*report.Report, error) {
	facts, err := target.ReadFacts()
	if err != nil {
		return nil, err
	}
	plan, err := target.MakePlan(facts, target.Wanted{Connections: o.Connections, PerNode: o.PerNode})
	if plan != nil {
		p.Say("%s", plan.Text(facts))
	}
	if err != nil {
		return nil, err
	}
	rep, err := report.New("million")
	if err != nil {
		return nil, err
	}
	r := &run{o: o, p: p, rep: rep, ports: target.NewPorts(o.FirstPort), measured: measured{Facts: facts, Plan: plan}}
	defer r.ports.Release()
	err = r.parts(ctx)
	rep.End(err)
	r.fill()
	return rep, err
}

// parts does the three parts of a run one after the other, because the memory of
// the host is enough for one population only.
func (r *run) parts(ctx context.Context) error {
	if !r.o.SkipFloor {
		r.Floor = &growth{}
		f, err := target.NewFloor(r.setup())
		if err != nil {
			return err
		}
		if err := r.populate(ctx, f, true, func(pop *measure.Population) error { return r.grow(ctx, pop, r.Floor) }); err != nil {
			return err
		}
	}
	r.Belfry = &growth{}
	b, err := target.NewBelfry(r.setup("--set", "session.ping_interval=0s"))
	if err != nil {
		return err
	}
	err = r.populate(ctx, b, true, func(pop *measure.Population) error {
		if err := r.grow(ctx, pop, r.Belfry); err != nil || r.o.Push == 0 {
			return err
		}
		r.p.Step("belfry: pushes to one user during fan-outs to %d", r.o.Connections)
		r.Push, err = pop.Pushes(ctx, b, measure.ProbeOptions{Wire: r.o.wire(), Size: r.o.Size, Every: r.o.pushEvery(len(r.Plan.Nodes)), Lasting: r.o.Push})
		return err
	})
	if err != nil || r.o.Ping == 0 {
		return err
	}
	r.Idle = &idle{}
	if b, err = target.NewBelfry(r.setup("--set", "session.ping_interval="+r.o.Ping.String())); err != nil {
		return err
	}
	return r.populate(ctx, b, false, func(pop *measure.Population) error { return r.sit(ctx, pop, b) })
}

func (r *run) setup(args ...string) target.Setup {
	return target.Setup{Binary: r.o.Server, Env: r.o.Env, Args: args, Shards: r.Plan.Shards, Nodes: r.Plan.Nodes, Ports: r.ports}
}

// populate runs f with servers and their clients. The connections fill node
// after node, which are started when they are needed, or all nodes at the same
// time.
func (r *run) populate(ctx context.Context, t target.Target, inOrder bool, f func(*measure.Population) error) error {
	o := r.o.pool(r.Plan.Shards)
	o.Shares, o.InOrder = r.Plan.Shares(t.Listen), inOrder
	nodesFor := r.Plan.NodesFor
	if !inOrder {
		nodesFor = func(int) int { return len(r.Plan.Nodes) }
	}
	return measure.Populate(ctx, t, o, nodesFor, r.p, f)
}

// growth is a part in which the number of connections grows and every step has
// fan-outs.
type growth struct {
	Ramp    measure.Ramp     `json:"ramp"`
	Fanouts []measure.Fanout `json:"fanouts"` // one a step
	Empty   measure.Reading  `json:"empty"`   // all nodes, before their first connection
	Full    measure.Reading  `json:"full"`    // after the last fan-out
}

// last returns the fan-outs to all connections of the plan, nil if the run did
// not reach them.
func (g *growth) last(connections int) *measure.Fanout {
	if g == nil || len(g.Fanouts) == 0 {
		return nil
	}
	if f := &g.Fanouts[len(g.Fanouts)-1]; f.Connections == connections {
		return f
	}
	return nil
}

const (
	// enough deliveries of a step that one reading of processor time can
	// tell them from nothing.
	enough = 200_000
	// most broadcasts of a step.
	most = 200
)

// grow takes servers and clients through the steps of a part. Its results so far
// are in g even if it fails.
func (r *run) grow(ctx context.Context, pop *measure.Population, g *growth) error {
	defer func() { g.Ramp = pop.Ramp }()
	name := pop.Target.Name()
	for _, n := range r.o.steps() {
		before := len(pop.Target.Processes())
		r.p.Step("%s: starting nodes up to %d of %d", name, r.Plan.NodesFor(n), len(r.Plan.Nodes))
		if err := pop.Grow(ctx, n); err != nil {
			return err
		}
		empty, err := pop.ReadEmpty(before)
		if err != nil {
			return err
		}
		g.Empty.RSS, g.Empty.Anonymous = g.Empty.RSS+empty.RSS, g.Empty.Anonymous+empty.Anonymous
		if g.Empty.Slab == 0 { // that before the first node
			g.Empty.Slab, g.Empty.Available = empty.Slab, empty.Available
		}
		r.p.Count(n-pop.Ramp.Opened, "%s: connecting up to %d", name, n)
		if err := pop.Connect(ctx, n); err != nil {
			return err
		}
		broadcasts := r.o.Broadcasts
		if n < r.o.Connections {
			broadcasts = min(max(enough/n, 5), most)
		}
		r.p.Count(broadcasts, "%s: fan-outs to %d", name, n)
		f, err := pop.Fanout(ctx, measure.FanoutOptions{Warmups: 1, Count: broadcasts, Size: r.o.Size, Idle: time.Second})
		if err != nil {
			return err
		}
		g.Fanouts = append(g.Fanouts, f)
	}
	var err error
	g.Full, err = pop.Read()
	return err
}

// quarters is the number of steps in which the idle part connects. The memory
// slope begins after the first step, because the first connection of a process
// costs more than others.
const quarters = 4

// leaveTimeout bounds the time until every node has noticed that all clients
// left.
const leaveTimeout = 2 * time.Minute

// idle is the part in which sessions only answer pings.
type idle struct {
	Ramp     measure.Ramp      `json:"ramp"`
	Readings []measure.Reading `json:"readings"` // empty, then after each quarter
	Ping     float64           `json:"ping_seconds"`
	Seconds  float64           `json:"seconds"`    // how long it was watched
	Pings    uint64            `json:"pings"`      // that clients got meanwhile
	Cores    float64           `json:"cores"`      // of all nodes together
	Base     float64           `json:"base_cores"` // of all nodes without connections
	Left     *measure.Reading  `json:"left,omitempty"`
	LeftIn   float64           `json:"left_in_seconds"` // until no node had a session any more
}

// sit connects all clients in quarters, evenly to all nodes, reads the memory,
// watches them while they are idle, and closes them. Its results so far are in
// r.Idle even if it fails.
func (r *run) sit(ctx context.Context, pop *measure.Population, b *target.Belfry) error {
	d := r.Idle
	defer func() { d.Ramp = pop.Ramp }()
	r.p.Step("idle: starting %d nodes", len(r.Plan.Nodes))
	if err := pop.Grow(ctx, r.Plan.Connections); err != nil {
		return err
	}
	for i := range quarters + 1 {
		if i > 0 {
			r.p.Count(r.Plan.Connections/quarters, "idle: connecting, part %d of %d", i, quarters)
			if err := pop.Connect(ctx, r.Plan.Connections*i/quarters); err != nil {
				return err
			}
		}
		if i <= 1 || i == quarters { // the ends of slopes; the other readings are for the chart
			r.p.Step("idle: settling before memory is read")
			used, err := pop.Cores(ctx, r.o.Settle)
			if err != nil {
				return err
			}
			if i == 0 {
				d.Base = used
			}
		}
		x, err := pop.Read()
		if err != nil {
			return err
		}
		d.Readings = append(d.Readings, x)
	}
	if err := r.watch(ctx, pop); err != nil {
		return err
	}
	return r.leave(ctx, pop, b)
}

// watch measures the processor time of nodes whose sessions are pinged.
func (r *run) watch(ctx context.Context, pop *measure.Population) error {
	d, over := r.Idle, max(r.o.Idle, r.o.Ping) // every session is pinged once in an interval
	r.p.Step("idle: pings every %v, watched for %v", r.o.Ping, over)
	before, err := pop.Pool.Stats(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if d.Cores, err = pop.Cores(ctx, over); err != nil {
		return err
	}
	after, err := pop.Pool.Stats(ctx)
	if err != nil {
		return err
	}
	d.Seconds, d.Ping, d.Pings = time.Since(began).Seconds(), r.o.Ping.Seconds(), after.Pings-before.Pings
	if after.PongsLost > 0 {
		return fmt.Errorf("idle: %d pongs could not be sent", after.PongsLost)
	}
	return pop.Verify(ctx)
}

// leave closes all connections at the clients, and reads the memory when the
// nodes have noticed.
func (r *run) leave(ctx context.Context, pop *measure.Population, b *target.Belfry) error {
	r.p.Step("idle: all clients leave")
	began := time.Now()
	if err := pop.Pool.Drop(ctx); err != nil {
		return err
	}
	err := target.Until(ctx, leaveTimeout, b.Processes(), func() error {
		n, err := b.Sessions(ctx)
		if err == nil && n > 0 {
			err = fmt.Errorf("%d sessions are still open", n)
		}
		return err
	})
	if err != nil {
		return err
	}
	r.Idle.LeftIn = time.Since(began).Seconds()
	if err := bench.Sleep(ctx, r.o.Settle); err != nil {
		return err
	}
	x, err := pop.Read()
	r.Idle.Left = &x
	return err
}
