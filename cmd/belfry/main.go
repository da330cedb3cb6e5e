// Command belfry is a push server: it holds client connections (WebSocket,
// Server-Sent Events) and sends messages of backends to all clients, to a topic
// or to a user.
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
		printError(root.ErrOrStderr(), err)
	}
	if lines, ok := root.ErrOrStderr().(*sink); ok { // serve has written the error to its log
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

// printError prints errors of the configuration unchanged, so that a line begins
// with "file:line:col:", and other errors after the program's name.
func printError(w io.Writer, err error) {
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
		Short:         "Push server: holds client connections and pushes messages to them",
		SilenceErrors: true, // execute prints errors
		SilenceUsage:  true,
	}
	// cobra's own flag would need text/template, whose reflection keeps every
	// exported method of every package in the binary: 8 MB.
	version := root.Flags().Bool("version", false, "print the version")
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		if !*version {
			return cmd.Help()
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "belfry", buildVersion())
		return err
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newServeCommand(env), newRestartCommand(), newDoctorCommand(env), newConfigCommand(env), newPushCommand(), newWhoCommand(), newNodesCommand(), newKickCommand(), newDrainCommand(), newListenCommand(), newTokenCommand(env), newBenchCommand(), newVersionCommand())
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
