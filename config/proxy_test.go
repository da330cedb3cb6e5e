package config

import (
	"strings"
	"testing"
)

func TestProxySettings(t *testing.T) {
	for _, tc := range []struct {
		set  func(*Config)
		fail string // "": allowed
	}{
		{func(c *Config) { c.Proxy.Protocol = []string{":8080"} }, ""},
		{func(c *Config) { c.Proxy.Protocol = []string{"127.0.0.1:8080"} }, `proxy.protocol: "127.0.0.1:8080" is not an entry of listen (:8080)`},
		{func(c *Config) { c.Proxy.Trusted = []string{"10.0.0.0/8", "::1", "192.0.2.1", "fd00::/8"} }, ""},
		{func(c *Config) { c.Proxy.Trusted = []string{"10.0.0.0/33"} }, `proxy.trusted: "10.0.0.0/33"; allowed are networks`},
		{func(c *Config) { c.Proxy.Trusted = []string{"proxy.example"} }, `proxy.trusted: "proxy.example"; allowed are networks`},
		{func(c *Config) { c.Proxy.Trusted = []string{"fe80::1%eth0"} }, `proxy.trusted: "fe80::1%eth0"; allowed`},
		{func(c *Config) { c.Proxy.Trusted = []string{"0.0.0.0/0"} }, `would let every client claim any address`},
		{func(c *Config) { c.Proxy.Trusted = []string{"::/0"} }, `would let every client claim any address`},
		{func(c *Config) { c.Proxy.Trusted = []string{"::ffff:10.0.0.0/104"} }, `write an IPv4 network in IPv4 notation`},
		{func(c *Config) { c.Proxy.Header = "x-real-ip" }, `proxy.header`},
		{func(c *Config) { c.Path = "/healthz" }, `path: /healthz is taken by upgrade.health`},
		{func(c *Config) { c.Path, c.Upgrade.Health = "/healthz", false }, ""},
	} {
		c := Default()
		tc.set(&c)
		err := c.Validate()
		if tc.fail == "" && err != nil || tc.fail != "" && (err == nil || !strings.Contains(err.Error(), tc.fail)) {
			t.Errorf("%+v: %v; want %q", c.Proxy, err, tc.fail)
		}
	}
	for in, want := range map[string]string{"10.1.2.3/8": "10.0.0.0/8", "::1": "::1/128", "192.0.2.1": "192.0.2.1/32"} {
		if got, err := ParseNetwork(in); err != nil || got.String() != want {
			t.Errorf("%s: %v, %v; want %s", in, got, err, want)
		}
	}
}
