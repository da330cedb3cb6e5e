package main

import (
	"fmt"
	"regexp"
	"slices"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"belfry/config"
)

func TestResolve(t *testing.T) {
	for _, tc := range []struct {
		name                   string
		machine                machine
		change                 func(*config.Config)
		node                   string
		shards, procs, maximum int
	}{
		{"all by itself", machine{cores: 2, descriptors: 20000, hostname: "edge.a", suffix: "beef"}, nil, "edge.a-beef", 2, 4, 20000 - 128 - 2*9 - 1250 - 20000/32},
		{"many cores", machine{cores: 64, descriptors: 1 << 20, hostname: "h", suffix: "0000"}, nil, "h-0000", 64, 66, 1<<20 - 128 - 64*9 - 8192 - 16384},
		{"more cores than shards", machine{cores: 8, descriptors: 20000, hostname: "h", suffix: "0000"}, func(c *config.Config) { c.Shards = 2 }, "h-0000", 2, 8, 20000 - 128 - 2*9 - 1250 - 20000/32},
		{"ports", machine{cores: 2, descriptors: 20000, hostname: "h", suffix: "0000"}, func(c *config.Config) { c.Listen = []string{":9000-9019"} }, "h-0000", 2, 4, 20000 - 128 - 2*28 - 1250 - 20000/32},
		{"few descriptors", machine{cores: 2, descriptors: 1024, hostname: "h", suffix: "0000"}, nil, "h-0000", 2, 4, 782},
		{"told", machine{cores: 2, descriptors: 1024, hostname: "h", suffix: "0000"}, func(c *config.Config) {
			c.Node.Name, c.Shards, c.GOMAXPROCS, c.MaxConnections = "n1", 3, 9, 77
		}, "n1", 3, 9, 77},
		{"odd host name", machine{cores: 1, descriptors: 1024, hostname: "ä b", suffix: "0000"}, nil, "b-0000", 1, 3, 791},
		{"no host name", machine{cores: 1, descriptors: 1024, hostname: "日", suffix: "0000"}, nil, "node-0000", 1, 3, 791},
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
				t.Errorf("resolved to what is not allowed: %v", err)
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

// What this machine does not allow is lowered and said, whatever it is set to;
// and what the API is allowed is reserved for it.
func TestResolveLowers(t *testing.T) {
	here := machine{cores: 2, descriptors: 2000, hostname: "h", suffix: "0000"}
	c := config.Default()
	c.API.MonitorListen = "127.0.0.1:8082"
	changed := here.resolve(&c)
	if c.Upgrade.MaxPending != 62 || c.API.MaxConnections != 62 {
		t.Errorf("%d half-open connections, %d of the API", c.Upgrade.MaxPending, c.API.MaxConnections)
	}
	var settings []string
	for _, l := range changed {
		settings = append(settings, fmt.Sprintf("%s %d %d", l.setting, l.set, l.now))
	}
	if want := []string{"upgrade.max_pending 16384 62", "api.max_connections 8192 62"}; !slices.Equal(settings, want) {
		t.Errorf("%q, want %q", settings, want)
	}
	if used := c.MaxConnections + c.Upgrade.MaxPending + 2*c.API.MaxConnections; used+reservedDescriptors > here.descriptors {
		t.Errorf("clients and the API may have %d of %d descriptors", used, here.descriptors)
	}
	here.descriptors = 1 << 20
	if c = config.Default(); len(here.resolve(&c)) != 0 {
		t.Errorf("lowered where there is enough: %+v", c.Upgrade)
	}
}

// An operator is told what became of a value of his own, and not of a default.
func TestWarnOfLowered(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	changed := []lowered{{"upgrade.max_pending", 16384, 625, "files"}, {"api.max_connections", 8192, 1250, "files"}}
	warnOfLowered(changed, map[string]config.Origin{"upgrade.max_pending": {Source: "flag", Name: "--set"}}, zap.New(core))
	lines := logs.All()
	if len(lines) != 1 || lines[0].Level != zap.WarnLevel {
		t.Fatalf("%v", lines)
	}
	f := lines[0].ContextMap()
	if f["setting"] != "upgrade.max_pending" || f["value"] != int64(16384) || f["in_force"] != int64(625) || f["from"] != "--set" || f["mend"] == "" {
		t.Errorf("%v", f)
	}
}
