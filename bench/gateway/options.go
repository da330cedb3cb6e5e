// Package gateway measures the way from a client through belfry's gateway to a
// backend and back, and what other clients notice of it.
package gateway

import (
	"context"
	"fmt"
	"os"
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
	PushEvery   time.Duration `flag:"push-every" value:"5ms" range:"1ms..1m" help:"time between the pushes to another user"`
	Shards      int           `flag:"shards" value:"2" range:"1..256" help:"shards of the node"`
	FirstPort   int           `flag:"first-port" value:"20000" range:"1024..65535" help:"servers listen on free loopback ports from this one upwards"`
}

// Scenario returns the scenario of the gateway.
func Scenario() tool.Scenario {
	o := &Options{}
	return tool.Scenario{Name: "gateway", About: "Measure round trips through the gateway to a backend, and pushes to others meanwhile", Timeout: 10 * time.Minute,
		Long: "Start a node whose gateway calls a backend in this process, which answers with what it got.\n" +
			"Measure how many messages of clients come back, and the time of pushes to another user:\n" +
			"idle, at half of that rate, and while the backend hangs.",
		Options: o, Validate: o.validate,
		Run: func(ctx context.Context, p *tool.Progress) (*report.Report, error) { return Run(ctx, o, p) }}
}

func (o *Options) validate() error {
	if _, err := os.Stat(o.Server); err != nil {
		return fmt.Errorf("--server: %w (make build makes it)", err)
	}
	return nil
}
