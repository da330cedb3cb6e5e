package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"belfry/bench"
	"belfry/bench/million"
)

// millionOutput says where the result of a million is written.
type millionOutput struct {
	timeout     time.Duration
	json, check bool
}

// newMillionCommand returns the command of a million connections on this host.
func newMillionCommand() *cobra.Command {
	o := million.DefaultOptions()
	var to millionOutput
	cmd := &cobra.Command{
		Use: "million", Short: "Make a million connections on this host and measure fan-outs to them",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runMillion(cmd, &o, to) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Server, "server", o.Server, "belfry's binary")
	f.StringArrayVar(&o.Env, "env", nil, "NAME=VALUE for the nodes' environment (repeatable)")
	f.IntVarP(&o.Connections, "connections", "n", o.Connections, "connections in all")
	f.IntVar(&o.PerNode, "per-node", o.PerNode, "most connections of a node; 0 is as many as the limit of open files allows")
	f.IntSliceVar(&o.Steps, "steps", o.Steps, "numbers of connections at which fan-outs are measured while connecting")
	f.IntVar(&o.Broadcasts, "broadcasts", o.Broadcasts, "measured broadcasts to all connections")
	f.IntVar(&o.Size, "size", o.Size, "payload, in bytes")
	f.IntVar(&o.Topics, "topics", o.Topics, "different topics; each connection has one; 0 is none")
	f.DurationVar(&o.Ping, "ping", o.Ping, "ping interval of the idle part; 0 leaves this part out")
	f.DurationVar(&o.Idle, "idle", o.Idle, "how long idle connections are watched, at least one ping interval")
	f.DurationVar(&o.Settle, "settle", o.Settle, "time from the last connect to reading memory")
	f.DurationVar(&o.Push, "push", o.Push, "how long pushes to one user are measured; 0 leaves them out")
	f.DurationVar(&o.PushEvery, "push-every", o.PushEvery, "time between pushes to one user; 0 is a millisecond for each node, 5 at least")
	f.IntVar(&o.FirstPort, "first-port", o.FirstPort, "servers listen on free loopback ports from this one upwards")
	f.BoolVar(&o.SkipFloor, "skip-floor", false, "measure belfry alone")
	f.StringVar(&o.Report, "report", "", "folder for report.md, its charts and report.json")
	f.DurationVar(&to.timeout, "timeout", 40*time.Minute, "for everything")
	f.BoolVar(&to.json, "json", false, "print JSON with everything that was measured")
	f.BoolVar(&to.check, "check", false, "exit with 1 if a target was missed")
	return cmd
}

// runMillion runs and reports. A run that ended early reports its results so far,
// and fails.
func runMillion(cmd *cobra.Command, o *million.Options, to millionOutput) error {
	var err error
	if o.Program, err = os.Executable(); err != nil {
		return err
	}
	if to.timeout < time.Second {
		return &usageError{fmt.Errorf("--timeout %v: at least 1s", to.timeout), cmd.CommandPath()}
	}
	if err := o.Validate(); err != nil {
		return &usageError{err, cmd.CommandPath()}
	}
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), to.timeout, fmt.Errorf("not done after %v (--timeout)", to.timeout))
	defer cancel()
	result, err := million.Run(ctx, o, cmd.ErrOrStderr())
	if result == nil {
		return err
	}
	if to.json {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		err = errors.Join(err, encoder.Encode(result))
	} else {
		err = errors.Join(err, result.Write(cmd.OutOrStdout()))
	}
	if o.Report != "" {
		err = errors.Join(err, result.WriteReport(o.Report))
	}
	if err == nil && to.check && !bench.Met(result.Rows) {
		err = errors.New("not every target was reached")
	}
	return err
}
