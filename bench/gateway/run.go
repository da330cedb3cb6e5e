package gateway

import (
	"context"
	"fmt"
	"os"
	"time"

	"belfry/bench"
	"belfry/bench/measure"
	"belfry/bench/publish"
	"belfry/bench/report"
	"belfry/bench/target"
	"belfry/bench/tool"
)

// patience is how long the last answers may take.
const patience = 10 * time.Second

// probeUser is the user who gets the pushes. No other connection has its number.
const probeUser = 999_999_998

// round has the measured values of one round.
type round struct {
	Trips bench.Echoed `json:"trips"` // each client sends the next message when the last is back
	Idle  pushed       `json:"idle"`  // pushes to another user
	Rate  loaded       `json:"rate"`  // at Options.Rate
	Half  loaded       `json:"half"`  // at half of the rate of Trips
	Hangs loaded       `json:"hangs"` // at Options.Rate, the backend does not answer
}

// loaded is pushes during a load in the same node, and beside it.
type loaded struct {
	In     pushed `json:"in"`     // the load is on the node with the pushes
	Beside pushed `json:"beside"` // the load is on another node
}

// pushed is pushes to a user who does nothing else.
type pushed struct {
	measure.Probed
	Echo    bench.Echoed `json:"echo"`
	Node    float64      `json:"node_processors"`    // that the node with the load used
	Backend float64      `json:"backend_processors"` // that this process used: the backend and the pushes
}

type run struct {
	Rounds  []*round `json:"rounds"`
	o       *Options
	p       *tool.Progress
	ports   *target.Ports
	backend *target.Backend
}

// Run carries out o. Each part has a node of its own.
func Run(ctx context.Context, o *Options, p *tool.Progress) (*report.Report, error) {
	rep, err := report.New("gateway")
	if err != nil {
		return nil, err
	}
	r := &run{o: o, p: p, ports: target.NewPorts(o.FirstPort)}
	defer r.ports.Release()
	if r.backend, err = target.StartBackend(echo); err != nil {
		return nil, err
	}
	defer r.backend.Stop()
	rep.Detail = r
	p.Begin(o.Rounds * r.steps())
	for range o.Rounds {
		one := &round{}
		r.Rounds = append(r.Rounds, one)
		if err = r.parts(ctx, one); err != nil {
			break
		}
	}
	rep.End(err)
	r.fill(rep)
	return rep, err
}

// steps is how many nodes with pushes or round trips a round has.
func (r *run) steps() (n int) {
	for _, part := range r.o.Only {
		n++
		if part != "trips" && part != "idle" && !r.o.Alone {
			n++
		}
	}
	return n
}

