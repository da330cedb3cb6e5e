package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"belfry/bench"
	"belfry/bench/peers/peer"
)

// options are the flags.
type options struct {
	belfry      string
	only        []string
	with        []string
	define      []string
	connections int
	rounds      int
	broadcasts  int
	size        int
	clients     int
	shards      int
	settle      time.Duration
	push        time.Duration
	concurrency int
	cache       string
	chart       string
	timeout     time.Duration
	json        bool

	programs map[string]string           // of --with
	external map[string]*peer.Definition // ready ones, and those of --define
}

func (o *options) validate() error {
	for _, b := range []struct {
		name         string
		v, low, high int
	}{
		{"connections", o.connections, 3 * perUser, 1_000_000},
		{"rounds", o.rounds, 1, 100},
		{"broadcasts", o.broadcasts, 1, 10_000},
		{"size", o.size, bench.MinPayload, 60 << 10},
		{"clients", o.clients, 1, 100},
		{"shards", o.shards, 1, 256},
		{"concurrency", o.concurrency, 1, 10_000},
	} {
		if b.v < b.low || b.v > b.high {
			return fmt.Errorf("--%s %d: allowed are %d to %d", b.name, b.v, b.low, b.high)
		}
	}
	switch {
	case o.settle < 0:
		return fmt.Errorf("--settle %v: must not be below 0", o.settle)
	case o.push < 0:
		return fmt.Errorf("--push %v: must not be below 0", o.push)
	case o.timeout <= 0:
		return fmt.Errorf("--timeout %v: must be above 0", o.timeout)
	case o.chart != "" && filepath.Ext(o.chart) != ".svg" && filepath.Ext(o.chart) != ".png":
		return fmt.Errorf("--chart %s: allowed are .svg and .png", o.chart)
	}
	if _, err := os.Stat(o.belfry); err != nil {
		return fmt.Errorf("--belfry: %w (make build makes it)", err)
	}
	return o.definitions()
}

// definitions reads --define and --with, and checks --only.
func (o *options) definitions() (err error) {
	if o.external, err = peer.External(); err != nil {
		return err
	}
	used := peer.Own()
	for _, file := range o.define {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("--define: %w", err)
		}
		d, err := peer.Parse(text)
		if err != nil {
			return fmt.Errorf("--define %s: %w", file, err)
		}
		if peer.IsOwn(d.Name) {
			return fmt.Errorf("--define %s: the name %s is taken", file, d.Name)
		}
		o.external[d.Name] = d
		if !strings.Contains(strings.Join(d.Command, " "), "{binary}") {
			used = append(used, d.Name) // needs no --with
		}
	}
	o.programs = make(map[string]string)
	for _, s := range o.with {
		name, program, ok := strings.Cut(s, "=")
		if !ok || o.external[name] == nil {
			return fmt.Errorf("--with %s: allowed is NAME=PROGRAM, NAME one of %s", s, peer.List(names(o.external)))
		}
		if _, err := os.Stat(program); err != nil {
			return fmt.Errorf("--with %s: %w", name, err)
		}
		o.programs[name] = program
		used = append(used, name)
	}
	for _, name := range o.only {
		if !slices.Contains(used, name) {
			return fmt.Errorf("--only %s: allowed are %s; others need --with", name, peer.List(used))
		}
	}
	return nil
}

// measures says whether a server is in the table.
func (o *options) measures(name string) bool {
	return len(o.only) == 0 || name == peer.Belfry || name == peer.Floor || slices.Contains(o.only, name)
}

func names(m map[string]*peer.Definition) []string {
	var all []string
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
