package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"belfry/handover"
)

// newRestartCommand returns the command restart, which replaces a running node by a new
// process.
func newRestartCommand() *cobra.Command {
	var socket, binary string
	cmd := &cobra.Command{
		Use: "restart", Short: "Replace a node's process; its clients stay connected", Args: cobra.NoArgs,
		Long: `Replace the process of a node on this machine by a new one, to which it hands over every
connection (hot restart, docs/handover.md). The new process has the same command line and
environment. If it does not start or does not fit, the old one goes on with every connection.

Exit status: 0 the new process serves, 1 the old one does, or was not reached; 2 wrong usage.`,
		Example: "  belfry restart --binary /usr/local/bin/belfry-1.5",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if binary != "" {
				abs, err := filepath.Abs(binary)
				if err != nil {
					return err
				}
				binary = abs
			}
			if socket == "" {
				found, err := findSocket(handover.DefaultFolder(os.Getenv))
				if err != nil {
					return err
				}
				socket = found
			}
			return restart(cmd, socket, binary)
		},
	}
	cmd.Flags().StringVar(&socket, "control", "", "control.socket of the node (default: the only one in the runtime folder)")
	cmd.Flags().StringVar(&binary, "binary", "", "file of the new program (default: the path that the node was started from)")
	return cmd
}

// restart asks the node at socket to restart and prints how it goes.
func restart(cmd *cobra.Command, socket, binary string) error {
	out := cmd.OutOrStdout()
	r, err := handover.Ask(socket, handover.Request{Binary: binary}, func(p handover.Progress) {
		switch p.Phase {
		case handover.PhaseStarted:
			fmt.Fprintf(out, "the successor was started: process %d\n", p.PID)
		case handover.PhaseMoving:
			fmt.Fprintf(out, "%d sessions handed over\n", p.Sessions)
		}
	})
	if err != nil {
		return err
	}
	if r.Outcome != handover.Served {
		return errors.New(r.String())
	}
	_, err = fmt.Fprintln(out, r.String())
	return err
}

// findSocket returns the only control socket in a folder at which a process listens.
func findSocket(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, handover.Prefix+"*"+handover.Suffix))
	if err != nil {
		return "", err
	}
	found := slices.DeleteFunc(files, func(file string) bool { return !handover.Alive(file) })
	switch len(found) {
	case 0:
		return "", fmt.Errorf("no node has its control socket in %s: say which one with --control (it is in the line \"control socket\" of the node's log)", dir)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("several nodes have their control socket in %s: choose one with --control: %s", dir, strings.Join(found, ", "))
}
