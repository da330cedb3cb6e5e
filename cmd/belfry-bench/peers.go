package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

// newPeersCommand returns the command that compares belfry with other servers.
// These belong to a module of their own, so that belfry's does not depend on
// them; the command becomes the program that this module builds.
func newPeersCommand() *cobra.Command {
	return &cobra.Command{
		Use: "peers", Short: "Measure belfry beside the floor and other WebSocket servers",
		Args: cobra.ArbitraryArgs, DisableFlagParsing: true, // they are those of the other program
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := findPeers()
			if err != nil {
				return err
			}
			return fmt.Errorf("%s: %w", path, syscall.Exec(path, append([]string{path}, args...), os.Environ()))
		},
	}
}

// findPeers looks for the program beside this one and in PATH.
func findPeers() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(self), "peers")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if path, err = exec.LookPath("peers"); err != nil {
		return "", fmt.Errorf("the program peers is neither beside this one nor in PATH (make bench-peers builds it): %w", err)
	}
	return path, nil
}
