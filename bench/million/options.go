package million

import (
	"context"
	"fmt"
	"os"
	"time"

	"belfry/bench"
	"belfry/bench/report"
	"belfry/bench/tool"
)

// Options are the flags; see tool.Flags.
type Options struct {
	Server      string        `flag:"server" value:"bin/belfry" help:"belfry's binary"`
	Env         []string      `flag:"env" help:"NAME=VALUE for the nodes' environment (repeatable)"`
	Connections int           `flag:"connections,n" value:"1000000" range:"1..10000000" help:"connections in all"`
	PerNode     int           `flag:"per-node" range:"0..10000000" help:"most connections of a node; 0 is as many as the limit of open files allows"`
	Steps       []int         `flag:"steps" value:"1000,10000,100000" range:"1..10000000" help:"numbers of connections at which fan-outs are measured while connecting"`
	Broadcasts  int           `flag:"broadcasts" value:"10" range:"1..1000" help:"measured broadcasts to all connections"`
	Size        int           `flag:"size" value:"128" range:"51..65536" help:"payload, in bytes"`
	Topics      int           `flag:"topics" value:"100" range:"0..1000000" help:"different topics; each connection has one; 0 is none"`
	Ping        time.Duration `flag:"ping" value:"25s" range:"0|1s..1h" help:"ping interval of the idle part; 0 leaves this part out"`
	Idle        time.Duration `flag:"idle" value:"25s" range:"0s..1h" help:"how long idle connections are watched, at least one ping interval"`
	Settle      time.Duration `flag:"settle" value:"10s" range:"100ms..10m" help:"time from the last connect to reading memory"`
	Push        time.Duration `flag:"push" value:"1m" range:"0s..1h" help:"how long pushes to one user are measured; 0 leaves them out"`
	PushEvery   time.Duration `flag:"push-every" range:"0|1ms..1m" help:"time between pushes to one user; 0 is a millisecond for each node, 5 at least"`
	FirstPort   int           `flag:"first-port" value:"20000" range:"1024..65535" help:"servers listen on free loopback ports from this one upwards"`
	SkipFloor   bool          `flag:"skip-floor" help:"measure belfry alone"`
	Unpaced     bool          `flag:"unpaced" help:"all client processes connect at the same time, and their epoll sets are level-triggered"`
}

// Scenario returns the scenario of a million connections.
func Scenario() tool.Scenario {
	o := &Options{}
	return tool.Scenario{Name: "million", About: "Make a million connections on this host and measure fan-outs to them", Timeout: 40 * time.Minute,
		Long: "Make a million connections on this host and measure fan-outs to them, with the floor and with belfry.\n" +
			"It first prints what this needs, and refuses if the host does not have it.",
		Options: o, Validate: o.Validate,
		Run: func(ctx context.Context, p *tool.Progress) (*report.Report, error) { return Run(ctx, o, p) }}
}

// Validate checks the options beyond their ranges.
func (o *Options) Validate() error {
	info, err := os.Stat(o.Server)
	if err != nil {
		return fmt.Errorf("--server: %w (make build makes it)", err)
	}
	if info.IsDir() {
		return fmt.Errorf("--server %s: is a folder; belfry's binary is wanted", o.Server)
	}
	return nil
}

// pushEvery returns the time between pushes to one user. Each push goes to all
// nodes, so at a fixed rate a large cluster on one host would do nothing else.
func (o *Options) pushEvery(nodes int) time.Duration {
	if o.PushEvery > 0 {
		return o.PushEvery
	}
	return max(5*time.Millisecond, time.Duration(nodes)*time.Millisecond)
}

// steps returns the numbers of connections of a part: the requested ones below
// the whole number, rising, and the whole number.
func (o *Options) steps() []int {
	var steps []int
	for n := 0; ; {
		next := o.Connections
		for _, s := range o.Steps {
			if s > n && s < next {
				next = s
			}
		}
		steps = append(steps, next)
		if next == o.Connections {
			return steps
		}
		n = next
	}
}

// How long to wait for connections, and for the last receipt of a broadcast: a
// fixed time, and a time for each connection.
const (
	waitBase    = 2 * time.Minute
	connectEach = time.Millisecond
	receiptEach = 100 * time.Microsecond
)

// window is how many upgrades are in progress of one client: far below any
// accept queue.
const window = 256

// pool returns the clients of a part without their servers.
func (o *Options) pool(shards int) bench.PoolOptions {
	p := bench.PoolOptions{Connections: o.Connections, Window: window, Parallel: max(4, shards), Wire: o.wire(),
		ConnectTimeout: waitBase + time.Duration(o.Connections)*connectEach,
		ReceiptTimeout: waitBase + time.Duration(o.Connections)*receiptEach}
	if o.Unpaced {
		p.Parallel = 0
	}
	return p
}

func (o *Options) wire() bench.Wire {
	return bench.Wire{Path: bench.DevPath(o.Topics), Topics: o.Topics, Level: o.Unpaced}
}
