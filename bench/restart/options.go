// Package restart measures hot restarts of a node under load: what clients notice, how
// long a session is silent, and what the two processes need while both live.
package restart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"belfry/bench/report"
	"belfry/bench/tool"
)

// Options are the flags; see tool.Flags.
type Options struct {
	Server      string        `flag:"server" value:"bin/belfry" help:"belfry's binary; each restart starts it anew"`
	Connections int           `flag:"connections,n" value:"15000" range:"100..1000000" help:"sessions of users"`
	PerUser     int           `flag:"per-user" value:"10" range:"1..1000" help:"sessions of each user"`
	Members     int           `flag:"members" value:"500" range:"1..100000" help:"further sessions, which are subscribed to a topic"`
	Callers     int           `flag:"callers" value:"100" range:"0..10000" help:"further sessions, whose messages a backend answers; 0 for none"`
	Churn       int           `flag:"churn" value:"20" range:"0..1000" help:"further clients that connect and disconnect all the time; 0 for none"`
	Restarts    int           `flag:"restarts" value:"10" range:"1..1000" help:"hot restarts, one after the other"`
	Pause       time.Duration `flag:"pause" value:"2s" range:"0s..1h" help:"load between two restarts"`
	Broadcasts  float64       `flag:"broadcasts" value:"3" range:"0.1..1000" help:"messages a second to all"`
	Topics      float64       `flag:"topics" value:"20" range:"0.1..10000" help:"messages a second to the topic"`
	Pushes      float64       `flag:"pushes" value:"200" range:"0.1..100000" help:"pushes a second to users"`
	Calls       float64       `flag:"calls" value:"50" range:"0.1..100000" help:"messages a second of clients to the backend"`
	Size        int           `flag:"size" value:"128" range:"51..65536" help:"payload, in bytes"`
	Alone       bool          `flag:"alone" help:"a node without others: all messages come through its own API"`
	Shards      int           `flag:"shards" value:"2" range:"1..256" help:"shards of the node"`
	FirstPort   int           `flag:"first-port" value:"20000" range:"1024..65535" help:"servers listen on free loopback ports from this one upwards"`
}

// Scenario returns the scenario of hot restarts.
func Scenario() tool.Scenario {
	o := &Options{}
	return tool.Scenario{Name: "restart", About: "Restart a node under load and check what its clients notice", Timeout: 20 * time.Minute,
		Long: "Start a node, and with it another one that only publishes and has the NATS server, unless\n" +
			"--alone. Connect clients, send messages to all, to a topic (by a plain NATS client) and to\n" +
			"users, have clients ask a backend, and others connect and disconnect. Restart the node hot\n" +
			"again and again meanwhile, and check that each client gets every message once and in order.",
		Options: o, Validate: o.validate,
		Run: func(ctx context.Context, p *tool.Progress) (*report.Report, error) { return Run(ctx, o, p) }}
}

func (o *Options) validate() error {
	var errs []error
	if o.Connections%o.PerUser != 0 {
		errs = append(errs, fmt.Errorf("--connections %d: must be a multiple of --per-user (%d)", o.Connections, o.PerUser))
	}
	if _, err := os.Stat(o.Server); err != nil {
		errs = append(errs, fmt.Errorf("--server: %w (make build makes one)", err))
	}
	return errors.Join(errs...)
}

// users returns the number of users.
func (o *Options) users() int { return o.Connections / o.PerUser }

// sessions returns the number of sessions that a restart hands over.
func (o *Options) sessions() int { return o.Connections + o.Members + o.Callers }
