// Package figures compares belfry with the floor and makes the table of figures:
// what, reached, target, result. docs/benchmarks.md says how each is measured. It
// starts both servers, and their clients.
package figures

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"belfry/bench"
	"belfry/bench/measure"
	"belfry/bench/report"
	"belfry/bench/target"
	"belfry/bench/tool"
)

// Options are the flags; see tool.Flags.
type Options struct {
	Server       string        `flag:"server" value:"bin/belfry" help:"belfry's binary, or \"floor\" to measure the floor against itself"`
	Env          []string      `flag:"env" help:"NAME=VALUE for the server's environment (repeatable)"`
	Conns        int           `flag:"conns" value:"15000" range:"2..1000000" help:"connections"`
	Base         int           `flag:"base" value:"5000" range:"1..999999" help:"connections at which the memory slope begins"`
	Topics       int           `flag:"topics" value:"100" range:"0..1000000" help:"different topics; each connection has one"`
	Clients      int           `flag:"clients" value:"2" range:"1..100" help:"client processes, at least"`
	Shards       int           `flag:"shards" value:"cpus" range:"1..256" help:"shards of belfry and threads of the floor"`
	Rounds       int           `flag:"rounds" value:"5" range:"1..100" help:"rounds of connects, fan-out and pushes"`
	MemoryRounds int           `flag:"memory-rounds" value:"3" range:"1..100" help:"rounds of memory"`
	Broadcasts   int           `flag:"broadcasts" value:"20" range:"1..10000" help:"broadcasts in a round"`
	Size         int           `flag:"size" value:"128" range:"51..65536" help:"payload, in bytes"`
	Settle       time.Duration `flag:"settle" value:"10s" range:"0s..10m" help:"time from the last connect to reading memory"`
	Ping         time.Duration `flag:"ping" value:"10s" range:"1ms..1h" help:"ping interval of the server when memory is read after a heartbeat round"`
	Push         time.Duration `flag:"push" value:"6s" range:"1ms..1h" help:"how long pushes to one user are measured in a round"`
	PushEvery    time.Duration `flag:"push-every" value:"5ms" range:"1µs..1m" help:"time between pushes to one user"`
	Rates        []int         `flag:"rates" value:"2,5,10,20,50,100" range:"1..10000" help:"messages a second of the streams to all, one after the other"`
	RateTime     time.Duration `flag:"rate-time" value:"8s" range:"1ms..1h" help:"how long each rate but the last is kept up"`
	RateLast     time.Duration `flag:"rate-last" value:"1m" range:"1ms..1h" help:"how long the last rate is kept up"`
	Only         tool.List     `flag:"only" value:"memory,fanout,push,rates,allocs" help:"parts to measure; there is also variants"`

	variant variant // what the clients of this measurement speak
}

// parts of the measurement, for --only. The last is measured only when it is
// named.
var parts = []string{"memory", "fanout", "push", "rates", "allocs", "variants"}

// theFloor is the --server that measures the floor against itself.
const theFloor = "floor"

// Scenario returns the scenario of the figures.
func Scenario() tool.Scenario {
	o := &Options{}
	return tool.Scenario{Name: "figures", About: "Measure belfry against the floor and print the table of figures", Timeout: 10 * time.Minute,
		Options: o, Validate: o.Validate,
		Run: func(ctx context.Context, p *tool.Progress) (*report.Report, error) { return Run(ctx, o, p) }}
}

// Validate checks the options beyond their ranges.
func (o *Options) Validate() error {
	if o.Base >= o.Conns {
		return fmt.Errorf("--base %d: allowed are 1 to %d", o.Base, o.Conns-1)
	}
	for _, p := range o.Only {
		if !slices.Contains(parts, p) {
			return fmt.Errorf("--only %s: allowed are %s", p, strings.Join(parts, ", "))
		}
	}
	if o.Server == theFloor {
		return nil
	}
	if _, err := os.Stat(o.Server); err != nil {
		return fmt.Errorf("--server: %w (make build makes it)", err)
	}
	return nil
}

func (o *Options) measures(part string) bool { return slices.Contains(o.Only, part) }

// firstPort is where the ports of the servers begin.
const firstPort = 20_000

// populate runs f with a server and its clients: the floor, or the server that
// --server names, with further environment.
func (o *Options) populate(ctx context.Context, p *tool.Progress, floor bool, env []string, f func(*measure.Population) error) error {
	ports := target.NewPorts(firstPort)
	defer ports.Release()
	setup := target.Setup{Binary: o.Server, Env: append(env, o.Env...), Shards: o.Shards, Nodes: []target.Node{{Ports: 1}}, Ports: ports,
		Document: o.variant.Document}
	var t target.Target
	var err error
	if floor || o.Server == theFloor {
		t, err = target.NewFloor(setup)
	} else {
		t, err = target.NewBelfry(setup)
	}
	if err != nil {
		return err
	}
	return measure.Populate(ctx, t, bench.PoolOptions{Connections: o.Conns, Targets: t.Listen(0), Processes: o.Clients, Wire: o.wire()},
		measure.OneNode, p, f)
}
