package million

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"belfry/bench"
	"belfry/bench/measure"
	"belfry/bench/report"
	"belfry/bench/target"
	"belfry/bench/tool"
)

// invented returns an invented run, whose report is complete.
func invented(t *testing.T) *run {
	t.Helper()
	o := &Options{}
	tool.Flags(pflag.NewFlagSet("million", pflag.ContinueOnError), o, "million")
	p, err := target.MakePlan(small(), target.Wanted{Connections: o.Connections})
	if err != nil {
		t.Fatal(err)
	}
	memory := func(n int, rss, anonymous float64) measure.Reading {
		return measure.Reading{Connections: n, Memory: bench.Memory{RSS: int64(rss), Anonymous: int64(anonymous)}}
	}
	side := func(factor float64) *growth {
		g := &growth{
			Ramp:  measure.Ramp{Opened: 1_000_000, Took: 60 * factor, Points: []measure.Point{{}, {Seconds: 30, Open: 400_000}, {Seconds: 60 * factor, Open: 1_000_000}}},
			Empty: memory(0, 53*30e6, 0),
			Full:  memory(1_000_000, 53*30e6+400e6, 0),
		}
		receipts := bench.NewHistogram()
		for i := range 100 {
			receipts.Record(int64(i+1) * 15e7)
		}
		for _, n := range o.steps() {
			g.Fanouts = append(g.Fanouts, measure.Fanout{Connections: n, Nodes: p.NodesFor(n), CPU: 5 * factor, Clients: measure.ClientLoad{CPU: 3},
				Wall: float64(n) * factor * 15e-3, Walls: []float64{float64(n) * factor * 15e-3}, Receipts: receipts, Receipt: receipts.Quantiles()})
		}
		return g
	}
	d := &idle{Ramp: measure.Ramp{Opened: 1_000_000, Took: 61, Points: []measure.Point{{}, {Seconds: 61, Open: 1_000_000}}},
		Ping: 30, Seconds: 30, Pings: 999_000, Cores: 0.6, LeftIn: 3}
	for i := range quarters + 1 {
		x := memory(250_000*i, 53*30e6+250_000*200*float64(i), 53*20e6+250_000*190*float64(i))
		x.Slab, x.Available = 100e6+250_000*8400*int64(i), 22e9-int64(i)*2.5e9
		d.Readings = append(d.Readings, x)
	}
	left := memory(0, 53*31e6, 0)
	left.Slab = 200e6
	d.Left = &left
	rep := &report.Report{Scenario: "million", Machine: "a machine", Command: "belfry-bench million --connections 1000000", Began: time.Unix(0, 0).UTC(), Took: 800}
	r := &run{o: o, rep: rep, measured: measured{Facts: small(), Plan: p, Floor: side(1), Belfry: side(1.05), Idle: d,
		Push: &measure.Pushes{
			Home: measure.ProbedUser{Node: 52, Probed: measure.Probed{
				Server: bench.Quantiles{Count: 6000, P50: 1e6, P99: 30e6, P999: 50e6}, Client: bench.Quantiles{Count: 6000, P99: 45e6}}},
			Away:    &measure.ProbedUser{Node: 51, Probed: measure.Probed{Client: bench.Quantiles{Count: 6000, P99: 70e6}}},
			Flooded: measure.Flooded{Broadcasts: 3, Seconds: 40}, RunQueue: 12.5, Switches: 4000}}}
	r.fill()
	return r
}

