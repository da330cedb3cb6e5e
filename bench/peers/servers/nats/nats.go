// Package nats is nats-server with its own WebSocket listener, embedded, with
// its settings as they come. Clients speak NATS through the WebSocket and
// subscribe to what they want; who publishes does so over NATS.
package nats

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const startTimeout = 10 * time.Second

// Serve takes WebSockets at sockets and NATS clients at control until the end
// of ctx.
func Serve(ctx context.Context, sockets, control netip.AddrPort) error {
	s, err := server.NewServer(&server.Options{
		ServerName: "peer",
		Host:       control.Addr().String(),
		Port:       int(control.Port()),
		NoLog:      true,
		NoSigs:     true, // ctx ends it
		Websocket: server.WebsocketOpts{
			Host:  sockets.Addr().String(),
			Port:  int(sockets.Port()),
			NoTLS: true,
		},
	})
	if err != nil {
		return fmt.Errorf("nats-server: %w", err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(startTimeout) {
		return errors.New("nats-server: not ready for connections; are the ports free?")
	}
	<-ctx.Done()
	return nil
}
