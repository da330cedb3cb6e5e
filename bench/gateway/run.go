package gateway

import (
	"context"
	"fmt"
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

// measured has all measured values.
type measured struct {
	Closed bench.Echoed   `json:"closed"` // each client sends the next message when the last is back
	Half   bench.Echoed   `json:"half"`   // at half of that rate
	Idle   measure.Probed `json:"idle"`   // pushes to another user
	Busy   measure.Probed `json:"busy"`
	Hangs  measure.Probed `json:"hangs"`
}

type run struct {
	measured
	o       *Options
	p       *tool.Progress
	ports   *target.Ports
	backend *backend
}

// Run carries out o. Each part has a node of its own.
func Run(ctx context.Context, o *Options, p *tool.Progress) (*report.Report, error) {
	rep, err := report.New("gateway")
	if err != nil {
		return nil, err
	}
	r := &run{o: o, p: p, ports: target.NewPorts(o.FirstPort)}
	defer r.ports.Release()
	if r.backend, err = startBackend(); err != nil {
		return nil, err
	}
	defer r.backend.stop()
	rep.Detail = &r.measured
	p.Begin(4)
	err = r.parts(ctx)
	rep.End(err)
	r.fill(rep)
	return rep, err
}

func (r *run) parts(ctx context.Context) error {
	err := r.populate(ctx, "round trips", func(ctx context.Context, pop *measure.Population, _ *target.Belfry) (err error) {
		r.Closed, err = r.echo(ctx, pop, 0)
		return err
	})
	if err != nil {
		return err
	}
	if err := r.pushes(ctx, "pushes, idle", &r.Idle, nil); err != nil {
		return err
	}
	rate := perSecond(r.Closed) / 2
	err = r.pushes(ctx, "pushes at half the rate", &r.Busy, func(ctx context.Context, pop *measure.Population) (err error) {
		r.Half, err = r.echo(ctx, pop, rate)
		return err
	})
	if err != nil {
		return err
	}
	r.backend.hangs.Store(true)
	return r.pushes(ctx, "pushes while the backend hangs", &r.Hangs, func(ctx context.Context, pop *measure.Population) error {
		_, err := r.echo(ctx, pop, rate) // nothing comes back
		return err
	})
}

func (r *run) echo(ctx context.Context, pop *measure.Population, rate float64) (bench.Echoed, error) {
	return pop.Pool.Echo(ctx, bench.Echo{Rate: rate, Size: r.o.Size, Duration: int64(r.o.Duration), Grace: int64(patience)})
}

// populate runs f with a node and its clients.
func (r *run) populate(ctx context.Context, what string, f func(context.Context, *measure.Population, *target.Belfry) error) error {
	r.p.Step("%s", what)
	route := fmt.Sprintf(`gateway.routes={name: echo, url: "%s", in_flight: %d, timeout: 5s}`, r.backend.url, r.o.InFlight)
	b, err := target.NewBelfry(target.Setup{Binary: r.o.Server, Shards: r.o.Shards, Nodes: []target.Node{{Connections: r.o.Connections, Ports: 1}}, Ports: r.ports,
		Args: []string{"--set", route, "--set", "session.ping_interval=0s"}})
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

var wire = bench.Wire{Path: bench.DevPath(0)}

// pushes pushes to a user who does nothing else, during load if there is one.
func (r *run) pushes(ctx context.Context, what string, to *measure.Probed, load func(context.Context, *measure.Population) error) error {
	return r.populate(ctx, what, func(ctx context.Context, pop *measure.Population, b *target.Belfry) error {
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
		loaded := make(chan error, 1)
		go func() {
			if load == nil {
				loaded <- nil
				return
			}
			loaded <- load(ctx, pop)
		}()
		pushed := probe.Push(ctx, r.o.Size, r.o.PushEvery, r.o.Duration)
		if err := <-loaded; err != nil {
			return err
		}
		if pushed != nil {
			return pushed
		}
		*to, err = probe.Result(ctx, pop.Pool.Next())
		return err
	})
}

func perSecond(e bench.Echoed) float64 {
	return float64(e.Back) / (float64(max(e.End-e.Start, 1)) / 1e9)
}

// fill makes the rows of the report.
func (r *run) fill(rep *report.Report) {
	rep.Rows = append(rep.Rows, bench.Row{What: "round trips client → backend → client", Value: perSecond(r.Closed), Format: "%.0f/s", Target: 8000, Bound: bench.AtLeast})
	rep.Figure("lost", float64(r.Closed.Sent-r.Closed.Back+r.Half.Sent-r.Half.Back), "")
	rep.Figure("rate with pushes to others", perSecond(r.Half), "/s")
	if lost := r.Closed.Sent - r.Closed.Back + r.Half.Sent - r.Half.Back; lost > 0 {
		rep.Problem("%d messages did not come back", lost)
	}
	for _, part := range []struct {
		what string
		p    measure.Probed
	}{{"idle", r.Idle}, {"at half the rate", r.Busy}, {"while the backend hangs", r.Hangs}} {
		rep.Figure("p99 of a push in the node, "+part.what, float64(part.p.Server.P99)/1e3, "µs")
		rep.Figure("p99 of a push to its receipt, "+part.what, float64(part.p.Client.P99)/1e3, "µs")
	}
	for _, ratio := range []struct {
		what string
		p    measure.Probed
	}{{"at half the rate", r.Busy}, {"while the backend hangs", r.Hangs}} {
		rep.Rows = append(rep.Rows, bench.Row{What: "p99 of a push in the node, " + ratio.what + " ÷ idle", Format: "%.2f ×",
			Value: float64(ratio.p.Server.P99) / float64(max(r.Idle.Server.P99, 1)), Target: 2, Bound: bench.AtMost})
	}
}
