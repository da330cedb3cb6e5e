package hostile

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"belfry/bench"
	"belfry/bench/tool"
)

// Options of a run.
type Options struct {
	Server   string        // belfry's binary
	Attacker []string      // the program of the attackers; none is this one with the argument "attacker"
	Rounds   int           // of each row; the one with the middle ratio is shown
	Shards   int           // of each node
	Only     []string      // names of attacks, see Find; none: all
	Counts   []int         // numbers of attackers instead of each attack's own, at most its own; none: its own
	Idle     time.Duration // before the attacks
	Duration time.Duration // of an attack on the control, and again on the node
	After    time.Duration // wait after an attack on memory; after others it is a second
	Settings []string      // NAME=VALUE for all nodes; those that the binary does not know are left out
}

// DefaultOptions returns the options of `make hostile`.
func DefaultOptions() Options {
	return Options{
		Server: "bin/belfry", Rounds: 1, Shards: 2, Idle: 1500 * time.Millisecond, Duration: 3 * time.Second, After: 10 * time.Second,
		// Shorter than the default of 10 s, so that it ends during a short
		// attack.
		Settings: []string{"session.rate_grace=1s"},
	}
}

// Validate checks the options.
func (o *Options) Validate() error {
	if _, err := os.Stat(o.Server); err != nil {
		return fmt.Errorf("--server: %w (make build makes it)", err)
	}
	if o.Shards < 1 || o.Shards > 64 {
		return fmt.Errorf("--shards %d: allowed are 1 to 64", o.Shards)
	}
	if o.Rounds < 1 || o.Rounds > 99 {
		return fmt.Errorf("--rounds %d: allowed are 1 to 99", o.Rounds)
	}
	for name, d := range map[string]time.Duration{"idle": o.Idle, "duration": o.Duration, "after": o.After} {
		if d < 100*time.Millisecond || d > 10*time.Minute {
			return fmt.Errorf("--%s %v: allowed are 100ms to 10m", name, d)
		}
	}
	_, err := Find(o.Only)
	return err
}

// counts returns the numbers of attackers; each gets a row.
func (o *Options) counts(a Attack) []int {
	if len(o.Counts) == 0 {
		return a.Counts
	}
	most := a.Counts[len(a.Counts)-1]
	var chosen []int
	for _, n := range o.Counts {
		if n = min(n, most); len(chosen) == 0 || chosen[len(chosen)-1] != n {
			chosen = append(chosen, n)
		}
	}
	return chosen
}

// Run runs the attacks one after the other. With an error it also returns the
// complete rows.
func Run(ctx context.Context, o *Options, progress *tool.Progress) (*Result, error) {
	defer progress.End()
	attacks, err := Find(o.Only)
	if err != nil {
		return nil, err
	}
	if _, err := bench.OpenFiles(); err != nil {
		return nil, err
	}
	paths, err := knownSettings(ctx, o.Server)
	if err != nil {
		return nil, err
	}
	result := &Result{Machine: bench.Machine(), Server: version(ctx, o.Server), Attack: o.Duration}
	if result.Load, err = bench.Load(); err != nil {
		return nil, err
	}
	steps := 0
	for _, a := range attacks {
		steps += len(o.counts(a))
	}
	progress.Begin(steps)
	for _, a := range attacks {
		for _, n := range o.counts(a) {
			progress.Step("%s, %d", a.Name, n)
			var rounds []Row
			for range o.Rounds {
				row, err := o.row(ctx, a, n, paths, progress)
				if err != nil {
					return result, fmt.Errorf("%s, %d: %w", a.Name, n, err)
				}
				rounds = append(rounds, *row)
			}
			row := median(rounds)
			result.Rows = append(result.Rows, row)
			progress.Say("%-16s %5d  p99 %s ms, %.1f ×  %s", a.Name, n, row.three(func(p Pushed) float64 { return p.P99 }), row.Ratio, strings.Join(row.Faults(), "; "))
		}
	}
	return result, nil
}

// version returns the version of the binary.
func version(ctx context.Context, server string) string {
	out, err := exec.CommandContext(ctx, server, "version").Output()
	if err != nil {
		return "of unknown version"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimPrefix(line, "belfry ")
}
