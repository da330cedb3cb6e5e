// Command peers compares belfry with the floor and with other WebSocket
// servers: the same clients and connections, alternating rounds in fresh
// processes, one table. docs/benchmarks.md explains it. It starts everything it
// needs and leaves no process behind.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"belfry/bench"
	"belfry/bench/tool"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		stop()
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:           "peers",
		Short:         "Measure belfry beside the floor and other WebSocket servers",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), o.timeout, fmt.Errorf("not done after %v (--timeout)", o.timeout))
			defer cancel()
			if _, err := bench.OpenFiles(); err != nil { // servers inherit the limit
				return err
			}
			report, err := measure(ctx, &o, tool.NewProgress(os.Stderr))
			return errors.Join(err, o.write(cmd.OutOrStdout(), report))
		},
	}
	f := root.Flags()
	f.StringVar(&o.belfry, "belfry", "../../bin/belfry", "belfry's program")
	f.StringSliceVar(&o.only, "only", nil, "peers to measure besides belfry and the floor; none is all")
	f.StringArrayVar(&o.with, "with", nil, "NAME=PROGRAM of an external server with a definition, or of another Centrifugo (repeatable)")
	f.StringArrayVar(&o.define, "define", nil, "YAML file with the definition of a further server (repeatable)")
	f.IntVar(&o.connections, "connections", 15000, "connections")
	f.IntVar(&o.rounds, "rounds", 3, "rounds; each server runs once in every round")
	f.IntVar(&o.broadcasts, "broadcasts", 20, "messages to all in a round")
	f.IntVar(&o.size, "size", 128, "payload, in bytes")
	f.IntVar(&o.clients, "clients", 2, "client processes, at least")
	f.IntVar(&o.shards, "shards", runtime.NumCPU(), "shards of belfry and threads of the floor")
	f.DurationVar(&o.settle, "settle", 2*time.Second, "time from the last connect to reading memory")
	f.DurationVar(&o.push, "push", 6*time.Second, "time of pushes to users in a round; 0 leaves them out")
	f.IntVar(&o.concurrency, "concurrency", 600, "requests in progress during pushes to users")
	f.StringVar(&o.cache, "cache", "cache", "folder where socket.io is installed and Centrifugo is built")
	f.StringVar(&o.chart, "chart", "", "file for a chart, .svg or .png")
	f.DurationVar(&o.timeout, "timeout", 30*time.Minute, "for everything, with downloading and building peers")
	f.BoolVar(&o.json, "json", false, "print JSON with the figures of every round")
	root.AddCommand(tool.ClientCommand(), tool.FloorCommand(), serveCommand())
	return root
}

// write prints the report; it may be incomplete, or nil.
func (o *options) write(w io.Writer, r *report) error {
	if r == nil || len(r.Servers) == 0 {
		return nil
	}
	r.fill()
	write := r.writeTable
	if o.json {
		write = r.writeJSON
	}
	if err := write(w); err != nil {
		return err
	}
	if chart := r.chart(); o.chart != "" && len(chart.Series) > 0 {
		return chart.Write(o.chart)
	}
	return nil
}
