package tool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitUsage  = 2 // the command line was wrong
)

// Main runs the command line of a program and ends it. SIGINT and SIGTERM end
// the command's context; the second of them ends the program at once, and with it
// the kernel ends its children.
func Main(root *cobra.Command) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(Execute(ctx, root, os.Args[1:], os.Stdout, os.Stderr))
}

// Execute runs one command line and returns the exit code.
func Execute(ctx context.Context, root *cobra.Command, args []string, stdout, stderr io.Writer) int {
	root.SilenceErrors, root.SilenceUsage = true, true // they are printed here
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	markUsage(root)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	fmt.Fprintf(stderr, "%s: %v\n", root.Name(), err)
	if usage := (*UsageError)(nil); errors.As(err, &usage) {
		return ExitUsage
	}
	return ExitFailed
}

// UsageError is an error of the command line.
type UsageError struct {
	Err  error
	Path string // of the command
}

func (e *UsageError) Error() string {
	return e.Err.Error() + "\nRun '" + e.Path + " --help' for usage."
}
func (e *UsageError) Unwrap() error { return e.Err }

// markUsage makes cmd and all commands below it return errors about flags and
// arguments as UsageError.
func markUsage(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &UsageError{err, cmd.CommandPath()} })
	check := cmd.Args
	if check == nil {
		check = cobra.NoArgs
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &UsageError{err, cmd.CommandPath()}
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
