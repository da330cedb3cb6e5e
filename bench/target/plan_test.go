package target

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"belfry/bench"
)

// small is a host where a process may have 20,000 open files, large one where
// it may have two million.
func small() Facts {
	return Facts{OpenFiles: 20_000, NrOpen: 1_048_576, FileMax: 2_466_170, FilesUsed: 800, Memory: 24_000_000_000, CPUs: 2, PortLow: 32768, PortHigh: 60999}
}

func large() Facts {
	return Facts{OpenFiles: 2_000_000, NrOpen: 2_000_000, FileMax: 9_000_000, FilesUsed: 3000, Memory: 64_000_000_000, CPUs: 16, PortLow: 32768, PortHigh: 60999}
}

func TestPlanCluster(t *testing.T) {
	p, err := MakePlan(small(), Wanted{Connections: 1_001_700})
	if err != nil {
		t.Fatal(err)
	}
	checkPlan(t, p, small())
	if len(p.Nodes) != 53 || len(p.Clients) != 53 || p.Shards != 1 {
		t.Errorf("%d nodes, %d clients, %d shards", len(p.Nodes), len(p.Clients), p.Shards)
	}
	for i, n := range p.Nodes {
		if n.Connections != 18_900 || n.Ports != 1 {
			t.Errorf("node %d: %+v", i, n)
		}
	}
	if got := p.Need.Total(); got < 10e9 || got > 17e9 {
		t.Errorf("needs %s", gigabytes(got))
	}
	text := p.Text(small())
	for _, want := range []string{"1001700 connections", "53 nodes of one shard, up to 18900", "NATS in the first", "106 source addresses", "24.0 GB available"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestPlanOneNode(t *testing.T) {
	p, err := MakePlan(large(), Wanted{Connections: 1_000_000})
	if err != nil {
		t.Fatal(err)
	}
	checkPlan(t, p, large())
	if len(p.Nodes) != 1 || p.Nodes[0] != (Node{1_000_000, 20}) || p.Shards != 16 || len(p.Clients) != 16 {
		t.Errorf("%+v, %d shards, %d clients", p.Nodes, p.Shards, len(p.Clients))
	}
	if text := p.Text(large()); !strings.Contains(text, "one node of 16 shards on 20 ports, up to 50000 connections each") {
		t.Error(text)
	}
}

func TestPlanSmallAndForced(t *testing.T) {
	p, err := MakePlan(small(), Wanted{Connections: 3})
	if err != nil {
		t.Fatal(err)
	}
	checkPlan(t, p, small())
	if len(p.Nodes) != 1 || p.Nodes[0].Ports != 3 {
		t.Errorf("%+v", p.Nodes)
	}
	p, err = MakePlan(large(), Wanted{Connections: 401, PerNode: 200})
	if err != nil {
		t.Fatal(err)
	}
	checkPlan(t, p, large())
	if len(p.Nodes) != 3 || p.Shards != 1 {
		t.Errorf("%+v, %d shards", p.Nodes, p.Shards)
	}
}

// A plan stays within the resources of any host.
func TestPlanKeepsToFacts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	made := 0
	for range 2000 {
		f := large()
		f.OpenFiles = 1000 + r.IntN(300_000)
		f.CPUs = 1 + r.IntN(64)
		f.PortLow = 60999 - 2 - r.IntN(50_000)
		w := Wanted{Connections: 1 + r.IntN(300_000), PerNode: r.IntN(3) * r.IntN(50_000)}
		p, err := MakePlan(f, w)
		if err != nil {
			continue
		}
		made++
		checkPlan(t, p, f)
		if t.Failed() {
			t.Fatalf("%+v %+v", f, w)
		}
	}
	if made < 1000 {
		t.Errorf("only %d plans were made", made)
	}
}

// checkPlan checks that every connection is made once and no limit is exceeded.
func checkPlan(t *testing.T, p *Plan, f Facts) {
	t.Helper()
	sources := map[netip.Addr]bool{}
	perNode := make([]int, len(p.Nodes))
	next := 0
	for i, c := range p.Clients {
		if c.First != next || c.Count < 1 {
			t.Fatalf("client %d: %+v; %d is next", i, c, next)
		}
		next += c.Count
		perNode[c.Node] += c.Count
		for _, source := range c.Sources {
			if sources[source] || !source.IsLoopback() || source == loopback {
				t.Errorf("client %d: source %s", i, source)
			}
			sources[source] = true
		}
		if most := (f.PortHigh - f.PortLow + 1) / 2; c.Count > max(most, 1)*len(c.Sources) {
			t.Errorf("client %d: %d connections of %d sources; %d ports", i, c.Count, len(c.Sources), most)
		}
		if c.Count+bench.SpareFiles > f.OpenFiles {
			t.Errorf("client %d holds %d; %d descriptors", i, c.Count, f.OpenFiles)
		}
	}
	if next != p.Connections {
		t.Errorf("%d of %d connections are planned", next, p.Connections)
	}
	for i, n := range p.Nodes {
		if perNode[i] != n.Connections || n.Connections+nodeSpare > f.OpenFiles {
			t.Errorf("node %d: %+v, %d connect, %d descriptors", i, n, perNode[i], f.OpenFiles)
		}
		if len(p.Nodes) > 1 && n.Ports != (n.Connections+49_999)/50_000 {
			t.Errorf("node %d: %+v", i, n)
		}
	}
}

// A host whose ports are nearly all ephemeral, as people tune them, can be
// planned for. Ports that are reserved are not there for connections.
func TestPlanWithAllPortsEphemeral(t *testing.T) {
	f := small()
	f.PortLow, f.PortHigh = 1024, 65535
	p, err := MakePlan(f, Wanted{Connections: 1_001_700})
	if err != nil {
		t.Fatal(err)
	}
	checkPlan(t, p, f)
	if len(p.Clients[0].Sources) != 1 { // 18,900 connections, 32,256 ports that the kernel finds quickly
		t.Errorf("%d sources", len(p.Clients[0].Sources))
	}
	f.Reserved = 40_000
	if p, err = MakePlan(f, Wanted{Connections: 1_001_700}); err != nil || len(p.Clients[0].Sources) != 2 {
		t.Errorf("%v, %d sources", err, len(p.Clients[0].Sources))
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Facts)
		want   Wanted
		says   []string
	}{
		{"none", nil, Wanted{}, []string{"connections: 0", "1 to 10000000"}},
		{"too many", nil, Wanted{Connections: MaxConnections + 1}, []string{"connections: 10000001"}},
		{"per node", nil, Wanted{Connections: 1, PerNode: -1}, []string{"connections a node: -1"}},
		{"descriptors", func(f *Facts) { f.OpenFiles = 1024 }, Wanted{Connections: 1000}, []string{"descriptors", "1024", "ulimit -Hn"}},
		{"nodes", func(f *Facts) { f.OpenFiles = 1200 }, Wanted{Connections: 1_000_000}, []string{"10000 nodes", "at most 1000"}},
		{"files of the host", func(f *Facts) { f.FileMax = 1_000_000 }, Wanted{Connections: 1_000_000},
			[]string{"do not fit", "open files of the host: 2021200 needed", "999200 of 1000000", "sysctl -w fs.file-max=2022000"}},
		{"memory", func(f *Facts) { f.Memory = 8_000_000_000 }, Wanted{Connections: 1_000_000},
			[]string{"memory: 15.", "8.0 GB available", "kernel 11.4 GB", "CONNECTIONS="}},
		{"both", func(f *Facts) { f.Memory, f.FileMax = 1e9, 1e5 }, Wanted{Connections: 1_000_000}, []string{"memory: ", "open files"}},
	} {
		f := small()
		if c.change != nil {
			c.change(&f)
		}
		_, err := MakePlan(f, c.want)
		if err == nil {
			t.Errorf("%s: not refused", c.name)
			continue
		}
		for _, s := range c.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: no %q in %v", c.name, s, err)
			}
		}
	}
}

// The number that the refusal suggests fits, and not much more would.
func TestPlanFitting(t *testing.T) {
	poor, few := small(), small()
	poor.Memory = 8_000_000_000
	few.FileMax = 700_000
	for _, f := range []Facts{poor, few} {
		p, err := MakePlan(f, Wanted{Connections: 1_000_000})
		if err == nil {
			t.Fatal("not refused")
		}
		n := p.fitting(f)
		if _, err := MakePlan(f, Wanted{Connections: n}); err != nil {
			t.Errorf("%d were offered: %v", n, err)
		}
		if _, err := MakePlan(f, Wanted{Connections: n + 20_000}); err == nil {
			t.Errorf("%d were offered, 20,000 more fit", n)
		}
	}
}

func TestNodesFor(t *testing.T) {
	p := &Plan{Nodes: []Node{{100, 1}, {100, 1}, {50, 1}}}
	for n, want := range map[int]int{1: 1, 100: 1, 101: 2, 200: 2, 201: 3, 250: 3} {
		if got := p.NodesFor(n); got != want {
			t.Errorf("%d connections: %d nodes, not %d", n, got, want)
		}
	}
}
