// Package tool has what the measuring programs share: the hidden commands of
// their child processes, and the display of their progress.
package tool

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"belfry/bench"
	"belfry/bench/floor"
)

// ClientCommand is what bench.Pool starts: "client".
func ClientCommand() *cobra.Command {
	return &cobra.Command{
		Use: "client", Hidden: true, Args: cobra.NoArgs,
		Short: "Hold connections, controlled by commands on standard input",
		RunE: func(*cobra.Command, []string) error {
			if _, err := bench.OpenFiles(); err != nil {
				return err
			}
			return bench.RunClient(int(os.Stdin.Fd()), os.Stdout)
		},
	}
}

// FloorCommand runs the floor: "floor".
func FloorCommand() *cobra.Command {
	var listen string
	var threads int
	cmd := &cobra.Command{
		Use: "floor", Hidden: true, Args: cobra.NoArgs,
		Short: "Be the floor, controlled by commands on standard input",
		RunE: func(*cobra.Command, []string) error {
			addr, err := netip.ParseAddrPort(listen)
			if err != nil {
				return fmt.Errorf("--listen: %w", err)
			}
			if _, err := bench.OpenFiles(); err != nil {
				return err
			}
			return floor.Serve(addr, threads, os.Stdin, os.Stdout)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9100", "IPv4 address and port")
	cmd.Flags().IntVar(&threads, "threads", 1, "accepting and writing threads")
	return cmd
}
