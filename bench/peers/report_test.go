package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"belfry/bench"
	"belfry/bench/report"
	"belfry/bench/tool"
)

func example() (*results, *report.Report) {
	push := func(perSecond float64) *pushes {
		return &pushes{PerSecond: perSecond, Latency: bench.Quantiles{P99: 5e6}}
	}
	r := &results{Connections: 600, Rounds: 2, Servers: []*result{
		{Name: "belfry", Rounds: []round{
			{RSS: 200, Slab: 8000, Connects: 20000, Wall: 5, P99: 50, CPU: 4, Push: push(10000)},
			{RSS: 300, Slab: 8000, Connects: 30000, Wall: 5, P99: 50, CPU: 4, Push: push(14000)}}},
		{Name: "gws", Rounds: []round{
			{RSS: 10000, Slab: 8000, Connects: 12500, Wall: 10, P99: 75, CPU: 6},
			{Problem: "it fell over"}}},
		{Name: "nothing", Rounds: []round{{Problem: "not ready"}}},
	}, Skipped: []string{"goim: why"}}
	rep := &report.Report{Scenario: "peers"}
	r.fill(rep, small())
	return r, rep
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	_, rep := example()
	if err := rep.Write(&b, false); err != nil {
		t.Fatal(err)
	}
	lines := map[string][]string{}
	for line := range strings.Lines(b.String()) {
		cells := strings.FieldsFunc(line, func(c rune) bool { return c == '|' || c == ' ' || c == '\n' })
		if len(cells) == len(columns())+1 {
			lines[cells[0]] = append(lines[cells[0]], strings.Join(cells[1:], " "))
		}
	}
	for name, want := range map[string]string{
		"belfry":  "250 8000 25000 5.00 50.0 4.00 12000 5; 1.00 1.00 1.00 1.00 1.00 1.00 1.00 1.00",
		"gws":     "10000 8000 12500 10.00 75.0 6.00 – –; 40.00 1.00 0.50 2.00 1.50 1.50 – –",
		"nothing": "– – – – – – – –; – – – – – – – –",
	} {
		if got := strings.Join(lines[name], "; "); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	for _, want := range []string{"round 2: it fell over", "round 1: not ready", "skipped: goim: why"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestWrite(t *testing.T) {
	_, rep := example()
	var b bytes.Buffer
	if err := rep.Write(&b, true); err != nil {
		t.Fatal(err)
	}
	var detail results
	back := report.Report{Detail: &detail}
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || len(detail.Servers) != 3 || len(detail.Servers[0].Rounds) != 2 {
		t.Errorf("%v: %s", err, b.Bytes())
	}
	dir := t.TempDir()
	if err := rep.WriteFolder(dir); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(filepath.Join(dir, "peers.svg"))
	if err != nil || !bytes.Contains(svg, []byte("gws")) || bytes.Contains(svg, []byte("nothing")) {
		t.Errorf("chart: %v, %d bytes; want gws and not the server without figures", err, len(svg))
	}
	if md, err := os.ReadFile(filepath.Join(dir, "report.md")); err != nil || !bytes.Contains(md, []byte("÷ belfry")) {
		t.Errorf("%v: %s", err, md)
	}
}

func TestValidateNamesTheFlag(t *testing.T) {
	for args, want := range map[string]string{
		"":                        "",
		"--connections 1":         "--connections 1: allowed are",
		"--rounds 0":              "--rounds",
		"--size 1":                "--size",
		"--push -1s":              "--push",
		"--belfry missing":        "--belfry",
		"--only uwebsockets":      "--only",
		"--with x=y":              "--with x",
		"--with goim=missing":     "--with goim",
		"--define missing.yaml":   "--define",
		"--report main.go/report": "--report",
	} {
		o := new(options)
		s := tool.Scenario{Name: "peers", Options: o, Validate: o.validate,
			Run: func(context.Context, *tool.Progress) (*report.Report, error) { return nil, nil }}
		cmd := s.Command()
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		cmd.SetArgs(append([]string{"--belfry", "main.go"}, strings.Fields(args)...)) // anything that is there
		if err := cmd.ExecuteContext(t.Context()); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error that names %s", args, err, want)
		}
	}
}

func TestExternalServersInTheLineup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mine.yaml")
	text := "name: mine\nabout: my own\ncommand: [\"my-server\"]\nwire: {path: /ws}\nall: {path: /p}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	o := small()
	o.Belfry, o.Define, o.With, o.Only = "main.go", []string{file}, []string{"uwebsockets=main.go"}, []string{"mine", "uwebsockets", "gws"}
	if err := o.validate(); err != nil {
		t.Fatal(err)
	}
	lineup, err := contenders(t.Context(), o, new(results), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range lineup {
		got = append(got, c.name)
	}
	if want := "belfry floor gws mine uwebsockets"; strings.Join(got, " ") != want {
		t.Errorf("line-up %v, want %s", got, want)
	}
}

func TestCentrifugoInTheLineup(t *testing.T) {
	lineup := func(with ...string) (names []string, r *results) {
		o, r := small(), new(results)
		o.Belfry, o.With, o.Only, o.Cache = "main.go", with, []string{"centrifugo"}, t.TempDir()
		if err := o.validate(); err != nil {
			t.Fatal(err)
		}
		all, err := contenders(t.Context(), o, r, tool.NewProgress(io.Discard))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			names = append(names, c.name)
		}
		return names, r
	}
	t.Setenv("PATH", "") // so that nothing is built
	if got, r := lineup("centrifugo=main.go"); !slices.Equal(got, []string{"belfry", "floor", "centrifugo"}) || len(r.Skipped) > 0 {
		t.Errorf("with a program: %v, skipped %q", got, r.Skipped)
	}
	if got, r := lineup(); len(got) != 2 || len(r.Skipped) != 1 || !strings.Contains(r.Skipped[0], "go command") {
		t.Errorf("where it cannot be built: %v, skipped %q", got, r.Skipped)
	}
}
