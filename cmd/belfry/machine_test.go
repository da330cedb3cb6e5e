package main

import (
	"fmt"
	"regexp"
	"slices"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"belfry/config"
	"belfry/host"
	"belfry/push"
)

func TestResolve(t *testing.T) {
	for _, tc := range []struct {
		name                   string
		machine                machine
		change                 func(*config.Config)
		node                   string
		shards, procs, maximum int
	}{
		{"all by itself", machine{cores: 2, descriptors: 20000, hostname: "edge.a", suffix: "beef"}, nil, "edge.a-beef", 2, 4, 20000 - 128 - 2*9 - 1250 - 64 - 20000/32},
		{"many cores", machine{cores: 64, descriptors: 1 << 20, hostname: "h", suffix: "0000"}, nil, "h-0000", 64, 66, 1<<20 - 128 - 64*9 - 8192 - 64 - 16384},
		{"more cores than shards", machine{cores: 8, descriptors: 20000, hostname: "h", suffix: "0000"}, func(c *config.Config) { c.Shards = 2 }, "h-0000", 2, 8, 20000 - 128 - 2*9 - 1250 - 64 - 20000/32},
		{"ports", machine{cores: 2, descriptors: 20000, hostname: "h", suffix: "0000"}, func(c *config.Config) { c.Listen = []string{":9000-9019"} }, "h-0000", 2, 4, 20000 - 128 - 2*28 - 1250 - 64 - 20000/32},
		{"few descriptors", machine{cores: 2, descriptors: 1024, hostname: "h", suffix: "0000"}, nil, "h-0000", 2, 4, 736},
		{"told", machine{cores: 2, descriptors: 1024, hostname: "h", suffix: "0000"}, func(c *config.Config) {
			c.Node.Name, c.Shards, c.GOMAXPROCS, c.MaxConnections = "n1", 3, 9, 77
		}, "n1", 3, 9, 77},
		{"odd host name", machine{cores: 1, descriptors: 1024, hostname: "ä b", suffix: "0000"}, nil, "b-0000", 1, 3, 736},
		{"no host name", machine{cores: 1, descriptors: 1024, hostname: "日", suffix: "0000"}, nil, "node-0000", 1, 3, 736},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := config.Default()
			if tc.change != nil {
				tc.change(&c)
			}
			tc.machine.resolve(&c)
			if c.Node.Name != tc.node || c.Shards != tc.shards || c.GOMAXPROCS != tc.procs || c.MaxConnections != tc.maximum {
				t.Errorf("node %q, %d shards, %d procs, %d connections; want %q, %d, %d, %d",
					c.Node.Name, c.Shards, c.GOMAXPROCS, c.MaxConnections, tc.node, tc.shards, tc.procs, tc.maximum)
			}
			if err := c.Validate(); err != nil {
				t.Errorf("resolved to values that are not allowed: %v", err)
			}
		})
	}
}

func TestThisMachine(t *testing.T) {
	m, err := thisMachine()
	if err != nil {
		t.Fatal(err)
	}
	if m.cores < 1 || m.descriptors < 1 || m.hostname == "" || !regexp.MustCompile(`^[0-9a-f]{4}$`).MatchString(m.suffix) {
		t.Errorf("got %+v", m)
	}
}

// Values that this machine does not allow are lowered and reported, and
// descriptors are reserved for all connections of the API.
func TestResolveLowers(t *testing.T) {
	here := machine{cores: 2, descriptors: 2000, hostname: "h", suffix: "0000"}
	c := config.Default()
	c.API.MonitorListen = "127.0.0.1:8082"
	changed := here.resolve(&c)
	if c.Upgrade.MaxPending != 62 || c.API.MaxConnections != 62 || c.API.MaxBodies != 31 || c.API.MaxRequests != 62 {
		t.Errorf("%d half-open connections, %+v", c.Upgrade.MaxPending, c.API)
	}
	var settings []string
	for _, l := range changed {
		settings = append(settings, fmt.Sprintf("%s %d %d", l.setting, l.set, l.now))
		if l.why == "" || l.fix == "" {
			t.Errorf("%+v", l)
		}
	}
	if want := []string{"upgrade.max_pending 16384 62", "api.max_connections 8192 62", "api.max_bodies 1024 31", "api.max_requests 2048 62"}; !slices.Equal(settings, want) {
		t.Errorf("%q, want %q", settings, want)
	}
	here.descriptors = 1 << 20
	if c = config.Default(); len(here.resolve(&c)) != 0 {
		t.Errorf("lowered although there are enough descriptors: %+v", c.Upgrade)
	}
	// Settings that depend on a low value of the operator are lowered too.
	c = config.Default()
	c.API.MaxConnections = 100
	if changed := here.resolve(&c); len(changed) != 2 || c.API.MaxBodies != 50 || c.API.MaxRequests != 100 {
		t.Errorf("%+v", changed)
	}
}

