// Command million makes a million live WebSocket connections on this host and
// measures fan-outs to all of them, for belfry and the floor. It first prints a
// plan and what the plan needs, and refuses if the host does not have it. It
// starts everything as child processes and leaves none behind.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"belfry/bench"
	"belfry/bench/million"
	"belfry/bench/tool"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once; the kernel then ends its children
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "million:", err)
		os.Exit(1)
	}
}

// output says where a result is written.
type output struct {
	timeout     time.Duration
	json, check bool
}

func command() *cobra.Command {
	o := million.DefaultOptions()
	var to output
	root := &cobra.Command{
		Use:           "million",
		Short:         "Make a million connections on this host and measure fan-outs to them",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return measure(cmd, &o, to) },
	}
	f := root.Flags()
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
	root.AddCommand(tool.ClientCommand(), tool.FloorCommand())
	return root
}

// measure runs and reports. A run that ended early reports its results so far,
// and fails.
func measure(cmd *cobra.Command, o *million.Options, to output) error {
	var err error
	if o.Program, err = os.Executable(); err != nil {
		return err
	}
	if to.timeout < time.Second {
		return fmt.Errorf("--timeout %v: at least 1s", to.timeout)
	}
	if err := o.Validate(); err != nil {
		return err
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
