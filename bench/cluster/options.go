// Package cluster measures what the nodes of belfry know of each other's users: the
// presence of a user, which nodes get a push, a node that joins, memory, and what idle
// nodes cost.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"belfry/bench/report"
	"belfry/bench/tool"
)

// Options are the flags; see tool.Flags.
type Options struct {
	Server      string        `flag:"server" value:"bin/belfry" help:"belfry's binary"`
	Before      string        `flag:"before" help:"another binary of belfry, with which the cost of idle nodes is compared"`
	Connections int           `flag:"connections,n" value:"15000" range:"20..100000" help:"sessions of each of the three nodes"`
	PerUser     int           `flag:"per-user" value:"10" range:"1..1000" help:"sessions of each user, all on one node"`
	Asks        int           `flag:"asks" value:"5000" range:"100..10000000" help:"questions about the presence of a user"`
	Pushes      int           `flag:"pushes" value:"2000" range:"10..1000000" help:"pushes of which the messages between nodes are counted, for each kind of home"`
	PushEvery   time.Duration `flag:"push-every" value:"2ms" range:"100us..1s" help:"time between pushes while a node joins"`
	Join        time.Duration `flag:"join" value:"6s" range:"1s..1h" help:"how long pushes are measured while a node joins"`
	Size        int           `flag:"size" value:"128" range:"51..65536" help:"payload, in bytes"`
	Idle        int           `flag:"idle" value:"53" range:"2..500" help:"idle nodes"`
	Settle      time.Duration `flag:"settle" value:"20s" range:"0s..1h" help:"pause before the cost of idle nodes is measured"`
	IdleTime    time.Duration `flag:"idle-time" value:"60s" range:"1s..1h" help:"how long it is measured"`
	Rounds      int           `flag:"rounds" value:"3" range:"1..100" help:"rounds, each with a cluster of its own"`
	Only        tool.List     `flag:"only" value:"presence,push,join,single,idle" help:"parts to measure"`
	Shards      int           `flag:"shards" value:"1" range:"1..256" help:"shards of a node"`
	FirstPort   int           `flag:"first-port" value:"20000" range:"1024..65535" help:"servers listen on free loopback ports from this one upwards"`
}

// parts of the measurement, for --only.
var parts = []string{"presence", "push", "join", "single", "idle"}

// Scenario returns the scenario of the cluster.
func Scenario() tool.Scenario {
	o := &Options{}
	return tool.Scenario{Name: "cluster", About: "Measure what nodes know of each other's users, and what that costs", Timeout: 30 * time.Minute,
		Long: "Start three nodes with clients, several for each user. Ask random nodes for the presence of\n" +
			"random users. Push to users, and count which nodes get a message. Start a fourth node\n" +
			"while users get pushes. Compare what idle nodes cost with another binary (--before).",
		Options: o, Validate: o.validate,
		Run: func(ctx context.Context, p *tool.Progress) (*report.Report, error) { return Run(ctx, o, p) }}
}

func (o *Options) validate() error {
	var errs []error
	for _, p := range o.Only {
		if !slices.Contains(parts, p) {
			errs = append(errs, fmt.Errorf("--only %s: allowed are %s", p, strings.Join(parts, ", ")))
		}
	}
	if o.Connections%o.PerUser != 0 {
		errs = append(errs, fmt.Errorf("--connections %d: must be a multiple of --per-user (%d)", o.Connections, o.PerUser))
	}
	for flag, path := range map[string]string{"--server": o.Server, "--before": o.Before} {
		if path == "" && flag == "--before" {
			continue
		}
		if _, err := os.Stat(path); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w (make build makes one)", flag, err))
		}
	}
	return errors.Join(errs...)
}

func (o *Options) measures(part string) bool { return slices.Contains(o.Only, part) }
