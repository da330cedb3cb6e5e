package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"belfry/bench/peers/peer"
	"belfry/bench/tool"
)

// options are the flags; see tool.Flags.
type options struct {
	Belfry      string        `flag:"belfry" value:"../../bin/belfry" help:"belfry's program"`
	Only        tool.List     `flag:"only" help:"peers to measure besides belfry and the floor; none is all"`
	With        []string      `flag:"with" help:"NAME=PROGRAM of an external server with a definition, or of another Centrifugo (repeatable)"`
	Define      []string      `flag:"define" help:"YAML file with the definition of a further server (repeatable)"`
	Connections int           `flag:"connections" value:"15000" range:"30..1000000" help:"connections"`
	Rounds      int           `flag:"rounds" value:"3" range:"1..100" help:"rounds; each server runs once in every round"`
	Broadcasts  int           `flag:"broadcasts" value:"20" range:"1..10000" help:"messages to all in a round"`
	Size        int           `flag:"size" value:"128" range:"51..61440" help:"payload, in bytes"`
	Clients     int           `flag:"clients" value:"2" range:"1..100" help:"client processes, at least"`
	Shards      int           `flag:"shards" value:"cpus" range:"1..256" help:"shards of belfry and threads of the floor"`
	Settle      time.Duration `flag:"settle" value:"2s" range:"0s..10m" help:"time from the last connect to reading memory"`
	Push        time.Duration `flag:"push" value:"6s" range:"0s..1h" help:"time of pushes to users in a round; 0 leaves them out"`
	Concurrency int           `flag:"concurrency" value:"600" range:"1..10000" help:"requests in progress during pushes to users"`
	Cache       string        `flag:"cache" value:"cache" help:"folder where socket.io is installed and Centrifugo is built"`

	programs map[string]string           // of --with
	external map[string]*peer.Definition // ready ones, and those of --define
}

// validate checks the options beyond their ranges.
func (o *options) validate() error {
	if _, err := os.Stat(o.Belfry); err != nil {
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
	for _, file := range o.Define {
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
	for _, s := range o.With {
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
	for _, name := range o.Only {
		if !slices.Contains(used, name) {
			return fmt.Errorf("--only %s: allowed are %s; others need --with", name, peer.List(used))
		}
	}
	return nil
}

// measures says whether a server is in the table.
func (o *options) measures(name string) bool {
	return len(o.Only) == 0 || name == peer.Belfry || name == peer.Floor || slices.Contains(o.Only, name)
}

func names(m map[string]*peer.Definition) []string {
	var all []string
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
