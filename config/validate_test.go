package config

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	const key = "0123456789abcdef"
	for _, tc := range []struct {
		name    string
		change  func(*Config)
		setting string // of the one error; "" for none
		problem string
	}{
		{"port range", func(c *Config) { c.Listen = []string{":9000-9019", "[::1]:80"} }, "", ""},
		{"no address", func(c *Config) { c.Listen = nil }, "listen", "at least one"},
		{"too many ports", func(c *Config) { c.Listen = []string{":1000-1999", ":2000-2999"} }, "listen", "2000 ports in all; allowed are 1 to 1024"},
		{"path", func(c *Config) { c.Path = "ws" }, "path", "begin with /"},
		{"path taken", func(c *Config) { c.Dev, c.Path = true, "/echo" }, "path", "taken under dev"},
		{"node name", func(c *Config) { c.Node.Name = "edge 1" }, "node.name", "1 to 64 of A-Z"},
		{"node name long", func(c *Config) { c.Node.Name = strings.Repeat("x", 65) }, "node.name", "65 characters"},
		{"negative", func(c *Config) { c.Shards = -1 }, "shards", "-1; allowed are 0 (one for each core) or 1 to 256"},
		{"starving", func(c *Config) { c.Shards, c.GOMAXPROCS = 4, 5 }, "gomaxprocs", "at least shards + 2"},
		{"not starving", func(c *Config) { c.Shards, c.GOMAXPROCS = 4, 6 }, "", ""},
		{"origins", func(c *Config) {
			c.Upgrade.Origins = []string{"*", "null", "https://*.a.org", "https://a.org:8443", "http://localhost:*", "http://[::1]:*", "file://", "wss://a.org:443"}
		}, "", ""},
		{"origin", func(c *Config) { c.Upgrade.Origins = []string{"https://a.org/x"} }, "upgrade.origins", "scheme://host"},
		{"origin without scheme", func(c *Config) { c.Upgrade.Origins = []string{"a.org"} }, "upgrade.origins", "scheme://host"},
		{"origin's port", func(c *Config) { c.Upgrade.Origins = []string{"https://a.org:99999"} }, "upgrade.origins", "1 to 65535 and *"},
		{"origin's star", func(c *Config) { c.Upgrade.Origins = []string{"https://a.*.org"} }, "upgrade.origins", "scheme://*.host"},
		{"patterns", func(c *Config) { c.Auth.Subscribe = []string{"*", "public.*", "a:b/c@d"} }, "", ""},
		{"pattern", func(c *Config) { c.Auth.Subscribe = []string{"a.>"} }, "auth.subscribe", "topics followed by .*"},
		{"pattern inside", func(c *Config) { c.Auth.Subscribe = []string{"a.*.b"} }, "auth.subscribe", "topics followed by .*"},
		{"empty token", func(c *Config) { c.Auth.Subscribe = []string{"a..b"} }, "auth.subscribe", "no empty token"},
		{"backlog", func(c *Config) { c.Backlog.NodeBytes = MiB; c.Backlog.Bytes = 2 * MiB }, "backlog.bytes", "at most backlog.node_bytes (1MiB)"},
		{"message", func(c *Config) { c.Session.InboundBytes = MiB; c.Session.MaxMessage = MiB }, "session.max_message", "at most half of session.inbound_bytes (1MiB)"},
		{"bytes from NATS", func(c *Config) { c.NATS.PendingBytes = 256 * KiB; c.API.MaxPayload = 256 * KiB }, "nats.pending_bytes", "at least api.max_payload and 128KiB (384KiB)"},
		{"payload", func(c *Config) { c.API.MaxPayload = 2 * MiB }, "api.max_payload", "at most backlog.bytes (1MiB)"},
		{"open API", func(c *Config) { c.API.Listen = ":8081" }, "api.listen", "can be reached from other machines"},
		{"open API by name", func(c *Config) { c.API.Listen = "edge1:8081" }, "api.listen", "can be reached from other machines"},
		{"guarded API", func(c *Config) { c.API.Listen, c.API.Keys = ":8081", []Secret{key} }, "", ""},
		{"guarded by file", func(c *Config) { c.API.Listen, c.API.KeysFile = ":8081", "keys" }, "", ""},
		{"IPv6 loopback", func(c *Config) { c.API.Listen = "[::1]:8081" }, "", ""},
		{"API address", func(c *Config) { c.API.Listen = "8081" }, "api.listen", "not host:port"},
		{"monitor", func(c *Config) { c.API.MonitorListen = ":99999" }, "api.monitor_listen", "ports are 1 to 65535"},
		{"short key", func(c *Config) { c.API.Keys = []Secret{key, "short"} }, "api.keys", "key 2 has 5 characters; allowed are 16 or more"},
		{"key with blank", func(c *Config) { c.API.Keys = []Secret{key + " " + key} }, "api.keys", "key 1 has a blank"},
		{"hosts", func(c *Config) { c.API.AllowedHosts = []string{"http://x"} }, "api.allowed_hosts", "host names"},
		{"external", func(c *Config) { c.NATS.URL = []string{"nats://u:p@a:4222", "tls://b", "c:4222"} }, "", ""},
		{"scheme", func(c *Config) { c.NATS.URL = []string{"http://a:1"} }, "nats.url", `scheme "http"; allowed are nats://`},
		{"port", func(c *Config) { c.NATS.URL = []string{"a:0"} }, "nats.url", "allowed are 1 to 65535"},
		{"host", func(c *Config) { c.NATS.URL = []string{"a"} }, "nats.url", "no host:port"},
		{"both", func(c *Config) { c.NATS.URL = []string{"a:1"}; c.NATS.Listen = ":4222" }, "nats.listen", "nats.url replaces"},
		{"both, routes", func(c *Config) { c.NATS.URL = []string{"a:1"}; c.NATS.Routes = []string{"b:1"} }, "nats.routes", "nats.url replaces"},
		{"open NATS", func(c *Config) { c.NATS.Listen = "0.0.0.0:4222" }, "nats.listen", "set nats.user and nats.password, or nats.token"},
		{"open NATS by name", func(c *Config) { c.NATS.Listen = "edge1:4222" }, "nats.listen", "can be reached from other machines"},
		{"NATS on loopback", func(c *Config) { c.NATS.Listen, c.NATS.ClusterListen = "[::1]:4222", "127.0.0.2:6222" }, "", ""},
		{"NATS with a user", func(c *Config) { c.NATS.Listen, c.NATS.User, c.NATS.Password = ":4222", "me", "pw" }, "", ""},
		{"NATS with a token", func(c *Config) { c.NATS.Listen, c.NATS.Token = ":4222", "t" }, "", ""},
		{"NATS with half of TLS", func(c *Config) { c.NATS.Listen = ":4222"; c.NATS.TLS.Cert, c.NATS.TLS.Key = "c", "k" }, "nats.listen", "nats.tls.ca"},
		{"NATS with certificates", func(c *Config) {
			c.NATS.Listen, c.NATS.ClusterListen = ":4222", ":6222"
			c.NATS.TLS = TLS{CA: "ca", Cert: "c", Key: "k"}
		}, "", ""},
		{"open routes", func(c *Config) { c.NATS.ClusterListen = "10.0.0.1:6222" }, "nats.cluster_listen", "set nats.cluster_user and nats.cluster_password"},
		{"a client's token is not for routes", func(c *Config) { c.NATS.ClusterListen, c.NATS.Token = ":6222", "t" }, "nats.cluster_listen", "nats.cluster_user"},
		{"guarded routes", func(c *Config) { c.NATS.ClusterListen, c.NATS.ClusterUser, c.NATS.ClusterPass = ":6222", "me", "pw" }, "", ""},
		{"advertise", func(c *Config) { c.NATS.ClusterListen, c.NATS.ClusterAdvertise = "127.0.0.1:6222", "edge1:16222" }, "", ""},
		{"advertise nothing", func(c *Config) { c.NATS.ClusterAdvertise = "edge1:16222" }, "nats.cluster_advertise", "set nats.cluster_listen too"},
		{"advertise without port", func(c *Config) { c.NATS.ClusterListen, c.NATS.ClusterAdvertise = "127.0.0.1:6222", "edge1" }, "nats.cluster_advertise", "no host:port"},
		{"routes", func(c *Config) {
			c.NATS.ClusterListen = "127.0.0.1:6222"
			c.NATS.Routes = []string{"nats://b:6222", "c:6222"}
		}, "", ""},
		{"routes, no cluster", func(c *Config) { c.NATS.Routes = []string{"b:6222"} }, "nats.routes", "need nats.cluster_listen"},
		{"cluster name", func(c *Config) { c.NATS.ClusterName = "" }, "nats.cluster_name", "0 characters"},
		{"half a pair", func(c *Config) { c.NATS.TLS.Cert = "cert.pem" }, "nats.tls.cert", "belong together"},
		{"half a user", func(c *Config) { c.NATS.User = "me" }, "nats.user", "belong together"},
		{"half a cluster user", func(c *Config) { c.NATS.ClusterListen = "127.0.0.1:6222"; c.NATS.ClusterUser = "me" }, "nats.cluster_user", "belong together"},
		{"cluster user, no cluster", func(c *Config) { c.NATS.ClusterUser, c.NATS.ClusterPass = "me", "pw" }, "nats.cluster_user", "set nats.cluster_listen too"},
		{"two ways in", func(c *Config) { c.NATS.User, c.NATS.Password, c.NATS.Token = "me", "pw", "t" }, "nats.token", "exclude each other"},
		{"outbox", func(c *Config) { c.NATS.OutboxBytes, c.API.MaxPayload = 600*KiB, 512*KiB }, "nats.outbox_bytes", "at least api.max_payload and 128KiB (640KiB)"},
		{"creds alone", func(c *Config) { c.NATS.Creds = "x.creds" }, "nats.creds", "set nats.url too"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := Default()
			tc.change(&c)
			var got Errors
			errors.As(c.Validate(), &got)
			if tc.setting == "" {
				if len(got) != 0 {
					t.Errorf("refused: %v", got)
				}
				return
			}
			if len(got) != 1 || got[0].Setting != tc.setting || !strings.Contains(got[0].Detail, tc.problem) {
				t.Errorf("got %v; want one problem of %s: %s", got, tc.setting, tc.problem)
			}
		})
	}
}

