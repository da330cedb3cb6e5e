// Package auth measures what it costs a server to learn who its clients are:
// connects with tokens against connects without, the memory of what a token
// grants, and handshakes that wait for a backend which does not answer.
package auth

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
	Server       string        `flag:"server" value:"bin/belfry" help:"belfry's binary"`
	Connections  int           `flag:"connections,n" value:"15000" range:"2..1000000" help:"sessions"`
	PerUser      int           `flag:"per-user" value:"10" range:"1..64" help:"connections of each user that share a token, in further rows of connects; 1: no such rows"`
	Base         int           `flag:"base" value:"5000" range:"1..999999" help:"sessions at which the memory slope begins"`
	Clients      int           `flag:"clients" value:"2" range:"1..100" help:"client processes, at least"`
	Shards       int           `flag:"shards" value:"cpus" range:"1..256" help:"shards of the node"`
	Rounds       int           `flag:"rounds" value:"5" range:"1..100" help:"rounds of connects"`
	MemoryRounds int           `flag:"memory-rounds" value:"3" range:"1..100" help:"rounds of memory"`
	Settle       time.Duration `flag:"settle" value:"2s" range:"0s..10m" help:"time from the last connect to reading memory"`
	Storm        int           `flag:"storm" value:"5000" range:"1..100000" help:"handshakes at once while the backend hangs"`
	Live         int           `flag:"live" value:"1000" range:"1..100000" help:"sessions that are there before"`
	Storms       int           `flag:"storm-rounds" value:"3" range:"1..100" help:"rounds of the storm"`
	Size         int           `flag:"size" value:"128" range:"51..65536" help:"payload of a push, in bytes"`
	Push         time.Duration `flag:"push" value:"4s" range:"100ms..40s" help:"how long pushes are measured, from the begin of the storm"`
	PushEvery    time.Duration `flag:"push-every" value:"5ms" range:"1ms..1m" help:"time between pushes to one user"`
	Only         tool.List     `flag:"only" value:"connects,memory,storm" help:"parts to measure"`
	Algorithms   tool.List     `flag:"algorithms" value:"none,HS256,EdDSA,RS256,ES256" help:"algorithms of the connects; none is no token"`
	FirstPort    int           `flag:"first-port" value:"20000" range:"1024..65535" help:"servers listen on free loopback ports from this one upwards"`
}

// parts of the measurement, for --only.
var parts = []string{"connects", "memory", "storm"}

// Scenario returns the scenario of tokens and of the connect webhook.
func Scenario() tool.Scenario {
	o := &Options{}
	return tool.Scenario{Name: "auth", About: "Measure connects with tokens, the memory of what they grant, and a webhook that hangs", Timeout: 20 * time.Minute,
		Long: "Start nodes that verify tokens, and connect clients with a token each, which was signed\n" +
			"before, then users with several connections and one token; the same without, in turn. Measure connects a second, when the tokens are\n" +
			"new and when the same clients come back, and the memory of a session whose token says\n" +
			"much or little. Then have clients connect at once while the backend that decides about\n" +
			"them hangs, and measure pushes to others meanwhile.",
		Options: o, Validate: o.validate,
		Run: func(ctx context.Context, p *tool.Progress) (*report.Report, error) { return Run(ctx, o, p) }}
}

func (o *Options) validate() error {
	var errs []error
	if o.Base >= o.Connections {
		errs = append(errs, fmt.Errorf("--base %d: allowed are 1 to %d", o.Base, o.Connections-1))
	}
	for _, p := range o.Only {
		if !slices.Contains(parts, p) {
			errs = append(errs, fmt.Errorf("--only %s: allowed are %s", p, strings.Join(parts, ", ")))
		}
	}
	for _, name := range o.Algorithms {
		if !slices.ContainsFunc(sides, func(s side) bool { return s.algorithm == name }) {
			errs = append(errs, fmt.Errorf("--algorithms %s: allowed are none, HS256, EdDSA, RS256, ES256", name))
		}
	}
	if _, err := os.Stat(o.Server); err != nil {
		errs = append(errs, fmt.Errorf("--server: %w (make build makes it)", err))
	}
	return errors.Join(errs...)
}

// users returns how many users there are with PerUser connections each. If they are more
// than benchTopic they are a multiple of it.
func (o *Options) users() int {
	n := max(1, o.Connections/o.PerUser)
	if n > benchTopic {
		n -= n % benchTopic
	}
	return n
}

func (o *Options) measures(part string) bool { return slices.Contains(o.Only, part) }
