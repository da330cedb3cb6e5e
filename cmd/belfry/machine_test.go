package main

import (
	"regexp"
	"testing"

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
		{"all by itself", machine{cores: 2, descriptors: 20000, hostname: "edge.a", suffix: "beef"}, nil, "edge.a-beef", 2, 4, 20000 - 1024 - 2*9 - 20000/32},
		{"many cores", machine{cores: 64, descriptors: 1 << 20, hostname: "h", suffix: "0000"}, nil, "h-0000", 64, 66, 1<<20 - 1024 - 64*9 - 16384},
		{"more cores than shards", machine{cores: 8, descriptors: 20000, hostname: "h", suffix: "0000"}, func(c *config.Config) { c.Shards = 2 }, "h-0000", 2, 8, 20000 - 1024 - 2*9 - 20000/32},
		{"ports", machine{cores: 2, descriptors: 20000, hostname: "h", suffix: "0000"}, func(c *config.Config) { c.Listen = []string{":9000-9019"} }, "h-0000", 2, 4, 20000 - 1024 - 2*28 - 20000/32},
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
