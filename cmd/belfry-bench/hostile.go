package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"belfry/bench"
	"belfry/bench/hostile"
	"belfry/bench/tool"
)

// hostileOutput says where the result of attacks is written.
type hostileOutput struct {
	timeout         time.Duration
	json            string
	markdown, check bool
}

// newHostileCommand returns the command of the attacks.
func newHostileCommand() *cobra.Command {
	o := hostile.DefaultOptions()
	var to hostileOutput
	cmd := &cobra.Command{
		Use:   "hostile",
		Short: "Attack a belfry and measure what innocent clients notice",
		Long: "Attack a belfry and measure what innocent clients notice.\n\nAttacks (--only NAME, or NAME:ATTACKERS): " +
			strings.Join(hostile.Names(), ", ") + ".",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runHostile(cmd, &o, to) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Server, "server", o.Server, "belfry's binary")
	f.StringSliceVar(&o.Only, "only", nil, "attacks to run; none is all of them")
	f.IntSliceVar(&o.Counts, "counts", nil, "numbers of attackers instead of each attack's own")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "rounds of each row, of which the one with the middle ratio is shown, and the faults of all")
	f.IntVar(&o.Shards, "shards", o.Shards, "shards of each node")
	f.DurationVar(&o.Idle, "idle", o.Idle, "how long the witness is measured before the attacks")
	f.DurationVarP(&o.Duration, "duration", "d", o.Duration, "duration of an attack on the control, and again on the witness's node")
	f.DurationVar(&o.After, "after", o.After, "how long memory may take to come back")
	f.StringArrayVar(&o.Settings, "set", o.Settings, "NAME=VALUE for all nodes, where the binary knows it (repeatable)")
	f.DurationVar(&to.timeout, "timeout", 30*time.Minute, "for everything")
	f.StringVar(&to.json, "json", "", "file for everything that was measured")
	f.BoolVar(&to.markdown, "markdown", false, "print only the tables, for the docs")
	f.BoolVar(&to.check, "check", false, "exit with 1 if a target was missed")
	return cmd
}

// newAttackerCommand returns the hidden command of an attacker process.
func newAttackerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "attacker", Hidden: true, Args: cobra.NoArgs,
		Short: "Attack, driven by commands on standard input",
		RunE: func(*cobra.Command, []string) error {
			if _, err := bench.OpenFiles(); err != nil {
				return err
			}
			return hostile.RunAttacker(int(os.Stdin.Fd()), os.Stdout)
		},
	}
}

// runHostile runs the attacks and reports. A run that ended early reports its results
// so far, and fails.
func runHostile(cmd *cobra.Command, o *hostile.Options, to hostileOutput) error {
	if err := o.Validate(); err != nil {
		return &tool.UsageError{Err: err, Path: cmd.CommandPath()}
	}
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), to.timeout, fmt.Errorf("not done after %v (--timeout)", to.timeout))
	defer cancel()
	result, err := hostile.Run(ctx, o, tool.NewProgress(cmd.ErrOrStderr()))
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("%w, during: %w", cause, err)
	}
	if result == nil || len(result.Rows) == 0 {
		return err
	}
	if to.json != "" {
		text, e := json.MarshalIndent(result, "", "  ")
		if e == nil {
			e = os.WriteFile(to.json, append(text, '\n'), 0o644)
		}
		err = errors.Join(err, e)
	}
	err = errors.Join(err, result.Write(cmd.OutOrStdout(), !to.markdown))
	if err == nil && to.check && !result.Met() {
		err = errors.New("not every target was reached")
	}
	return err
}
