package main

import (
	"crypto/tls"
	"strings"
	"testing"

	"go.uber.org/zap"

	"belfry/auth"
	"belfry/bridge"
	"belfry/broadcast"
	"belfry/certs"
	"belfry/cluster"
	"belfry/config"
	"belfry/events"
	"belfry/gateway"
	"belfry/idempotency"
	"belfry/presence"
	"belfry/push"
	"belfry/report"
	"belfry/session"
	"belfry/webhook"
)

// noBus replaces NATS: the options are checked before anything is sent.
type noBus struct{ broadcast.Bus }

func (noBus) Close() error { return nil }

func (noBus) Stats(*broadcast.Stats) {}

// options are the options of the packages, made from the settings.
type options struct {
	bus       broadcast.Options
	sessions  session.Options
	bridge    bridge.Options
	certs     [2]certs.Options // of clients and of the API
	api       push.Options
	auth      auth.Options
	gateway   gateway.Options
	cluster   cluster.Options
	events    events.Options
	report    report.Options
	announcer presence.AnnouncerOptions
	keys      idempotency.Options
	hooks     hookOptions
}

// hookOptions are those of the webhooks that decide.
type hookOptions struct {
	backends  [2]webhook.Options
	connect   auth.WebhookOptions
	subscribe auth.SubscribeOptions
}

// build makes all parts of a node without starting them, and returns their
// options. use, which may be nil, is called with the node before its parts are
// closed.
func build(cfg config.Config, use func(*belfry)) (o options, err error) {
	here, err := thisMachine()
	if err != nil {
		return o, err
	}
	here.resolve(&cfg)
	n := &belfry{cfg: &cfg, log: zap.NewNop(), lines: &sink{}, reload: &reloader{}}
	keys, err := cfg.API.AllKeys()
	if err != nil {
		return o, err
	}
	o.bus = busOptions(&cfg, false, n.log)
	o.bus.Bus = noBus{}
	if n.bus, err = broadcast.Open(o.bus); err != nil {
		return o, err
	}
	defer n.bus.Close()
	o.auth, o.cluster, o.report = authOptions(&cfg, n.log), clusterOptions(&cfg), reportOptions(&cfg)
	o.keys = keyOptions(&cfg)
	if _, err = idempotency.New(o.keys); err != nil {
		return o, err
	}
	o.announcer = announcerOptions(&cfg)
	if o.events, err = eventOptions(&cfg); err != nil {
		return o, err
	}
	if _, err = events.New(o.events); err != nil {
		return o, err
	}
	if o.gateway, _, err = n.gatewayOptions(n.cfg); err != nil {
		return o, err
	}
	if err = n.openGateway(); err != nil {
		return o, err
	}
	o.hooks = hookOptions{
		backends:  [2]webhook.Options{connectBackend(&cfg, n.log), subscribeBackend(&cfg, n.log)},
		connect:   connectOptions(&cfg, n.log),
		subscribe: subscribeOptions(&cfg, n.log),
	}
	defer n.hooks.close()
	if o.sessions, err = n.sessionOptions(); err != nil {
		return o, err
	}
	if n.sessions, err = session.New(o.sessions); err != nil {
		return o, err
	}
	defer n.sessions.Loop().Discard()
	o.bridge, o.certs = bridgeOptions(&cfg, n.log), [2]certs.Options{clientCerts(&cfg, n.log), apiCerts(&cfg, n.log)}
	closed := o.bridge
	closed.Sessions, closed.TLS, closed.Listen = n.sessions, new(tls.Config), nil
	if _, err = bridge.New(closed); err != nil {
		return o, err
	}
	o.api = n.apiOptions(keys)
	if n.api, err = push.New(o.api); err == nil && use != nil {
		use(n)
	}
	return o, err
}

// smallest returns a configuration whose parts need little time and memory.
func smallest() config.Config {
	c := config.Default()
	c.Listen = []string{"127.0.0.1:0"}
	c.Shards = 1
	c.Fanout.Mailbox = 64
	c.MaxConnections = 1000
	c.Control.Socket = config.ControlOff // nodes of several tests have one name
	return c
}

// companions are the values of other settings that a setting needs at an end of
// its range.
var companions = map[string][]string{
	"backlog.bytes 1KiB":   {"api.max_payload=1KiB"},
	"backlog.bytes 1GiB":   {"backlog.node_bytes=1GiB"},
	"api.max_payload 8MiB": {"backlog.bytes=8MiB"},
	"shards 256":           {"gomaxprocs=0"},

	"tls.max_connections 16777216": {"max_connections=16777216"},
}

func change(t *testing.T, c *config.Config, path, text string) {
	t.Helper()
	for _, s := range c.Settings() {
		if s.Path == path {
			if err := s.Set(text); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			return
		}
	}
	t.Fatalf("no setting %s", path)
}

// TestRangesAreTaken: no package refuses a value that the configuration allows.
// The configuration may be stricter than the package.
func TestRangesAreTaken(t *testing.T) {
	defaults := config.Default()
	ranges := 0
	for _, s := range defaults.Settings() {
		for _, end := range s.Ends() {
			ranges++
			c := smallest()
			if strings.HasPrefix(s.Path, "auth.") {
				c.Auth.JWT.Secret = jwtSecret // else nothing makes an Authenticator
				c.Auth.Webhook.URL, c.Auth.SubscribeWebhook.URL = []string{hookURL}, []string{hookURL}
			}
			change(t, &c, s.Path, end)
			for _, other := range companions[s.Path+" "+end] {
				path, text, _ := strings.Cut(other, "=")
				change(t, &c, path, text)
			}
			if err := c.Validate(); err != nil {
				t.Errorf("%s=%s: %v", s.Path, end, err)
				continue
			}
			if _, err := build(c, nil); err != nil {
				t.Errorf("%s=%s is allowed by the configuration and refused later: %v", s.Path, end, err)
			}
		}
	}
	if ranges < 80 {
		t.Errorf("only %d ends of ranges", ranges)
	}
}
