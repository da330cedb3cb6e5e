package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// newBenchCommand answers `belfry bench …` of earlier versions.
func newBenchCommand() *cobra.Command {
	return &cobra.Command{
		Use: "bench", Hidden: true, Args: cobra.ArbitraryArgs,
		DisableFlagParsing: true, // the flags are those of the other program
		RunE: func(_ *cobra.Command, args []string) error {
			return &movedError{strings.Join(append([]string{"belfry-bench"}, quote(args)...), " ")}
		},
	}
}

// movedError names the command to run instead.
type movedError struct{ command string }

func (e *movedError) Error() string {
	return "bench is a program of its own (make build makes it); run: " + e.command
}
func (e *movedError) ExitCode() int { return exitUsage }

// quote writes arguments as a shell reads them back.
func quote(args []string) []string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if a == "" || strings.ContainsFunc(a, func(r rune) bool { return !strings.ContainsRune(plainRunes, r) }) {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return quoted
}

// plainRunes have no meaning for a shell.
const plainRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+:,./@%"
