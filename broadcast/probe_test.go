package broadcast

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"belfry/message"
)

// externalWith starts a NATS server with these options.
func externalWith(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	if o.Port == 0 {
		o.Port = freePort(t)
	}
	o.Host, o.NoLog, o.NoSigs = "127.0.0.1", true, true
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("external NATS server not ready")
	}
	t.Cleanup(func() { kill(s) })
	return s
}

// A NATS server through which messages cannot reach other nodes is noticed at
// once: the node is not ready, and pushes are refused before any delivery.
func TestUnusableServer(t *testing.T) {
	user := func(p *server.Permissions) []*server.User {
		return []*server.User{{Username: "u", Password: "p", Permissions: p}}
	}
	deny := func(subjects ...string) *server.SubjectPermission {
		return &server.SubjectPermission{Allow: []string{">"}, Deny: subjects}
	}
	for name, c := range map[string]struct {
		o       server.Options
		reason  string
		refuses bool
	}{
		"no headers":            {server.Options{NoHeaderSupport: true}, "does not support headers", true},
		"max_payload":           {server.Options{MaxPayload: 64 << 10}, "max_payload is 65536; it must be at least 69632", false},
		"publish all":           {server.Options{Users: user(&server.Permissions{Publish: deny("belfry.all")})}, "belfry.all", true},
		"publish to topics":     {server.Options{Users: user(&server.Permissions{Publish: deny("belfry.topic.>")})}, "Publish", true},
		"publish to users":      {server.Options{Users: user(&server.Permissions{Publish: deny("belfry.user.*")})}, "Publish", true},
		"publish to nodes":      {server.Options{Users: user(&server.Permissions{Publish: deny("belfry.node.*")})}, "Publish", true},
		"publish beacons":       {server.Options{Users: user(&server.Permissions{Publish: deny("belfry.ctl.>")})}, "Publish", true},
		"subscribe to all":      {server.Options{Users: user(&server.Permissions{Subscribe: deny("belfry.all")})}, "Subscription", false},
		"subscribe to topics":   {server.Options{Users: user(&server.Permissions{Subscribe: deny("belfry.topic.>")})}, "Subscription", false},
		"subscribe to users":    {server.Options{Users: user(&server.Permissions{Subscribe: deny("belfry.user.*")})}, "Subscription", false},
		"subscribe to its node": {server.Options{Users: user(&server.Permissions{Subscribe: deny("belfry.node.*")})}, "Subscription", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{URLs: []string{externalWith(t, c.o).ClientURL()}}
			if c.o.Users != nil {
				o.User, o.Password = "u", "p"
			}
			n := open(t, o)
			eventually(t, "the reason", func() bool {
				err := n.Ready()
				return err != nil && strings.Contains(err.Error(), c.reason)
			})
			var over *message.OverloadedError
			err := n.Publish(&message.Message{Payload: []byte("x")})
			if c.refuses != (errors.As(err, &over) && over.Unavailable) || !c.refuses && err != nil {
				t.Errorf("a push: %v", err)
			}
			if st := n.Stats(); c.refuses && (len(n.messages()) != 0 || st.RefusedNATS != 1 || st.LostTooLarge != 0 || st.OutboxMessages != 0) {
				t.Errorf("%d delivered here; %+v", len(n.messages()), st)
			}
			if err := n.Ready(); err == nil {
				t.Error("ready later")
			}
		})
	}
}