func TestRows(t *testing.T) {
	r := invented(t)
	var b bytes.Buffer
	if err := r.rep.Write(&b, false); err != nil {
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
		"- half of the clients and 99 % of them had it after, ms: belfry 7516 and 14898, floor 7516 and 14898",
		"the same / floor | 1.05 × | ≤ 1.10 × | ok |",
		"server CPU per delivery / floor | 1.05 × | ≤ 1.10 × | ok |",
		"- at 10000 on 1 nodes: belfry 5.25 µs, floor 5.00 µs",
		"- at 100000 on 6 nodes: belfry 5.25 µs, floor 5.00 µs",
		"p99, HTTP request → sendto | 30.0 ms | | |",
		"another node's API: p99, HTTP request → receipt | 70.0 ms |",
		"waited 12.50 ms for a processor each time they were ready (4000 times): 106 processes share 2 cores",
		"| CPU of all nodes while idle, pings every 25s | 0.60 cores | ≤ 0.45 cores | miss |",
		"| RSS of all nodes after all clients have left | 1643 MB |",
		"memory of the host in use, all of it, clients too: 10.0 GB more",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if bench.Met(r.rep.Rows) {
		t.Error("a missed target was met")
	}
}

func TestReport(t *testing.T) {
	r := invented(t)
	dir := filepath.Join(t.TempDir(), "new", "report")
	if err := r.rep.WriteFolder(dir); err != nil {
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
	for _, want := range []string{"# 1000000 connections on one host", "53 nodes of one shard", "| user memory per idle session", "`belfry-bench million --connections 1000000`"} {
		if !bytes.Contains(md, []byte(want)) {
			t.Errorf("no %q in report.md", want)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var detail measured
	back := report.Report{Detail: &detail}
	if err := json.Unmarshal(data, &back); err != nil || detail.Idle.Pings != 999_000 || detail.Plan.Connections != 1_000_000 {
		t.Errorf("%v %+v", err, detail.Idle)
	}
}

// A run that ended early reports its results so far, wherever it ended.
func TestReportOfAPartOfARun(t *testing.T) {
	for name, cut := range map[string]func(*run){
		"nothing":          func(r *run) { r.Floor, r.Belfry, r.Push, r.Idle = nil, nil, nil, nil },
		"begun":            func(r *run) { r.Floor, r.Belfry, r.Push, r.Idle = &growth{}, nil, nil, nil },
		"floor":            func(r *run) { r.Belfry, r.Push, r.Idle = nil, nil, nil },
		"first step":       func(r *run) { r.Belfry.Fanouts, r.Push, r.Idle = r.Belfry.Fanouts[:1], nil, nil },
		"without floor":    func(r *run) { r.Floor = nil },
		"push not reached": func(r *run) { r.Push, r.Idle = nil, nil },
		"idle begun":       func(r *run) { r.Idle = &idle{} },
		"half connected":   func(r *run) { r.Idle.Readings, r.Idle.Left, r.Idle.Seconds = r.Idle.Readings[:3], nil, 0 },
		"not left":         func(r *run) { r.Idle.Left = nil },
	} {
		r := invented(t)
		cut(r)
		r.rep.Unfinished = "interrupted"
		r.fill()
		var b bytes.Buffer
		if err := r.rep.Write(&b, false); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.Contains(b.String(), "NOT FINISHED: interrupted") || bench.Met(r.rep.Rows) {
			t.Errorf("%s: does not say that it is not finished", name)
		}
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Errorf("%s:\n%s", name, b.String())
		}
		if err := r.rep.WriteFolder(t.TempDir()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"":                   "",
		"--connections 0":    "--connections 0: allowed are 1 to 10000000",
		"--per-node -1":      "--per-node -1: allowed are 0 to",
		"--broadcasts 0":     "--broadcasts 0: allowed are 1 to 1000",
		"--size 1":           "--size 1: allowed are",
		"--topics -1":        "--topics -1: allowed are 0",
		"--first-port 80":    "--first-port 80: allowed are 1024",
		"--steps 0":          "--steps 0: allowed are 1",
		"--ping 1ms":         "--ping 1ms: allowed are 1s to 1h",
		"--push -1s":         "--push -1s: allowed are 0s to",
		"--push-every 1us":   "--push-every 1µs: allowed are 1ms",
		"--report " + file:   "--report: ",
		"--timeout -1s":      "--timeout -1s: at least 0",
		"--server /nowhere/": "--server: stat",
		"--server /":         "is a folder",
	} {
		scenario := Scenario()
		scenario.Run = func(context.Context, *tool.Progress) (*report.Report, error) { return nil, nil }
		cmd := scenario.Command()
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		cmd.SetArgs(append([]string{"--server", file}, strings.Fields(args)...))
		if err := cmd.ExecuteContext(t.Context()); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}
