// Package figures compares belfry with the floor and prints the table of
// figures: what, reached, target, result. docs/benchmarks.md says how each is
// measured. It starts server, floor and clients as child processes and leaves
// none behind.
package figures

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"belfry/bench"
	"belfry/bench/tool"
)

// options are the flags.
type options struct {
	server       string
	env          []string
	conns        int
	base         int
	topics       int
	clients      int
	shards       int
	rounds       int
	memoryRounds int
	broadcasts   int
	size         int
	settle       time.Duration
	ping         time.Duration
	push         time.Duration
	pushEvery    time.Duration
	rates        []int
	rateTime     time.Duration
	rateLast     time.Duration
	plots        string
	only         []string
	timeout      time.Duration
	json         bool
	check        bool

	variant variant // what the clients of this measurement speak
}

// parts of the measurement, for --only. The last is measured only when it is
// named.
var parts = []string{"memory", "fanout", "push", "rates", "allocs", "variants"}

// Command returns the command of the figures.
func Command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "figures",
		Short: "Measure belfry against the floor and print the table of figures",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), o.timeout, fmt.Errorf("not done after %v (--timeout)", o.timeout))
			defer cancel()
			report, err := measure(ctx, o, tool.NewProgress(os.Stderr))
			if err != nil {
				if cause := context.Cause(ctx); cause != nil { // the error has this cause
					err = fmt.Errorf("%w, during: %w", cause, err)
				}
				return err
			}
			if err := report.draw(); err != nil {
				return err
			}
			if err := report.write(cmd.OutOrStdout(), o.json); err != nil {
				return err
			}
			if o.check && !bench.Met(report.Rows) {
				return fmt.Errorf("not every target was reached")
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.server, "server", "bin/belfry", "belfry's binary, or \"floor\" to measure the floor against itself")
	f.StringArrayVar(&o.env, "env", nil, "NAME=VALUE for the server's environment (repeatable)")
	f.IntVar(&o.conns, "conns", 15000, "connections")
	f.IntVar(&o.base, "base", 5000, "connections at which the memory slope begins")
	f.IntVar(&o.topics, "topics", 100, "different topics; each connection has one")
	f.IntVar(&o.clients, "clients", 2, "client processes, at least")
	f.IntVar(&o.shards, "shards", runtime.NumCPU(), "shards of belfry and threads of the floor")
	f.IntVar(&o.rounds, "rounds", 5, "rounds of connects, fan-out and pushes")
	f.IntVar(&o.memoryRounds, "memory-rounds", 3, "rounds of memory")
	f.IntVar(&o.broadcasts, "broadcasts", 20, "broadcasts in a round")
	f.IntVar(&o.size, "size", 128, "payload, in bytes")
	f.DurationVar(&o.settle, "settle", 10*time.Second, "time from the last connect to reading memory")
	f.DurationVar(&o.ping, "ping", 10*time.Second, "ping interval of the server when memory is read after a heartbeat round")
	f.DurationVar(&o.push, "push", 6*time.Second, "how long pushes to one user are measured in a round")
	f.DurationVar(&o.pushEvery, "push-every", 5*time.Millisecond, "time between pushes to one user")
	f.IntSliceVar(&o.rates, "rates", []int{2, 5, 10, 20, 50, 100}, "messages a second of the streams to all, one after the other")
	f.DurationVar(&o.rateTime, "rate-time", 8*time.Second, "how long each rate but the last is kept up")
	f.DurationVar(&o.rateLast, "rate-last", time.Minute, "how long the last rate is kept up")
	f.StringVar(&o.plots, "plots", "", "folder for charts; none are drawn without")
	f.StringSliceVar(&o.only, "only", parts[:len(parts)-1], "parts to measure; there is also "+parts[len(parts)-1])
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "for everything")
	f.BoolVar(&o.json, "json", false, "print JSON with the figures of every round")
	f.BoolVar(&o.check, "check", false, "exit with 1 if a target was missed")
	return cmd
}

func (o *options) validate() error {
	between := func(name string, v, low, high int) error {
		if v < low || v > high {
			return fmt.Errorf("--%s %d: allowed are %d to %d", name, v, low, high)
		}
		return nil
	}
	for _, err := range []error{
		between("conns", o.conns, 2, 1_000_000),
		between("base", o.base, 1, o.conns-1),
		between("topics", o.topics, 0, 1_000_000),
		between("clients", o.clients, 1, 100),
		between("shards", o.shards, 1, 256),
		between("rounds", o.rounds, 1, 100),
		between("memory-rounds", o.memoryRounds, 1, 100),
		between("broadcasts", o.broadcasts, 1, 10_000),
		between("size", o.size, bench.MinPayload, 64<<10),
	} {
		if err != nil {
			return err
		}
	}
	for name, d := range map[string]time.Duration{"ping": o.ping, "push": o.push, "push-every": o.pushEvery, "timeout": o.timeout, "rate-time": o.rateTime, "rate-last": o.rateLast} {
		if d <= 0 {
			return fmt.Errorf("--%s %v: must be above 0", name, d)
		}
	}
	for _, n := range o.rates {
		if err := between("rates", n, 1, 10_000); err != nil {
			return err
		}
	}
	for _, p := range o.only {
		if !slices.Contains(parts, p) {
			return fmt.Errorf("--only %s: allowed are %s", p, strings.Join(parts, ", "))
		}
	}
	if o.server != "floor" {
		if _, err := os.Stat(o.server); err != nil {
			return fmt.Errorf("--server: %w (make build makes it)", err)
		}
	}
	return nil
}

func (o *options) measures(part string) bool { return slices.Contains(o.only, part) }

// encodeJSON writes the report as JSON.
func encodeJSON(v any) ([]byte, error) { return json.MarshalIndent(v, "", "  ") }