func (r *run) parts(ctx context.Context, one *round) error {
	r.backend.Hangs.Store(false)
	if r.o.measures("trips") {
		err := r.populate(ctx, "round trips", func(ctx context.Context, pop *measure.Population, _ *target.Belfry) (err error) {
			one.Trips, err = r.echo(ctx, pop, 0, patience)
			return err
		})
		if err != nil {
			return err
		}
	}
	if r.o.measures("idle") {
		if err := r.pushes(ctx, "pushes, idle", &one.Idle, nil, false); err != nil {
			return err
		}
	}
	for _, load := range []struct {
		part, what string
		into       *loaded
		rate       float64
		hangs      bool
	}{
		{"rate", fmt.Sprintf("pushes at %d messages/s", r.o.Rate), &one.Rate, float64(r.o.Rate), false},
		{"half", "pushes at half of the rate of round trips", &one.Half, perSecond(one.Trips) / 2, false},
		{"hangs", "pushes while the backend hangs", &one.Hangs, float64(r.o.Rate), true},
	} {
		if !r.o.measures(load.part) {
			continue
		}
		r.backend.Hangs.Store(load.hangs)
		wait := patience
		if load.hangs {
			wait = 0 // nothing comes back
		}
		send := func(ctx context.Context, pop *measure.Population) (bench.Echoed, error) {
			return r.echo(ctx, pop, load.rate, wait)
		}
		if err := r.pushes(ctx, load.what, &load.into.In, send, false); err != nil {
			return err
		}
		if r.o.Alone {
			continue
		}
		if err := r.pushes(ctx, load.what+" on another node", &load.into.Beside, send, true); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) echo(ctx context.Context, pop *measure.Population, rate float64, patience time.Duration) (bench.Echoed, error) {
	return pop.Pool.Echo(ctx, bench.Echo{Rate: rate, Size: r.o.Size, Duration: int64(r.o.Duration), Grace: int64(patience)})
}

var wire = bench.Wire{Path: bench.DevPath(0)}

// node returns a node that is not started.
func (r *run) node(connections int) (*target.Belfry, error) {
	route := fmt.Sprintf(`gateway.routes={name: echo, url: "%s", in_flight: %d, timeout: 5s}`, r.backend.URL, r.o.InFlight)
	return target.NewBelfry(target.Setup{Binary: r.o.Server, Shards: r.o.Shards, Nodes: []target.Node{{Connections: connections, Ports: 1}}, Ports: r.ports,
		Args: []string{"--set", route, "--set", "session.ping_interval=0s"}})
}

// populate runs f with a node and its clients.
func (r *run) populate(ctx context.Context, what string, f func(context.Context, *measure.Population, *target.Belfry) error) error {
	r.p.Step("%s", what)
	b, err := r.node(r.o.Connections)
	if err != nil {
		return err
	}
	pool := bench.PoolOptions{Connections: r.o.Connections, Targets: b.Listen(0), Wire: wire}
	return measure.Populate(ctx, b, pool, measure.OneNode, r.p, func(pop *measure.Population) error {
		if err := pop.Connect(ctx, r.o.Connections); err != nil {
			return err
		}
		return f(ctx, pop, b)
	})
}

// pushes pushes to a user who does nothing else, during load if there is one. With
// beside the user is on a node of its own.
func (r *run) pushes(ctx context.Context, what string, to *pushed, load func(context.Context, *measure.Population) (bench.Echoed, error), beside bool) error {
	return r.populate(ctx, what, func(ctx context.Context, pop *measure.Population, b *target.Belfry) error {
		busy := b.Processes()[0].PID()
		if beside {
			other, err := r.node(1)
			if err != nil {
				return err
			}
			defer other.Stop()
			if err := other.Grow(ctx, 1); err != nil {
				return err
			}
			b = other
		}
		probe, err := measure.StartProbe(ctx, bench.Dial{Targets: b.Listen(0), First: probeUser, Next: pop.Pool.Next(), Wire: wire},
			target.Conn(publish.ToUser(b.API(0))), b.API(0))
		if err != nil {
			return err
		}
		defer probe.Stop()
		// They are clients on other machines, which would not take the node's processors.
		if err := pop.Pool.Background(); err != nil {
			return err
		}
		err = r.during(ctx, to, busy, func() (bench.Echoed, error) {
			if load == nil {
				return bench.Echoed{}, nil
			}
			return load(ctx, pop)
		}, func() error { return probe.Push(ctx, r.o.Size, r.o.PushEvery, r.o.Duration) })
		if err != nil {
			return err
		}
		to.Probed, err = probe.Result(ctx, pop.Pool.Next())
		return err
	})
}

// during runs load and push at the same time, and measures the processors that the
// node and the backend use until push ends.
func (r *run) during(ctx context.Context, to *pushed, node int, load func() (bench.Echoed, error), push func() error) error {
	ended := make(chan error, 1)
	begin := time.Now()
	before, err := cpuOf(node, os.Getpid())
	if err != nil {
		return err
	}
	go func() {
		var err error
		to.Echo, err = load()
		ended <- err
	}()
	failed := push()
	took := time.Since(begin).Seconds()
	after, err := cpuOf(node, os.Getpid())
	if err := <-ended; err != nil {
		return err
	}
	to.Node, to.Backend = (after[0]-before[0]).Seconds()/took, (after[1]-before[1]).Seconds()/took
	if failed != nil {
		return failed
	}
	return err
}

func cpuOf(pids ...int) (cpu [2]time.Duration, err error) {
	for i, pid := range pids {
		if cpu[i], err = bench.ProcessCPU(pid); err != nil {
			return cpu, err
		}
	}
	return cpu, nil
}

func perSecond(e bench.Echoed) float64 {
	return float64(e.Back) / (float64(max(e.End-e.Start, 1)) / 1e9)
}
