// Command belfry is an edge push tier: it holds WebSocket connections and
// gets what backends push to all of them, to a topic or to a user.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"belfry/config"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // the command line was wrong
)

func main() {
	os.Exit(execute(os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// execute runs one command line and returns the exit code.
func execute(args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand(env)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	if err != nil {
		report(root.ErrOrStderr(), err)
	}
	if lines, ok := root.ErrOrStderr().(*sink); ok { // serve has written to it
		lines.Flush(flushTime)
	}
	if err == nil {
		return exitOK
	}
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return exitFailed
}

// report prints problems of the configuration as they are, so that
// "file:line:col:" begins the line, and other errors after the program's name.
func report(w io.Writer, err error) {
	var problems config.Errors
	if errors.As(err, &problems) {
		fmt.Fprintln(w, problems.Error())
		return
	}
	fmt.Fprintln(w, "belfry: "+err.Error())
}

func newRootCommand(env []string) *cobra.Command {
	root := &cobra.Command{
		Use:           "belfry",
		Short:         "Holds WebSocket connections and pushes to them",
		Version:       buildVersion(),
		SilenceErrors: true, // execute prints them
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newServeCommand(env), newDoctorCommand(env), newConfigCommand(env), newPushCommand(), newListenCommand(), newBenchCommand(), newVersionCommand())
	markUsage(root)
	return root
}

// usageError is a wrong command line.
type usageError struct {
	err  error
	path string // of the command
}

func (e *usageError) Error() string {
	return e.err.Error() + "\nRun '" + e.path + " --help' for usage."
}
func (e *usageError) Unwrap() error { return e.err }
func (e *usageError) ExitCode() int { return exitUsage }

// markUsage has cmd and all commands below it return wrong flags and
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
		// Without a Run cobra would not look at the arguments at all.
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, sub := range cmd.Commands() {
		markUsage(sub)
	}
}
