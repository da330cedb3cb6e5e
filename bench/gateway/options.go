// Package gateway measures the way from a client through belfry's gateway to a
// backend and back, and what other clients notice of it.
package gateway

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
	Connections int           `flag:"connections,n" value:"15000" range:"1..1000000" help:"sessions"`
	InFlight    int           `flag:"in-flight" value:"1000" range:"1..65536" help:"calls to the backend at the same time"`
	Size        int           `flag:"size" value:"128" range:"51..65536" help:"payload, in bytes"`
	Duration    time.Duration `flag:"duration" value:"10s" range:"100ms..1h" help:"how long each part lasts"`
	Rate        int           `flag:"rate" value:"4000" range:"1..1000000" help:"messages a second of clients while pushes are measured"`
	PushEvery   time.Duration `flag:"push-every" value:"5ms" range:"1ms..1m" help:"time between the pushes to another user"`
	Rounds      int           `flag:"rounds" value:"3" range:"1..100" help:"rounds"`
	Only        tool.List     `flag:"only" value:"trips,idle,rate,half,hangs" help:"parts to measure; half is half of the rate of trips"`
	Alone       bool          `flag:"alone" help:"do not measure each load on another node, beside the one with the pushes, too"`
	Shards      int           `flag:"shards" value:"2" range:"1..256" help:"shards of a node"`
	FirstPort   int           `flag:"first-port" value:"20000" range:"1024..65535" help:"servers listen on free loopback ports from this one upwards"`
}

// parts of the measurement, for --only.
var parts = []string{"trips", "idle", "rate", "half", "hangs"}

// Scenario returns the scenario of the gateway.
func Scenario() tool.Scenario {
	o := &Options{}
	return tool.Scenario{Name: "gateway", About: "Measure round trips through the gateway to a backend, and pushes to others meanwhile", Timeout: 20 * time.Minute,
		Long: "Start a node whose gateway calls a backend in this process, which answers with what it got.\n" +
			"Measure how many messages of clients come back, and the time of pushes to another user:\n" +
			"idle, at a rate of messages, at half of the rate that was reached, and while the backend\n" +
			"hangs. Clients and backend take the processors of the node. Therefore each load is also\n" +
			"put on another node, beside the one with the pushes: what these take longer than idle is\n" +
			"what any load on this machine costs.",
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
	if o.measures("half") && !o.measures("trips") {
		errs = append(errs, errors.New("--only half: it is half of the rate of trips; add trips"))
	}
	if _, err := os.Stat(o.Server); err != nil {
		errs = append(errs, fmt.Errorf("--server: %w (make build makes it)", err))
	}
	return errors.Join(errs...)
}

func (o *Options) measures(part string) bool { return slices.Contains(o.Only, part) }
