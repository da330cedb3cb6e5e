package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"belfry/bench"
	"belfry/bench/peers/peer"
	"belfry/bench/peers/servers/coder"
	"belfry/bench/peers/servers/gorilla"
	"belfry/bench/peers/servers/gws"
	"belfry/bench/peers/servers/nats"
	"belfry/bench/peers/servers/nbio"
)

// serveCommand runs one of the servers of this module.
func serveCommand() *cobra.Command {
	var listen, api string
	cmd := &cobra.Command{
		Use:   "serve " + strings.Join(peer.Libraries(), "|"),
		Short: "Serve WebSockets at /ws?uid=… and POST /v1/all and /v1/users/{uid} (nats: its own protocols)",
		Args:  cobra.ExactArgs(1), ValidArgs: peer.Libraries(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := bench.OpenFiles(); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return serve(ctx, args[0], listen, api)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9000", "IPv4 address and port for WebSockets")
	cmd.Flags().StringVar(&api, "api", "127.0.0.1:9001", "IPv4 address and port for publishing")
	return cmd
}

func serve(ctx context.Context, name, listen, api string) error {
	if name == peer.NATS { // listens itself
		sockets, err1 := netip.ParseAddrPort(listen)
		if err1 != nil {
			return fmt.Errorf("--listen: %w", err1)
		}
		control, err := netip.ParseAddrPort(api)
		if err != nil {
			return fmt.Errorf("--api: %w", err)
		}
		return nats.Serve(ctx, sockets, control)
	}
	run := map[string]func(context.Context, net.Listener, net.Listener) error{
		peer.GWS: gws.Serve, peer.Gorilla: gorilla.Serve, peer.Coder: coder.Serve, peer.NBIO: nbio.Serve}[name]
	if run == nil {
		return fmt.Errorf("serve %s: allowed are %s", name, peer.List(peer.Libraries()))
	}
	sockets, err := net.Listen("tcp4", listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	control, err := net.Listen("tcp4", api)
	if err != nil {
		sockets.Close()
		return fmt.Errorf("--api: %w", err)
	}
	return run(ctx, sockets, control)
}
