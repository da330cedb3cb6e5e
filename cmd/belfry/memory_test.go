package main

import (
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"belfry/config"
	"belfry/host"
)

const mib = 1 << 20

// TestMemoryShares checks the table of docs/operations.md.
func TestMemoryShares(t *testing.T) {
	type sizes [len(queueBounds)]config.Size // in MiB, in the order of queueBounds
	for _, tc := range []struct {
		name   string
		facts  host.Facts
		change func(*config.Config)
		want   sizes
	}{
		{"container of 192 MiB", host.Facts{MemoryTotal: 64 << 30, Cgroup: host.Cgroup{Memory: 192 * mib}}, nil, sizes{24, 12, 12, 12, 6}},
		{"container of 512 MiB", host.Facts{MemoryTotal: 64 << 30, Cgroup: host.Cgroup{Memory: 512 * mib}}, nil, sizes{64, 32, 32, 32, 16}},
		{"host of 1 GiB", host.Facts{MemoryTotal: 1 << 30, Cgroup: host.Cgroup{Memory: host.Unlimited}}, nil, sizes{128, 64, 64, 64, 32}},
		{"host of 16 GiB", host.Facts{MemoryTotal: 16 << 30}, nil, sizes{256, 256, 256, 256, 64}},
		{"not known", host.Facts{}, nil, sizes{256, 256, 256, 256, 64}},
		{"hardly any", host.Facts{MemoryTotal: 16 * mib}, nil, sizes{8, 4, 4, 4, 2}},
		{"told", host.Facts{MemoryTotal: 1 << 30}, func(c *config.Config) { c.Backlog.NodeBytes = config.GiB }, sizes{1024, 64, 64, 64, 32}},
		{"large messages", host.Facts{MemoryTotal: 64 * mib}, func(c *config.Config) {
			c.Backlog.Bytes, c.API.MaxPayload, c.Session.MaxMessage = 16*config.MiB, 4*config.MiB, 16*config.MiB
		}, sizes{16, 8, 32, 8, 8}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := machine{cores: 2, descriptors: 20000, hostname: "h", facts: tc.facts}
			c := config.Default()
			if tc.change != nil {
				tc.change(&c)
			}
			m.resolve(&c)
			for i, b := range queueBounds {
				if got := *b.value(&c) / config.MiB; got != tc.want[i] {
					t.Errorf("%s: %d MiB; want %d", b.path, got, tc.want[i])
				}
			}
			if err := c.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestMemoryFits: full queues, an idle node and as many connections as doctor
// reports fit into a container of any size.
func TestMemoryFits(t *testing.T) {
	for _, size := range []int64{192 * mib, 256 * mib, 512 * mib, 1 << 30, 4 << 30, 16 << 30} {
		m := roomy()
		m.facts.Cgroup.Memory = size
		c := config.Default()
		m.resolve(&c)
		r := host.Check(m.facts, m.want(&c, 0))
		const atRest = 40 * mib
		taken := queueBytes(&c) + atRest + r.Now.Connections*(host.KernelBytes+host.UserBytes)
		if r.Now.Connections == 0 || taken > size {
			t.Errorf("%d MiB: %d MiB wait and %d connections", size/mib, queueBytes(&c)/mib, r.Now.Connections)
		}
		if limit := goMemory(size, c.MaxConnections); limit < queueBytes(&c)+atRest || limit > size {
			t.Errorf("%d MiB: the runtime's limit is %d MiB", size/mib, limit/mib)
		}
	}
}

// TestMemoryWarning: values that were set are kept and checked.
func TestMemoryWarning(t *testing.T) {
	for _, tc := range []struct {
		set  config.Size
		want string
	}{{0, ""}, {400 * config.MiB, "belfry serve --set backlog.node_bytes=64MiB"}} {
		m := roomy()
		m.facts.Cgroup.Memory = 512 * mib
		c := config.Default()
		c.Backlog.NodeBytes = tc.set
		m.resolve(&c)
		core, logged := observer.New(zap.WarnLevel)
		t.Setenv("GOMEMLIMIT", "off") // the limit of the test process stays unchanged
		m.limitMemory(&c, zap.New(core))
		var fixes []string
		for _, entry := range logged.All() {
			fixes = append(fixes, entry.ContextMap()["fix"].(string))
		}
		if got := strings.Join(fixes, "\n"); got != tc.want {
			t.Errorf("%v: %q; want %q", tc.set, got, tc.want)
		}
	}
}
