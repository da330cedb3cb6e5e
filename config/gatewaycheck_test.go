package config

import (
	"fmt"
	"testing"
)

// Rules for the list of routes, and for what routes share. TestMappingsRefused has
// those for one route.
func TestGatewaySettings(t *testing.T) {
	const key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	routes := func(n int) (all []GatewayRoute) {
		for i := range n {
			all = append(all, GatewayRoute{Name: fmt.Sprint("r", i), URL: "http://a", Events: []string{"message"},
				Timeout: 1e9, Delivery: "at_most_once", InFlight: 1, InFlightBytes: MiB, Queue: 1, MaxAnswer: MiB, OnError: "drop"})
		}
		return all
	}
	at := func(path string) func(*Config) {
		return func(c *Config) {
			c.Gateway.Routes = routes(1)
			c.Gateway.Routes[0].Path = path
		}
	}
	for _, tc := range []struct {
		name, setting, says string
		change              func(*Config)
	}{
		{"as many routes as may be", "", "", func(c *Config) { c.Gateway.Routes = routes(maxGatewayRoutes) }},
		{"more routes", "gateway.routes", "65 routes; allowed are up to 64", func(c *Config) { c.Gateway.Routes = routes(maxGatewayRoutes + 1) }},
		{"keys", "", "", func(c *Config) { c.Gateway.SigningKeys = []Secret{key, key} }},
		{"key of another kind", "gateway.signing_keys", "key 2 does not begin with whsec_", func(c *Config) { c.Gateway.SigningKeys = []Secret{key, "whsk_hidden"} }},
		{"path of its own", "", "", at("/chat")},
		{"path of the health endpoint", "gateway.routes[0].path", "is taken", func(c *Config) { at("/healthz")(c); c.Upgrade.Health = true }},
		{"the same without it", "", "", func(c *Config) { at("/healthz")(c); c.Upgrade.Health = false }},
		{"path of the echo endpoint", "gateway.routes[0].path", "is taken", func(c *Config) { at("/echo")(c); c.Dev = true }},
		{"path with a query", "gateway.routes[0].path", "begin with /", at("/chat?x")},
	} {
		expectOne(t, tc.name, tc.setting, tc.says, tc.change)
	}
}
