package million

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"belfry/bench"
	"belfry/bench/probe"
)

// measured returns the result of an invented run.
func measured(t *testing.T) *Result {
	t.Helper()
	o := DefaultOptions()
	p, err := MakePlan(small(), Wanted{Connections: o.Connections})
	if err != nil {
		t.Fatal(err)
	}
	side := func(factor float64) *growth {
		g := &growth{
			Ramp:  ramp{Opened: 1_000_000, Took: 60 * factor, Points: []rampPoint{{0, 0}, {30, 400_000}, {60 * factor, 1_000_000}}},
			Empty: reading{RSS: 53 * 30e6},
			Full:  reading{Connections: 1_000_000, RSS: 53*30e6 + 400e6},
		}
		for _, n := range o.steps() {
			g.Fanouts = append(g.Fanouts, fanout{Connections: n, Nodes: p.nodesFor(n), CPU: 5 * factor, Clients: 3,
				Wall: float64(n) * factor * 15e-3, Walls: []float64{float64(n) * factor * 15e-3},
				Curve: []curvePoint{{1, 0.1}, {8, 0.6}, {15, 1}}})
		}
		return g
	}
	d := &idle{Ramp: ramp{Opened: 1_000_000, Took: 61, Points: []rampPoint{{0, 0}, {61, 1_000_000}}},
		Ping: 30, Seconds: 30, Pings: 999_000, Cores: 0.6, LeftIn: 3}
	for i := range quarters + 1 {
		d.Readings = append(d.Readings, reading{Connections: 250_000 * i, RSS: 53*30e6 + 250_000*200*int64(i), Anonymous: 53*20e6 + 250_000*190*int64(i),
			Slab: 100e6 + 250_000*8400*int64(i), Available: 22e9 - int64(i)*2.5e9})
	}
	d.Left = &reading{RSS: 53 * 31e6, Slab: 200e6}
	r := &Result{Machine: "a machine", Command: "million --connections 1000000", Began: time.Unix(0, 0).UTC(), Took: 800, Facts: small(), Plan: p, opts: &o,
		Floor: side(1), Belfry: side(1.05), Idle: d,
		Push: &push{
			Home: pushed{Node: 52, Result: probe.Result{
				Server: bench.Quantiles{Count: 6000, P50: 1e6, P99: 30e6, P999: 50e6}, Client: bench.Quantiles{Count: 6000, P99: 45e6}}},
			Away:    &pushed{Node: 51, Result: probe.Result{Client: bench.Quantiles{Count: 6000, P99: 70e6}}},
			Flooded: probe.Flooded{Broadcasts: 3, Seconds: 40}, RunQueue: 12.5, Switches: 4000}}
	r.fill()
	return r
}

func TestRows(t *testing.T) {
	r := measured(t)
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"| connections that failed or were lost; messages lost, doubled, reordered, damaged | 0 | ≤ 0 | ok |",
		"| time to connect 1000000 | 63.0 s |",
		"| connects per second / floor | 0.95 × | ≥ 0.90 × | ok |",
		"| user memory per idle session, RSS slope | 200 B | ≤ 256 B | ok |",
		"| RSS of an empty node | 30.0 MB | ≤ 40.0 MB | ok |",
		"| RSS per session after the fan-outs, against empty nodes | 400 B |",
		"| kernel slab per connection, both ends | 8400 B |",
		"publish → last receipt | 15750 ms |",
		"the same per connection | 15.75 µs |",
		"- half of the clients and 99 % of them had it after, ms: belfry 8000 and 15000, floor 8000 and 15000",
		"the same / floor | 1.05 × | ≤ 1.10 × | ok |",
		"server CPU per delivery / floor | 1.05 × | ≤ 1.10 × | ok |",
		"- at 10000 on 1 nodes: belfry 5.25 µs, floor 5.00 µs",
		"- at 100000 on 6 nodes: belfry 5.25 µs, floor 5.00 µs",
		"p99, HTTP request → sendto | 30.0 ms | | |",
		"another node's API: p99, HTTP request → receipt | 70.0 ms |",
		"waited 12.50 ms for a processor each time they were ready (4000 times): 106 processes share 2 cores",
		"| CPU of all nodes while idle, pings every 30s | 0.60 cores | ≤ 0.50 cores | miss |",
		"| RSS of all nodes after all clients have left | 1643 MB |",
		"memory of the host in use, all of it, clients too: 10.0 GB more",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if bench.Met(r.Rows) {
		t.Error("a missed target was met")
	}
}

