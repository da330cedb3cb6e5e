package million

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"belfry/bench"
)

// Options of a run. DefaultOptions returns those of the command.
type Options struct {
	Program string   // this program: it is started again as client and floor
	Server  string   // belfry's binary
	Env     []string // NAME=VALUE, for belfry's environment

	Connections int
	PerNode     int           // most connections of a node; 0: as many as the limit of open files allows
	Steps       []int         // numbers of connections at which fan-outs are measured while connecting
	Broadcasts  int           // to all of them, that count
	Size        int           // of a payload, in bytes
	Topics      int           // different ones; each connection has one
	Ping        time.Duration // between pings while idle; 0 leaves the idle part out
	Idle        time.Duration // how long idle connections are watched, at least Ping
	Settle      time.Duration // before memory is read
	Push        time.Duration // how long pushes to one user are measured; 0 leaves them out
	PushEvery   time.Duration // time between them; 0: a millisecond for each node, 5 at least
	FirstPort   int           // servers listen from this port upwards
	SkipFloor   bool          // measure belfry alone
	Report      string        // folder for report.md and its charts; "" makes none
}

// DefaultOptions are those of a run with one million connections.
func DefaultOptions() Options {
	return Options{
		Server:      "bin/belfry",
		Connections: 1_000_000,
		Steps:       []int{1_000, 10_000, 100_000},
		Broadcasts:  10,
		Size:        128,
		Topics:      100,
		Ping:        30 * time.Second,
		Idle:        30 * time.Second,
		Settle:      10 * time.Second,
		Push:        time.Minute,
		FirstPort:   20_000,
	}
}

// Validate returns an error that names every flag out of its range.
func (o *Options) Validate() error {
	var errs []error
	between := func(name string, v, low, high int) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("--%s %d: allowed are %d to %d", name, v, low, high))
		}
	}
	lasts := func(name string, v, low, high time.Duration) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("--%s %v: allowed are %v to %v", name, v, low, high))
		}
	}
	between("connections", o.Connections, 1, MaxConnections)
	between("per-node", o.PerNode, 0, MaxConnections)
	between("broadcasts", o.Broadcasts, 1, 1000)
	between("size", o.Size, bench.MinPayload, 64<<10)
	between("topics", o.Topics, 0, 1_000_000)
	between("first-port", o.FirstPort, 1024, 65535)
	for _, n := range o.Steps {
		between("steps", n, 1, MaxConnections)
	}
	if o.Ping != 0 {
		lasts("ping", o.Ping, time.Second, time.Hour)
	}
	lasts("idle", o.Idle, 0, time.Hour)
	lasts("settle", o.Settle, 100*time.Millisecond, 10*time.Minute)
	lasts("push", o.Push, 0, time.Hour)
	if o.PushEvery != 0 {
		lasts("push-every", o.PushEvery, time.Millisecond, time.Minute)
	}
	if info, err := os.Stat(o.Server); err != nil {
		errs = append(errs, fmt.Errorf("--server: %w (make build makes it)", err))
	} else if info.IsDir() {
		errs = append(errs, fmt.Errorf("--server %s: is a folder; belfry's binary is wanted", o.Server))
	}
	return errors.Join(append(errs, o.reportable())...)
}

// reportable checks the report's folder now, so that the run does not fail
// after a quarter of an hour.
func (o *Options) reportable() error {
	if o.Report == "" {
		return nil
	}
	if err := os.MkdirAll(o.Report, 0o755); err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	probe := filepath.Join(o.Report, ".writable")
	if err := os.WriteFile(probe, nil, 0o644); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("--report: %w", err)
	}
	return os.Remove(probe)
}

// pushEvery returns the time between pushes to one user. Each push goes to all
// nodes, so at a fixed rate a large cluster on one host would do nothing else.
func (o *Options) pushEvery(nodes int) time.Duration {
	if o.PushEvery > 0 {
		return o.PushEvery
	}
	return max(5*time.Millisecond, time.Duration(nodes)*time.Millisecond)
}

// steps returns the numbers of connections of a part: the requested ones below
// the whole number, rising, and the whole number.
func (o *Options) steps() []int {
	var steps []int
	for n := 0; ; {
		next := o.Connections
		for _, s := range o.Steps {
			if s > n && s < next {
				next = s
			}
		}
		steps = append(steps, next)
		if next == o.Connections {
			return steps
		}
		n = next
	}
}
