package main

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"belfry/broadcast"
	"belfry/config"
	"belfry/message"
	"belfry/metrics"
	"belfry/offheap"
	"belfry/poller"
	"belfry/push"
	"belfry/session"
	"belfry/web"
	"belfry/wire"
	"belfry/ws"
)

// orNone converts a setting for which 0 means none into an option for which 0
// means the default and a negative value none.
func orNone(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// busOptions returns the options of the bus. held makes a node that waits until it takes
// over from another process.
func busOptions(c *config.Config, held bool, log *zap.Logger) broadcast.Options {
	linger := c.NATS.Linger
	if linger == 0 {
		linger = time.Millisecond
	}
	return broadcast.Options{
		NodeName: c.Node.Name,
		Held:     held,
		URLs:     c.NATS.URL,
		Embedded: broadcast.Embedded{
			Listen:           c.NATS.Listen,
			ClusterListen:    c.NATS.ClusterListen,
			ClusterAdvertise: c.NATS.ClusterAdvertise,
			ClusterName:      c.NATS.ClusterName,
			Routes:           natsRoutes(c.NATS.Routes),
			ClusterUser:      c.NATS.ClusterUser,
			ClusterPass:      c.NATS.ClusterPass.Reveal(),
		},
		TLS:            broadcast.TLS{CA: c.NATS.TLS.CA, Cert: c.NATS.TLS.Cert, Key: c.NATS.TLS.Key},
		Credentials:    c.NATS.Creds,
		User:           c.NATS.User,
		Password:       c.NATS.Password.Reveal(),
		Token:          c.NATS.Token.Reveal(),
		MaxPayload:     int(c.API.MaxPayload),
		OutboxMessages: c.NATS.OutboxMessages,
		OutboxBytes:    int(c.NATS.OutboxBytes),
		PendingBytes:   int(c.NATS.PendingBytes),
		Linger:         linger,
		Beacon:         c.NATS.Beacon,
		OverloadWait:   c.NATS.OverloadWait,
		MaxLingering:   c.NATS.MaxLingering,
		Required:       c.NATS.Required,
		Log:            log.Named("bus"),
	}
}

// natsRoutes adds the scheme of NATS to routes that are only host:port.
func natsRoutes(routes []string) []string {
	out := make([]string, len(routes))
	for i, r := range routes {
		if !strings.Contains(r, "://") {
			r = "nats://" + r
		}
		out[i] = r
	}
	return out
}

func proxyOptions(c *config.Config) session.ProxyOptions {
	o := session.ProxyOptions{Header: ws.XForwardedFor}
	if c.Proxy.Header == "forwarded" {
		o.Header = ws.Forwarded
	}
	for _, text := range c.Proxy.Trusted {
		// The configuration was validated: this cannot fail.
		network, _ := config.ParseNetwork(text)
		o.Trusted = append(o.Trusted, network)
	}
	return o
}

// origins returns the origins of web pages that may connect. In development
// they are those of the demo page, whose origin differs from the WebSocket's by
// its port, and of pages that a developer serves on the same machine, opened
// there or on a phone in the same network.
func origins(c *config.Config) (*ws.Origins, error) {
	if !c.Dev || len(c.Upgrade.Origins) > 0 {
		return ws.CompileOrigins(c.Upgrade.Origins)
	}
	hosts := []string{"localhost:*", "127.0.0.1:*", "[::1]:*"}
	if host, _, err := net.SplitHostPort(c.API.Listen); err == nil && net.ParseIP(host) != nil {
		hosts = append(hosts, net.JoinHostPort(host, "*"))
	}
	var patterns []string
	for _, host := range hosts {
		patterns = append(patterns, "http://"+host, "https://"+host)
	}
	origins, err := ws.CompileOrigins(patterns)
	if err != nil {
		return nil, err
	}
	return origins.OrSameName(), nil
}

func pollerOptions(c *config.Config, memory *offheap.Owners) poller.Options {
	o := poller.Options{
		Shards:       c.Shards,
		Backlog:      poller.Bounds{Frames: c.Backlog.Frames, Bytes: int(c.Backlog.Bytes)},
		NodeBytes:    int64(c.Backlog.NodeBytes),
		InboundBytes: int64(c.Session.InboundBytes),
		Mailbox:      c.Fanout.Mailbox,
		Chunk:        c.Fanout.Chunk,
		NoRing:       c.Fanout.IOURing == "off",
		Memory:       memory,
	}
	for _, p := range []poller.Policy{poller.Disconnect, poller.DropOldest, poller.LatestOnly} {
		if p.String() == c.Backlog.Policy {
			o.Policy = p
		}
	}
	for _, text := range c.Listen {
		if slices.Contains(c.TLSListen(), text) {
			continue // see bridgeOptions
		}
		// The configuration was validated: this cannot fail.
		host, lo, hi, _ := config.ParseListen(text)
		e := poller.PortRange{Host: host, Lo: uint16(lo), Hi: uint16(hi)}
		if slices.Contains(c.Proxy.Protocol, text) {
			e.State = session.BehindProxy{}
		}
		o.Listen = append(o.Listen, e)
	}
	return o
}

func (n *belfry) apiOptions(keys []config.Key) push.Options {
	c := n.cfg
	var secure *tls.Config
	if n.apiCerts != nil {
		secure = n.apiCerts.Config()
	}
	return push.Options{
		Publisher:     n.bus,
		Reports:       n.reports,
		Idempotency:   n.keys,
		Drain:         &n.drain,
		Sessions:      sessionControl{n},
		Presence:      n.presence,
		TLS:           secure,
		Address:       c.API.Listen,
		HealthAddress: c.API.MonitorListen,
		Keys:          apiKeys(keys),
		AllowedHosts:  c.API.AllowedHosts,
		Stats:         n.stats,
		Ready:         n.ready,
		Degraded:      n.degraded,
		Healthy:       n.healthy,
		Config:        func() any { return configView{n.bus.Name(), buildVersion(), n.shown()} },
		Reload:        n.reload.serve,
		Metrics:       metrics.Handler(n.values),
		Dev:           n.page(),
		Log:           n.log.Named("api"),
		Limits: push.Limits{
			MaxPayload:        int(c.API.MaxPayload),
			MaxBatchLines:     c.API.MaxBatchLines,
			MaxRequests:       c.API.MaxRequests,
			MaxBodies:         c.API.MaxBodies,
			BodyBytes:         int(c.API.BodyBytes),
			MaxConnections:    c.API.MaxConnections,
			MaxHeaderBytes:    int(c.API.MaxHead),
			ReadHeaderTimeout: c.API.HeadTimeout,
			ReadTimeout:       c.API.ReadTimeout,
			WriteTimeout:      c.API.WriteTimeout,
			IdleTimeout:       c.API.IdleTimeout,
			PushWait:          c.API.PushWait,
			NodesWait:         c.API.NodesWait,
			BatchIdleTimeout:  c.API.BatchIdleTimeout,
			ShutdownTimeout:   apiGrace,
		},
	}
}

func apiKeys(keys []config.Key) (all []push.Key) {
	for _, k := range keys {
		all = append(all, push.Key{Name: k.Name, Secret: k.Key.Reveal()})
	}
	return all
}

// configView is the answer of GET /v1/config: the settings in force.
type configView struct {
	Node     string         `json:"node"`
	Version  string         `json:"version"`
	Settings []config.Shown `json:"settings"`
}

// fromMachine is the source of values that this machine decides.
const fromMachine = "this machine"

// sources returns the sources of the values in force: where they were loaded
// from, or this machine if it decided.
func sources(loaded *config.Loaded, inForce *config.Config) map[string]config.Source {
	all := maps.Clone(loaded.Sources)
	was := loaded.Config.Settings()
	for i, s := range inForce.Settings() {
		if slices.Equal(was[i].Items(), s.Items()) {
			continue
		}
		origin := config.Source{From: fromMachine}
		if set, ok := all[s.Path]; ok {
			origin.From = set.String() + ", changed for this machine"
		}
		all[s.Path] = origin
	}
	return all
}

// clientOutbox is the part of the outbox for messages of clients, one in so
// many. One pub can be a message on the bus for each of its names, and there
// must be room for backends.
const clientOutbox = 1.0 / 4

// publish publishes messages of belfry.v1 clients. It converts errors of the
// bus to those of docs/protocol.md.
func (n *belfry) publish(m *message.Message, w message.Wait) error {
	return n.restart.heir.publish(m, w, n.publishHere)
}

func (n *belfry) publishHere(m *message.Message, w message.Wait) error {
	if n.bus.OutboxTaken() > clientOutbox {
		return &wire.CommandError{Code: "unavailable", Text: "too many messages wait for other nodes; try again"}
	}
	_, err := n.bus.PublishWithin(context.Background(), m, w)
	var large *message.TooLargeError
	if errors.As(err, &large) {
		return &wire.CommandError{Code: "too_large", Field: "data", Text: large.Error()}
	}
	return err
}

// page returns the demo page; nil if not in development mode.
func (n *belfry) page() http.Handler {
	if !n.cfg.Dev {
		return nil
	}
	clients := append(n.sessions.Addrs(), n.tlsAddrs()...)
	client := clients[0]
	return web.Handler(web.Info{
		TLS:     len(n.sessions.Addrs()) == 0,
		Host:    client.Addr().String(),
		Port:    int(client.Port()),
		Path:    n.cfg.Path,
		Version: buildVersion(),
		Node:    n.bus.Name(),
		Dev:     true,
		Tokens:  n.auth != nil || n.cfg.Auth.Webhook.Configured(),
	})
}
