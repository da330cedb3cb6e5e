// Command belfry-bench puts load on WebSocket servers and checks everything
// that arrives. Some scenarios measure a server that runs already, on this or
// another host; others start belfry and the floor themselves and compare them.
// docs/benchmarks.md says how each figure is measured. Child processes hold the
// connections; the program leaves none behind.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"belfry/bench/figures"
	"belfry/bench/tool"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // the command line was wrong
)

// version is set by the Makefile (-ldflags -X); nothing changes it later.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once; the kernel then ends its children
	os.Exit(execute(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "belfry-bench:", err)
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return exitFailed
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "belfry-bench",
		Short:         "Put load on a WebSocket server and check everything that arrives",
		Long:          aboutLoad,
		Example:       examples,
		Version:       version,
		SilenceErrors: true, // execute prints errors
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newLoadCommands()...)
	root.AddCommand(figures.Command(), newMillionCommand(), newHostileCommand(), newPeersCommand())
	root.AddCommand(tool.ClientCommand(), tool.FloorCommand(), newAttackerCommand())
	markUsage(root)
	return root
}

// usageError is an error of the command line.
type usageError struct {
	err  error
	path string // of the command
}

func (e *usageError) Error() string {
	return e.err.Error() + "\nRun '" + e.path + " --help' for usage."
}
func (e *usageError) Unwrap() error { return e.err }
func (e *usageError) ExitCode() int { return exitUsage }

// markUsage makes cmd and all commands below it return errors about flags and
// arguments as usageError.
func markUsage(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{err, cmd.CommandPath()}
	})
	check := cmd.Args
	if check == nil {
		check = cobra.NoArgs
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &usageError{err, cmd.CommandPath()}
		}
		return nil
	}
	if cmd.HasSubCommands() && cmd.Run == nil && cmd.RunE == nil {
		// Without a Run, cobra does not check the arguments.
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, sub := range cmd.Commands() {
		markUsage(sub)
	}
}
