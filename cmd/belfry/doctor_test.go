package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"belfry/config"
	"belfry/host"
)

// roomy is a machine that can hold a million connections, but whose limit of
// open files is one too low.
func roomy() machine {
	return machine{cores: 2, descriptors: 1 << 20, hostname: "edge", suffix: "beef", facts: host.Facts{
		Kernel: "6.12.9", CPUs: 8, ClockSource: "tsc", MemoryTotal: 64 << 30, PageSize: 4096,
		Descriptors: host.Limit{Soft: 1 << 20, Hard: 1 << 20}, MayRaiseLimits: true,
		FileMax: 1 << 40, NrOpen: 1 << 20, EpollWatches: 1 << 24, AcceptQueue: 65535, SYNBacklog: 65535, PacketQueue: 65536,
		LocalPorts: host.Ports{First: 1024, Last: 65535}, TCPMemory: [3]int64{1 << 20, 1 << 21, 1 << 22}, HugePages: "madvise",
	}}
}

// TestWarnOfHost: a line for each fact that prevents max_connections, and no
// other line.
func TestWarnOfHost(t *testing.T) {
	for _, tc := range []struct {
		name   string
		asked  int
		change func(*host.Facts)
		facts  []string
	}{
		{"by itself", 0, func(f *host.Facts) { f.AcceptQueue = 128 }, nil},
		{"fits", 1000000, func(*host.Facts) {}, nil},
		{"open files", 1 << 20, func(*host.Facts) {}, []string{"open files", "fs.nr_open"}},
		{"memory", 0, func(f *host.Facts) { f.MemoryTotal, f.FileMax = 1<<30, 1000 }, []string{"memory", "fs.file-max"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			here, c := roomy(), config.Default()
			tc.change(&here.facts)
			c.MaxConnections = tc.asked
			here.resolve(&c)
			core, logged := observer.New(zap.DebugLevel)
			warnOfHost(here, &c, zap.New(core))
			var facts []string
			for _, entry := range logged.All() {
				fields := entry.ContextMap()
				facts = append(facts, fields["fact"].(string))
				if possible := fields["possible"].(int64); entry.Level != zap.WarnLevel || possible >= int64(c.MaxConnections) || fields["fix"] == "" {
					t.Errorf("%s: %v", entry.Message, fields)
				}
			}
			if strings.Join(facts, " ") != strings.Join(tc.facts, " ") {
				t.Errorf("logged %q, want %q", facts, tc.facts)
			}
		})
	}
}

// TestWant: the listening ports of a node are among what it needs from its
// host.
func TestWant(t *testing.T) {
	c := config.Default()
	c.Listen = []string{":9000-9019", "127.0.0.1:0"}
	here := roomy()
	here.resolve(&c)
	r := host.Check(here.facts, here.want(&c, 1000))
	for _, f := range r.Findings {
		if f.Name == "net.ipv4.ip_local_reserved_ports" && !strings.HasSuffix(f.Fix, "=9000-9019,8081") {
			t.Errorf("ports: %q", f.Fix)
		}
	}
	if r.Now.Connections != int64(c.MaxConnections) || r.Now.Limit != "open files" {
		t.Errorf("the host holds %+v, the node %d", r.Now, c.MaxConnections)
	}
}

func TestPrintReport(t *testing.T) {
	r := host.Report{
		Connections: 2000, Now: host.Capacity{Connections: 1000, Limit: "b"}, Tuned: host.Capacity{Connections: 3000, Limit: "longer"},
		Findings: []host.Finding{
			{Name: "longer", Value: "1", Why: "unseen", Bound: &host.Bound{Now: 3000, Tuned: 3000}},
			{Name: "a", Value: "2", Status: host.Warn, Why: "because", Fix: "do"},
			{Name: "b", Value: "3", Status: host.Fail, Why: "as", Fix: "make", Bound: &host.Bound{Now: 1000, Tuned: 4000}},
		},
	}
	want := `this host holds 1,000 connections now (limited by: b)
           and 3,000 after tuning (limited by: longer)
checked against 2,000:

  pass  longer  1 → 3,000 connections
  warn  a       2
        because
        do
  fail  b       3 → 1,000 connections
        as
        make

scripts/tune.sh plan --connections 2000 has all of these commands, and those that matter only under load.
`
	var plain, coloured bytes.Buffer
	if err := printReport(&plain, &r, false); err != nil || plain.String() != want {
		t.Errorf("%v\n%s", err, &plain)
	}
	if err := printReport(&coloured, &r, true); err != nil || !strings.Contains(coloured.String(), "\x1b[31mfail\x1b[0m  b ") {
		t.Errorf("%v\n%q", err, &coloured)
	}
}

// TestDocumentedReport compares the example in docs/operations.md with the
// output of doctor for such a host.
func TestDocumentedReport(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "$ belfry doctor --connections 1000000\n")
	example, _, found := strings.Cut(example, "  …\n```")
	if !found {
		t.Fatal("docs/operations.md has no example")
	}
	here, c := roomy(), config.Default()
	here.cores, here.descriptors = 2, 20000
	here.facts.Descriptors = host.Limit{Soft: 20000, Hard: 20000}
	here.facts.MemoryTotal = 24684084 << 10
	here.facts.TCPMemory = [3]int64{287898, 383867, 575796}
	here.resolve(&c)
	r := host.Check(here.facts, here.want(&c, 1000000))
	var out strings.Builder
	if err := printReport(&out, &r, false); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(example) {
		if !strings.Contains(out.String(), line) {
			t.Errorf("not printed: %s", line)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}
