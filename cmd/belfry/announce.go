package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"go.uber.org/zap"
)

// How often a node that is not ready at start is checked: often at first,
// because the first connection to NATS takes a moment and needs no warning.
const (
	readyEvery = 20 * time.Millisecond
	startSlack = time.Second
	readyLater = time.Second
)

// announce logs all addresses: as "ready" when /readyz says so, and before that
// as "serving, not ready". Scripts read these lines.
func (n *belfry) announce(ctx context.Context) {
	ticks := time.NewTicker(readyEvery)
	defer ticks.Stop()
	if open := n.openAddresses(); n.cfg.Dev && len(open) > 0 {
		n.log.Warn("development mode can be reached from other machines: any client there can be any user and read any topic", zap.Strings("addresses", open))
	}
	told := false
	for start := time.Now(); ; {
		reasons := n.ready()
		switch {
		case len(reasons) == 0:
			n.log.Info("ready", n.addressFields()...)
			n.notifyReady()
			if !told {
				n.printBanner("belfry is up.")
			}
			return
		case !told && time.Since(start) >= startSlack:
			told = true
			ticks.Reset(readyLater)
			n.log.Warn("serving, not ready", append(n.addressFields(), zap.Strings("reasons", reasons))...)
			n.printBanner("belfry serves, but is not ready: " + strings.Join(reasons, "; ") + ".")
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
	}
}

// addressFields are the addresses of the node and its size.
func (n *belfry) addressFields() []zap.Field {
	return []zap.Field{
		zap.String("node", n.bus.Name()),
		zap.Stringers("listen", n.sessions.Addrs()),
		zap.Stringers("tls", n.tlsAddrs()),
		zap.Stringer("api", n.api.Addr()),
		zap.Stringer("monitor", n.api.HealthAddr()),
		zap.String("nats", n.bus.NATSAddr()),
		zap.String("cluster", n.bus.ClusterAddr()),
		zap.Int("shards", n.cfg.Shards),
		zap.Int("max_connections", n.cfg.MaxConnections),
		zap.Int("upgrade.max_pending", n.cfg.Upgrade.MaxPending),
		zap.Int("api.max_connections", n.cfg.API.MaxConnections),
		zap.Int("api.max_bodies", n.cfg.API.MaxBodies),
		zap.Int("api.max_requests", n.cfg.API.MaxRequests),
	}
}

// The user and the topic of the printed page. The printed commands and those of
// README push to them.
const (
	demoUser  = "u1"
	demoTopic = "news"
)

// printBanner tells a developer what to do next, in development only.
func (n *belfry) printBanner(state string) {
	if !n.cfg.Dev {
		return
	}
	api := n.apiScheme() + "://" + n.api.Addr().String()
	fmt.Fprintf(n.banner, "\n  %s  Open  %s/?uid=%s&topic=%s\n", state, api, demoUser, demoTopic)
	fmt.Fprintf(n.banner, "  and push to everybody:  curl -d hello %s/v1/all\n", api)
	fmt.Fprintf(n.banner, "  to the page's topic:    curl -d hello %s/v1/topics/%s\n", api, demoTopic)
	fmt.Fprintf(n.banner, "  to the page's user:     curl -d hello %s/v1/users/%s\n", api, demoUser)
	fmt.Fprintln(n.banner, "  Ctrl-C stops the node.")
	if open := n.openAddresses(); len(open) > 0 {
		fmt.Fprintf(n.banner, "\n  WARNING: --dev believes any user id and any topic, and other machines can reach %s.\n", strings.Join(open, ", "))
	}
	fmt.Fprintln(n.banner)
}

// openAddresses returns the addresses where other machines can reach a node in
// development mode.
func (n *belfry) openAddresses() (open []string) {
	for _, a := range append(n.sessions.Addrs(), n.tlsAddrs()...) {
		if !a.Addr().IsLoopback() {
			open = append(open, a.String())
		}
	}
	if host, _, err := net.SplitHostPort(n.api.Addr().String()); err == nil {
		if ip := net.ParseIP(host); ip != nil && !ip.IsLoopback() {
			open = append(open, n.api.Addr().String())
		}
	}
	return open
}