// A node checks again when NATS comes back as another server, and when missing
// permissions are granted.
func TestServerReplacedByUnusableOne(t *testing.T) {
	s := external(t, 0)
	port := portOf(t, s)
	n := sharing(t, s.ClientURL(), Options{})
	eventually(t, "ready", n[0].whole)
	kill(s)
	eventually(t, "loss noticed", n[0].away)
	if err := n[0].Ready(); err != nil {
		t.Errorf("a node that was ready is not ready without NATS: %v", err)
	}
	n[0].publish(t, message.ToAll(), "kept")
	s = externalWith(t, server.Options{Port: port, NoHeaderSupport: true})
	eventually(t, "the reason", func() bool { err := n[0].Ready(); return err != nil && strings.Contains(err.Error(), "headers") })
	if err := n[0].Publish(&message.Message{}); err == nil {
		t.Error("a push is accepted that cannot reach other nodes")
	}
	if st := n[0].Stats(); st.OutboxMessages != 1 || st.LostTooLarge != 0 {
		t.Errorf("the waiting message was not kept: %+v", st)
	}
	kill(s)
	external(t, port)
	eventually(t, "the kept message", func() bool { return slices.Equal(n[1].payloads(""), []string{"kept"}) })
	eventually(t, "whole", n[0].whole)
}

func TestRequired(t *testing.T) {
	s := external(t, 0)
	n := open(t, Options{URLs: []string{s.ClientURL()}, Required: true})
	eventually(t, "ready", func() bool { return n.Ready() == nil })
	kill(s)
	eventually(t, "not ready", func() bool { return n.Ready() != nil })
	if why := n.Degraded(); why != nil {
		t.Errorf("degraded as well: %q", why)
	}
}

// A wrong address is reported in the log, again every minute, and by Ready. The
// password is never shown.
func TestWrongURLIsReported(t *testing.T) {
	core, lines := observer.New(zap.InfoLevel)
	clk := newFakeClock()
	url := "nats://me:secret@127.0.0.1:1"
	n := open(t, Options{URLs: []string{url, "other:secret@127.0.0.1:2"}, Log: zap.New(core), clock: clk.clock()})
	warned := func() int { return lines.FilterMessageSnippet("do not reach").Len() }
	eventually(t, "the warning", func() bool { return warned() == 1 })
	if n.Ready() == nil {
		t.Error("ready without ever having had NATS")
	}
	for range 59 {
		clk.advance(t, time.Second)
	}
	if warned() != 1 {
		t.Errorf("%d warnings within the minute", warned())
	}
	clk.advance(t, time.Second)
	clk.advance(t, time.Second)
	eventually(t, "the second", func() bool { return warned() == 2 })
	reasons := lines.FilterMessageSnippet("do not reach").All()[1].ContextMap()["not_ready"].([]any)
	if text := reasons[0].(string); !strings.Contains(text, "nats://127.0.0.1:1, 127.0.0.1:2") || !strings.Contains(text, "refused") {
		t.Errorf("the reason is %q", text)
	}
	for _, l := range lines.All() {
		for _, f := range l.Context {
			if strings.Contains(f.String, "secret") || strings.Contains(l.Message, "secret") {
				t.Errorf("a line shows the password: %s", l.Message)
			}
		}
	}
	if strings.Contains(n.Ready().Error(), "secret") {
		t.Error("the reason shows the password")
	}
}

// Ready shows the newest reason: no NATS, then NATS with another password, then
// no reason.
func TestReasonIsTheNewest(t *testing.T) {
	for name, first := range map[string]string{"never connected": "", "was connected": "right"} {
		t.Run(name, func(t *testing.T) {
			clk := newFakeClock()
			s := externalWith(t, server.Options{Authorization: "right"})
			port, url := portOf(t, s), s.ClientURL()
			if first == "" {
				kill(s)
			}
			n := open(t, Options{URLs: []string{url}, Token: "right", clock: clk.clock(), Required: true})
			says := func(text string) func() bool {
				return func() bool {
					clk.advance(t, time.Second)
					err := n.Ready()
					return err != nil && strings.Contains(err.Error(), text)
				}
			}
			if first != "" {
				eventually(t, "ready", func() bool { return n.Ready() == nil })
				kill(s)
			}
			eventually(t, "connection refused", says("refused"))
			s = externalWith(t, server.Options{Port: port, Authorization: "other"})
			eventually(t, "authorization", says("uthoriz"))
			kill(s)
			eventually(t, "connection refused again", says("refused"))
			externalWith(t, server.Options{Port: port, Authorization: "right"})
			eventually(t, "ready", func() bool { return n.Ready() == nil })
		})
	}
}