// The connections of the API at each address, those for health included, are
// reserved, however few descriptors there are.
func TestReserveHoldsTheAPI(t *testing.T) {
	for descriptors := 64; descriptors <= 1<<20; descriptors += 1 + descriptors/10 {
		for _, monitor := range []string{"", "127.0.0.1:8082"} {
			here := machine{cores: 2, descriptors: descriptors, hostname: "h", suffix: "0000"}
			c := config.Default()
			c.API.MonitorListen = monitor
			here.resolve(&c)
			api := apiAddresses(&c) * (c.API.MaxConnections + push.HealthReserve(c.API.MaxConnections))
			if used := c.MaxConnections + c.Upgrade.MaxPending + api; used > descriptors && c.MaxConnections > 1 {
				t.Fatalf("%d descriptors, monitor %q: %d for clients, %d half-open, %d for the API", descriptors, monitor, c.MaxConnections, c.Upgrade.MaxPending, api)
			}
			if descriptors >= 1024 && c.MaxConnections < descriptors/2 {
				t.Fatalf("%d descriptors: %d are left to clients", descriptors, c.MaxConnections)
			}
		}
	}
}

// A lowered value is logged only if the operator has set it.
func TestWarnOfLowered(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	changed := []lowered{{"upgrade.max_pending", 16384, 625, "files", "more"}, {"api.max_connections", 8192, 1250, "files", "more"}}
	warnOfLowered(changed, map[string]config.Source{"upgrade.max_pending": {From: "flag", Name: "--set"}}, zap.New(core))
	lines := logs.All()
	if len(lines) != 1 || lines[0].Level != zap.WarnLevel {
		t.Fatalf("%v", lines)
	}
	f := lines[0].ContextMap()
	if f["setting"] != "upgrade.max_pending" || f["value"] != int64(16384) || f["in_force"] != int64(625) || f["from"] != "--set" || f["fix"] == "" {
		t.Errorf("%v", f)
	}
}

// A TLS connection of a client counts as three descriptors.
func TestResolveTLS(t *testing.T) {
	const descriptors = 20000
	room := descriptors - 128 - 2*9 - 1250 - 64 - descriptors/32 // as in TestResolve
	room -= descriptors / 32                                     // tls.max_handshakes
	for _, tc := range []struct {
		name             string
		memory           int64
		change           func(*config.Config)
		tls, connections int
	}{
		{"all", 0, func(*config.Config) {}, room / 3, room / 3},
		{"little memory", 96 << 20, func(*config.Config) {}, 1024, 1024},
		{"some addresses", 96 << 20, func(c *config.Config) { c.Listen, c.TLS.Listen = []string{":1", ":2"}, []string{":2"} }, 1024, room - 2 - 2*1024},
		{"told", 0, func(c *config.Config) { c.TLS.MaxConnections = 100 }, 100, 100},
		{"told both", 0, func(c *config.Config) { c.TLS.MaxConnections, c.MaxConnections = 100, 200 }, 100, 200},
		{"few in all", 0, func(c *config.Config) { c.MaxConnections = 50 }, 50, 50},
		{"too many", 0, func(c *config.Config) { c.TLS.MaxConnections = 20000 }, room / 3, room / 3},
	} {
		c := config.Default()
		c.TLS.Cert, c.TLS.Key = "cert", "key"
		tc.change(&c)
		here := machine{cores: 2, descriptors: descriptors, hostname: "h", suffix: "0000", facts: host.Facts{MemoryTotal: tc.memory}}
		here.resolve(&c)
		if c.TLS.MaxConnections != tc.tls || c.MaxConnections != tc.connections {
			t.Errorf("%s: %d TLS connections, %d in all; want %d, %d", tc.name, c.TLS.MaxConnections, c.MaxConnections, tc.tls, tc.connections)
		}
		if 2*c.TLS.MaxConnections+c.MaxConnections > room {
			t.Errorf("%s: %d TLS connections and %d in all take more than %d descriptors", tc.name, c.TLS.MaxConnections, c.MaxConnections, room)
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