func TestParseListen(t *testing.T) {
	for _, tc := range []struct {
		text, host string
		lo, hi     int
		problem    string
	}{
		{":8080", "", 8080, 8080, ""},
		{":0", "", 0, 0, ""},
		{"127.0.0.1:9000-9019", "127.0.0.1", 9000, 9019, ""},
		{"[::1]:80", "::1", 80, 80, ""},
		{"[fe80::1%eth0]:80-80", "fe80::1%eth0", 80, 80, ""},
		{"localhost:80", "127.0.0.1", 80, 80, ""},
		{"0.0.0.0:1-1024", "0.0.0.0", 1, 1024, ""},
		{"0.0.0.0:1-1025", "", 0, 0, "1025 ports; allowed are 1 to 1024"},
		{"8080", "", 0, 0, "not host:port"},
		{"::1:80", "", 0, 0, "brackets"},
		{"example.com:80", "", 0, 0, "not an IP address"},
		{":65536", "", 0, 0, "1 to 65535"},
		{":-1", "", 0, 0, "1 to 65535"},
		{":http", "", 0, 0, "1 to 65535"},
		{":80-", "", 0, 0, "1 to 65535"},
		{":90-80", "", 0, 0, "last is not below first"},
		{":0-10", "", 0, 0, "first is not 0"},
	} {
		host, lo, hi, err := ParseListen(tc.text)
		if tc.problem != "" {
			if err == nil || !strings.Contains(err.Error(), tc.problem) {
				t.Errorf("%q: error %v; want %q", tc.text, err, tc.problem)
			}
			continue
		}
		if err != nil || host != tc.host || lo != tc.lo || hi != tc.hi {
			t.Errorf("%q: %q %d %d %v; want %q %d %d", tc.text, host, lo, hi, err, tc.host, tc.lo, tc.hi)
		}
	}
}

func FuzzParseListen(f *testing.F) {
	f.Add(":9000-9019")
	f.Add("[::1]:80")
	f.Fuzz(func(t *testing.T, text string) {
		_, lo, hi, err := ParseListen(text)
		if err == nil && (lo < 0 || hi < lo || hi > 65535 || hi-lo >= MaxListenPorts) {
			t.Errorf("%q: ports %d to %d", text, lo, hi)
		}
	})
}

// A session may not end before it begins.
func TestLifetimeSpread(t *testing.T) {
	for _, c := range []struct {
		life, spread time.Duration
		ok           bool
	}{{0, time.Hour, true}, {time.Hour, time.Hour - time.Second, true}, {time.Hour, time.Hour, false}, {time.Hour, 2 * time.Hour, false}} {
		cfg := Default()
		cfg.Session.Lifetime, cfg.Session.LifetimeSpread = c.life, c.spread
		if err := cfg.Validate(); (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "session.lifetime_spread") {
			t.Errorf("lifetime %v, spread %v: %v", c.life, c.spread, err)
		}
	}
}
