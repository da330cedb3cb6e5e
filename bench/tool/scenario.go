package tool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"belfry/bench/report"
)

// Scenario is something to measure, with a command of its own.
type Scenario struct {
	Name, About, Long string
	// Options points to a struct with flags; see Flags.
	Options any
	// Validate checks the options beyond their ranges and sets those that
	// depend on others.
	Validate func() error
	// Timeout is the default of --timeout; 0 is no limit.
	Timeout time.Duration
	// Run measures. A run that ended early returns what it has measured, and an
	// error.
	Run func(context.Context, *Progress) (*report.Report, error)
}

// output says where a report is written.
type output struct {
	timeout     time.Duration
	folder      string
	json, check bool
}

// Command returns the command of the scenario.
func (s *Scenario) Command() *cobra.Command {
	var to output
	cmd := &cobra.Command{
		Use: s.Name, Short: s.About, Long: s.Long, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := errors.Join(CheckRanges(s.Options, s.Name), s.Validate(), writable(to.folder))
			if to.timeout < 0 {
				err = errors.Join(err, fmt.Errorf("--timeout %v: at least 0", to.timeout))
			}
			if err != nil {
				return &UsageError{err, cmd.CommandPath()}
			}
			return s.run(cmd, to)
		},
	}
	f := cmd.Flags()
	Flags(f, s.Options, s.Name)
	f.BoolVar(&to.json, "json", false, "print JSON with everything that was measured")
	f.StringVar(&to.folder, "report", "", "folder for report.md, report.json and charts")
	f.BoolVar(&to.check, "check", false, "exit with 1 if a target was missed")
	f.DurationVar(&to.timeout, "timeout", s.Timeout, "for everything; 0 is no limit")
	return cmd
}

// writable checks the folder of a report now, so that a run does not fail at
// its end.
func writable(folder string) error {
	if folder == "" {
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	probe := filepath.Join(folder, ".writable")
	if err := os.WriteFile(probe, nil, 0o644); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("--report: %w", err)
	}
	return os.Remove(probe)
}

// run measures and writes the report.
func (s *Scenario) run(cmd *cobra.Command, to output) error {
	ctx := cmd.Context()
	if to.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, to.timeout, fmt.Errorf("not done after %v (--timeout)", to.timeout))
		defer cancel()
	}
	p := NewProgress(cmd.ErrOrStderr())
	r, err := s.Run(ctx, p)
	p.End()
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w, during: %w", cause, err)
	}
	if r == nil {
		return err
	}
	r.End(err)
	err = errors.Join(err, r.Err(to.check), r.Write(cmd.OutOrStdout(), to.json))
	if to.folder != "" {
		err = errors.Join(err, r.WriteFolder(to.folder))
	}
	return err
}
