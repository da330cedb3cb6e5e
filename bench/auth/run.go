package auth

import (
	"context"
	"os"

	"belfry/bench"
	"belfry/bench/measure"
	"belfry/bench/report"
	"belfry/bench/target"
	"belfry/bench/tool"
)

// measured has all measured values.
type measured struct {
	Connects map[string][]connects `json:"connects,omitempty"` // by algorithm, "none" for no token
	Shared   map[string][]connects `json:"shared,omitempty"`   // the same, where connections of a user share a token
	Memory   map[string][]memory   `json:"memory,omitempty"`   // by what the tokens say
	Storms   []storm               `json:"storms,omitempty"`
}

// run is a measurement in progress.
type run struct {
	measured
	o      *Options
	p      *tool.Progress
	folder string // for keys and tokens
	ports  *target.Ports
}

// Run carries out o.
func Run(ctx context.Context, o *Options, p *tool.Progress) (*report.Report, error) {
	rep, err := report.New("auth")
	if err != nil {
		return nil, err
	}
	r := &run{o: o, p: p, ports: target.NewPorts(o.FirstPort)}
	defer r.ports.Release()
	if r.folder, err = os.MkdirTemp("", "belfry-bench-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(r.folder)
	rep.Detail = &r.measured
	steps := 0
	for part, n := range map[string]int{"connects": o.Rounds * len(o.Algorithms) * min(o.PerUser, 2), "memory": o.MemoryRounds * len(grants), "storm": o.Storms * storms} {
		if o.measures(part) {
			steps += n
		}
	}
	p.Begin(steps)
	err = r.parts(ctx)
	rep.End(err)
	r.fill(rep)
	return rep, err
}

func (r *run) parts(ctx context.Context) error {
	for _, part := range []struct {
		name    string
		measure func(context.Context) error
	}{{"connects", r.measureConnects}, {"memory", r.measureMemory}, {"storm", r.measureStorms}} {
		if !r.o.measures(part.name) {
			continue
		}
		if err := part.measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// server is a node and how its clients talk to it.
type server struct {
	env, args []string
	wire      bench.Wire
	window    int // connections in progress at once in a client process; 0: the pool's default
}

// proven is a node that accepts no user without a token, on which nothing else
// than for --dev differs.
func proven(i *issuer, tokens string) server {
	env, args := i.server()
	return server{env: env, args: append(args, "--dev=false", "--set", "shutdown.delay=0s"), wire: bench.Wire{Path: "/ws", Tokens: tokens}}
}

// populate runs f with a node and its clients.
func (r *run) populate(ctx context.Context, s server, connections int, f func(*measure.Population, *target.Belfry) error) error {
	b, err := target.NewBelfry(target.Setup{Binary: r.o.Server, Env: s.env, Shards: r.o.Shards, Ports: r.ports,
		Nodes: []target.Node{{Connections: connections, Ports: 1}}, Args: append(s.args, "--set", "session.ping_interval=0s")})
	if err != nil {
		return err
	}
	pool := bench.PoolOptions{Connections: connections, Targets: b.Listen(0), Processes: r.o.Clients, Window: s.window, Wire: s.wire}
	return measure.Populate(ctx, b, pool, measure.OneNode, r.p, func(pop *measure.Population) error { return f(pop, b) })
}
