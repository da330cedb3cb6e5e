package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"belfry/bench"
	"belfry/bench/tool"
)

func example() *report {
	push := func(perSecond float64) *pushes {
		return &pushes{PerSecond: perSecond, Latency: bench.Quantiles{P99: 5e6}}
	}
	r := &report{Connections: 600, Rounds: 2, Servers: []*result{
		{Name: "belfry", Rounds: []round{
			{RSS: 200, Slab: 8000, Connects: 20000, Wall: 5, P99: 50, CPU: 4, Push: push(10000)},
			{RSS: 300, Slab: 8000, Connects: 30000, Wall: 5, P99: 50, CPU: 4, Push: push(14000)}}},
		{Name: "gws", Rounds: []round{
			{RSS: 10000, Slab: 8000, Connects: 12500, Wall: 10, P99: 75, CPU: 6},
			{Problem: "it fell over"}}},
		{Name: "nothing", Rounds: []round{{Problem: "not ready"}}},
	}, Skipped: []string{"goim: why"}}
	r.fill()
	return r
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := example().writeTable(&b); err != nil {
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
	chart := filepath.Join(t.TempDir(), "chart.svg")
	var b bytes.Buffer
	if err := (&options{json: true, chart: chart}).write(&b, example()); err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || len(back.Servers) != 3 || len(back.Servers[0].Rounds) != 2 {
		t.Errorf("%v: %s", err, b.Bytes())
	}
	svg, err := os.ReadFile(chart)
	if err != nil || !bytes.Contains(svg, []byte("gws")) || bytes.Contains(svg, []byte("nothing")) {
		t.Errorf("chart: %v, %d bytes; want gws and not the server without figures", err, len(svg))
	}
	if err := (&options{}).write(&b, nil); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesTheFlag(t *testing.T) {
	for want, change := range map[string]func(*options){
		"--connections": func(o *options) { o.connections = 1 },
		"--rounds":      func(o *options) { o.rounds = 0 },
		"--size":        func(o *options) { o.size = 1 },
		"--chart":       func(o *options) { o.chart = "x.pdf" },
		"--push":        func(o *options) { o.push = -time.Second },
		"--belfry":      func(o *options) { o.belfry = "missing" },
		"--only":        func(o *options) { o.only = []string{"uwebsockets"} },
		"--with x":      func(o *options) { o.with = []string{"x=y"} },
		"--with goim":   func(o *options) { o.with = []string{"goim=missing"} },
		"--define":      func(o *options) { o.define = []string{"missing.yaml"} },
	} {
		o := small()
		o.belfry = "main.go" // anything that is there
		if err := o.validate(); err != nil {
			t.Fatal(err)
		}
		change(o)
		if err := o.validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error that names %s", err, want)
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
	o.belfry, o.define, o.with, o.only = "main.go", []string{file}, []string{"uwebsockets=main.go"}, []string{"mine", "uwebsockets", "gws"}
	if err := o.validate(); err != nil {
		t.Fatal(err)
	}
	lineup, err := contenders(t.Context(), o, new(report), nil)
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
	lineup := func(with ...string) (names []string, r *report) {
		o, r := small(), new(report)
		o.belfry, o.with, o.only, o.cache = "main.go", with, []string{"centrifugo"}, t.TempDir()
		if err := o.validate(); err != nil {
			t.Fatal(err)
		}
		quiet, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer quiet.Close()
		all, err := contenders(t.Context(), o, r, tool.NewProgress(quiet))
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