func TestReport(t *testing.T) {
	r := measured(t)
	dir := filepath.Join(t.TempDir(), "new", "report")
	if err := r.WriteReport(dir); err != nil {
		t.Fatal(err)
	}
	md, err := os.ReadFile(filepath.Join(dir, "report.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, chart := range []string{"connections.svg", "memory.svg", "receipt.svg", "cost.svg"} {
		svg, err := os.ReadFile(filepath.Join(dir, chart))
		if err != nil || !bytes.Contains(svg, []byte("<svg")) {
			t.Errorf("%s: %v", chart, err)
		}
		if !bytes.Contains(md, []byte("]("+chart+")")) {
			t.Errorf("report.md does not show %s", chart)
		}
	}
	for _, want := range []string{"# 1000000 connections on one host", "53 nodes of one shard", "| user memory per idle session", "`million --connections 1000000`"} {
		if !bytes.Contains(md, []byte(want)) {
			t.Errorf("no %q in report.md", want)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal(data, &back); err != nil || back.Idle.Pings != 999_000 || back.Plan.Connections != 1_000_000 {
		t.Errorf("%v %+v", err, back.Idle)
	}
}

// A run that ended early reports its results so far, wherever it ended.
func TestReportOfAPartOfARun(t *testing.T) {
	for name, cut := range map[string]func(*Result){
		"nothing":          func(r *Result) { r.Floor, r.Belfry, r.Push, r.Idle = nil, nil, nil, nil },
		"begun":            func(r *Result) { r.Floor, r.Belfry, r.Push, r.Idle = &growth{}, nil, nil, nil },
		"floor":            func(r *Result) { r.Belfry, r.Push, r.Idle = nil, nil, nil },
		"first step":       func(r *Result) { r.Belfry.Fanouts, r.Push, r.Idle = r.Belfry.Fanouts[:1], nil, nil },
		"without floor":    func(r *Result) { r.Floor = nil },
		"push not reached": func(r *Result) { r.Push, r.Idle = nil, nil },
		"idle begun":       func(r *Result) { r.Idle = &idle{} },
		"half connected":   func(r *Result) { r.Idle.Readings, r.Idle.Left, r.Idle.Seconds = r.Idle.Readings[:3], nil, 0 },
		"not left":         func(r *Result) { r.Idle.Left = nil },
	} {
		r := measured(t)
		cut(r)
		r.Unfinished = "interrupted"
		r.fill()
		var b bytes.Buffer
		if err := r.Write(&b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.Contains(b.String(), "NOT FINISHED: interrupted") || bench.Met(r.Rows) {
			t.Errorf("%s: does not say that it is not finished", name)
		}
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Errorf("%s:\n%s", name, b.String())
		}
		if err := r.WriteReport(t.TempDir()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	good := DefaultOptions()
	good.Server = file
	good.Report = filepath.Join(t.TempDir(), "report")
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Options){
		"--connections 0: allowed are 1 to 10000000": func(o *Options) { o.Connections = 0 },
		"--per-node -1: allowed are 0 to":            func(o *Options) { o.PerNode = -1 },
		"--broadcasts 0: allowed are 1 to 1000":      func(o *Options) { o.Broadcasts = 0 },
		"--size 1: allowed are":                      func(o *Options) { o.Size = 1 },
		"--topics -1: allowed are 0":                 func(o *Options) { o.Topics = -1 },
		"--first-port 80: allowed are 1024":          func(o *Options) { o.FirstPort = 80 },
		"--steps 0: allowed are 1":                   func(o *Options) { o.Steps = []int{0} },
		"--ping 1ms: allowed are 1s to 1h":           func(o *Options) { o.Ping = time.Millisecond },
		"--push -1s: allowed are 0s to":              func(o *Options) { o.Push = -time.Second },
		"--push-every 1µs: allowed are 1ms":          func(o *Options) { o.PushEvery = time.Microsecond },
		"--server: stat":                             func(o *Options) { o.Server = file + "x" },
		"is a folder":                                func(o *Options) { o.Server = filepath.Dir(file) },
		"--report: ":                                 func(o *Options) { o.Report = file },
	} {
		o := good
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
