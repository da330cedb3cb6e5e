package config

import (
	"fmt"
	"strings"

	"belfry/message"
)

// maxGatewayRoutes limits gateway.routes, as package gateway does.
const maxGatewayRoutes = 64

// checkGateway checks gateway.routes. Package gateway compiles them with the same
// rules and has the last word on patterns.
func (c *Config) checkGateway(k *checks) {
	if n := len(c.Gateway.Routes); n > maxGatewayRoutes {
		k.fail("gateway.routes", "%d routes; allowed are up to %d", n, maxGatewayRoutes)
	}
	names := map[string]bool{}
	for i := range c.Gateway.Routes {
		r := &c.Gateway.Routes[i]
		at := fmt.Sprintf("gateway.routes[%d].", i)
		if err := checkRouteName(r.Name); err != nil {
			k.fail(at+"name", "%v", err)
		} else if names[r.Name] {
			k.fail(at+"name", "%q is the name of another route; allowed are names that differ", r.Name)
		}
		names[r.Name] = true
		c.checkRoute(k, r, at)
	}
	for i, key := range c.Gateway.SigningKeys {
		if !strings.HasPrefix(key.Reveal(), "whsec_") {
			k.fail("gateway.signing_keys", "key %d does not begin with whsec_; allowed is whsec_ and base64 of 24 to 64 random bytes", i+1)
		}
	}
}

func (c *Config) checkRoute(k *checks, r *GatewayRoute, at string) {
	switch {
	case r.URL == "" && len(r.URLs) == 0:
		k.fail(at+"url", "route %s has neither url nor urls; one of them is needed", r.Name)
	case r.URL != "" && len(r.URLs) > 0:
		k.fail(at+"urls", "route %s has url and urls; set one of them", r.Name)
	}
	for _, text := range r.Backends() {
		k.when(at+"url", checkHookURL(text))
	}
	if len(r.Events) == 0 {
		k.fail(at+"events", "route %s has none; allowed are connect, message, disconnect, subscribe and unsubscribe", r.Name)
	}
	for _, event := range r.Events {
		switch event {
		case "connect", "message", "disconnect", "subscribe", "unsubscribe":
		default:
			k.fail(at+"events", "%q in route %s; allowed are connect, message, disconnect, subscribe and unsubscribe", event, r.Name)
		}
	}
	if p := r.Path; p != "" && (!strings.HasPrefix(p, "/") || strings.ContainsAny(p, "?#* ")) {
		k.fail(at+"path", "%q in route %s; allowed are paths that begin with / and have no query and no *", p, r.Name)
	} else if p != "" && (p == "/healthz" && c.Upgrade.Health || p == "/echo" && c.Dev) {
		k.fail(at+"path", "%q in route %s is taken; allowed is any other path", p, r.Name)
	}
	if r.Retries > 0 && !r.Idempotent {
		k.fail(at+"retries", "%d in route %s, which is not idempotent; set idempotent: true if its backend takes an event that comes twice as one", r.Retries, r.Name)
	}
	if r.Delivery == "at_least_once" && !r.Idempotent {
		k.fail(at+"delivery", "at_least_once in route %s, which is not idempotent; set idempotent: true if its backend takes an event that comes twice as one", r.Name)
	}
	checkMatch(k, r, at+"match.")
}

// checkMatch checks the conditions of a route.
func checkMatch(k *checks, r *GatewayRoute, at string) {
	m := &r.Match
	if m.Value != "" && m.Field == "" {
		k.fail(at+"value", "needs match.field in route %s", r.Name)
	}
	for _, p := range [][2]string{{"uid", m.UID}, {"topic", m.Topic}, {"event", m.Event}, {"value", m.Value}} {
		if strings.Contains(strings.TrimSuffix(p[1], "*"), "*") {
			k.fail(at+p[0], "%q in route %s; a * is allowed only at the end", p[1], r.Name)
		}
	}
	if prefix, wild := strings.CutSuffix(m.Topic, "*"); m.Topic != "" && m.Topic != "*" && !strings.Contains(prefix, "*") {
		if err := message.CheckTopic(strings.TrimSuffix(prefix, ".")); err != nil || wild != strings.HasSuffix(prefix, ".") {
			k.fail(at+"topic", "%q in route %s; allowed are a topic, a topic followed by .*, and *", m.Topic, r.Name)
		}
	}
	for _, event := range r.Events {
		switch {
		case event != "message" && (m.Event != "" || m.Field != ""):
			k.fail(at+"event", "of route %s is for messages, and its events include %s, which never match; give them a route of their own", r.Name, event)
			return
		case (event == "connect" || event == "disconnect") && m.Topic != "":
			k.fail(at+"topic", "of route %s never matches %s, which has no topic; give it a route of its own", r.Name, event)
			return
		}
	}
}

// Backends returns the URLs of a route.
func (r *GatewayRoute) Backends() []string {
	if r.URL != "" {
		return append([]string{r.URL}, r.URLs...)
	}
	return r.URLs
}

// checkRouteName checks the name of a route, which is a label of metrics.
func checkRouteName(name string) error {
	const rule = "1 to 32 of a-z 0-9 - _ and dots"
	if n := len(name); n < 1 || n > maxKeyName {
		return fmt.Errorf("%d characters; allowed are %s", n, rule)
	}
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return fmt.Errorf("%q; allowed are %s", name, rule)
	}
	return nil
}
