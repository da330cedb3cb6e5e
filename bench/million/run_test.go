package million

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"belfry/bench"
	"belfry/bench/floor"
	"belfry/bench/measure"
	"belfry/bench/target"
	"belfry/bench/tool"
)

// TestMain lets the test binary be the program's child processes.
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == "client":
		err = bench.RunClient(int(os.Stdin.Fd()), os.Stdout)
	case len(os.Args) > 1 && os.Args[1] == "floor":
		err = floor.Serve(netip.MustParseAddrPort(os.Args[3]), 1, os.Stdin, os.Stdout)
	default:
		os.Setenv("GORACE", "atexit_sleep_ms=0") // for the children, which would sleep for a second
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// cluster is a run with nodes of per connections, which are floors.
func cluster(t *testing.T, nodes, per int) *run {
	t.Helper()
	o := &Options{}
	tool.Flags(pflag.NewFlagSet("million", pflag.ContinueOnError), o, "million")
	o.Connections, o.PerNode, o.Broadcasts, o.Steps = nodes*per, per, 3, []int{per / 2, per}
	p, err := target.MakePlan(large(), target.Wanted{Connections: o.Connections, PerNode: per})
	if err != nil {
		t.Fatal(err)
	}
	r := &run{o: o, p: tool.NewProgress(io.Discard), ports: target.NewPorts(23100), measured: measured{Plan: p}}
	t.Cleanup(r.ports.Release)
	return r
}

func newFloor(t *testing.T, r *run) *target.Floor {
	t.Helper()
	f, err := target.NewFloor(r.setup())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// large is a host where a process may have two million open files, small one
// where it may have 20,000.
func large() target.Facts {
	return target.Facts{OpenFiles: 2_000_000, NrOpen: 2_000_000, FileMax: 9_000_000, FilesUsed: 3000, Memory: 64_000_000_000, CPUs: 16, PortLow: 32768, PortHigh: 60999}
}

func small() target.Facts {
	return target.Facts{OpenFiles: 20_000, NrOpen: 1_048_576, FileMax: 2_466_170, FilesUsed: 800, Memory: 24_000_000_000, CPUs: 2, PortLow: 32768, PortHigh: 60999}
}

func TestGrowFloors(t *testing.T) {
	for _, unpaced := range []bool{false, true} {
		r := cluster(t, 2, 100)
		r.o.Unpaced = unpaced
		f := newFloor(t, r)
		var g growth
		began := time.Now()
		var processes []*bench.Process
		err := r.populate(t.Context(), f, true, func(pop *measure.Population) error {
			err := r.grow(t.Context(), pop, &g)
			processes = slices.Concat(f.Processes(), pop.Pool.Processes())
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(processes) != 4 {
			t.Fatalf("%d processes", len(processes))
		}
		ended(t, processes)
		if g.Ramp.Opened != 200 || total(g.Ramp.Failed) != 0 || g.Ramp.Took <= 0 || g.Empty.RSS <= 0 || g.Full.Connections != 200 {
			t.Errorf("%+v, empty %+v, full %+v", g.Ramp, g.Empty, g.Full)
		}
		last := g.Ramp.Points[len(g.Ramp.Points)-1]
		if last.Open != 200 || last.Seconds != g.Ramp.Took || !slices.IsSortedFunc(g.Ramp.Points, func(a, b measure.Point) int { return cmp.Compare(a.Seconds, b.Seconds) }) {
			t.Errorf("%+v", g.Ramp)
		}
		if g.Ramp.Took > time.Since(began).Seconds()/2 { // the fan-outs took longer than connecting
			t.Errorf("connecting took %v s of %v", g.Ramp.Took, time.Since(began))
		}
		if len(g.Fanouts) != 3 || g.last(200) == nil || g.last(199) != nil {
			t.Fatalf("%d steps", len(g.Fanouts))
		}
		for i, want := range []struct{ connections, nodes, broadcasts int }{{50, 1, most}, {100, 1, most}, {200, 2, 3}} {
			f := g.Fanouts[i]
			if f.Connections != want.connections || f.Nodes != want.nodes || len(f.Walls) != want.broadcasts {
				t.Errorf("step %d: %d connections, %d nodes, %d broadcasts", i, f.Connections, f.Nodes, len(f.Walls))
			}
			if f.CPU <= 0 || f.Clients.CPU <= 0 || f.Wall <= 0 || f.Receipt.Count != int64(want.connections*want.broadcasts) {
				t.Errorf("step %d: %+v", i, f)
			}
		}
	}
}

func ended(t *testing.T, processes []*bench.Process) {
	t.Helper()
	for _, p := range processes {
		select {
		case <-p.Exited():
		default:
			t.Errorf("process %d is still there", p.PID())
		}
	}
}

// If a process dies during the run, the run ends with its name, and the other
// processes end.
func TestDeadNodeEndsTheRun(t *testing.T) {
	r := cluster(t, 2, 100)
	f := newFloor(t, r)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var survivors []*bench.Process
	err := r.populate(ctx, f, true, func(pop *measure.Population) error {
		if err := pop.Connect(ctx, 200); err != nil {
			return err
		}
		victim, err := os.FindProcess(f.Processes()[1].PID())
		if err != nil {
			return err
		}
		victim.Kill()
		survivors = slices.Concat(f.Processes(), pop.Pool.Processes())
		_, err = pop.Broadcast(ctx, r.o.Size)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "floor 1") {
		t.Errorf("ended with %v", err)
	}
	ended(t, survivors)
}

// Lost messages and connections are noticed.
func TestFaultsAreFound(t *testing.T) {
	r := cluster(t, 1, 50)
	f := newFloor(t, r)
	ctx := t.Context()
	err := r.populate(ctx, f, true, func(pop *measure.Population) error {
		if err := pop.Connect(ctx, 50); err != nil {
			return err
		}
		if err := pop.Verify(ctx); err != nil {
			t.Errorf("nothing is wrong yet: %v", err)
		}
		pop.Pool.Expect() // a broadcast that is not sent
		if err := pop.Verify(ctx); err == nil || !strings.Contains(err.Error(), "missing 50") {
			t.Errorf("a lost message: %v", err)
		}
		if _, err := f.Processes()[0].Call(ctx, bench.Command{Op: bench.OpDrop}); err != nil {
			return err
		}
		return target.Until(ctx, 10*time.Second, nil, func() error {
			if err := pop.Verify(ctx); err != nil && strings.Contains(err.Error(), "open 0 of 50") {
				return nil
			}
			return fmt.Errorf("lost connections were not found")
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Connections that are refused are counted by cause, and end the run.
func TestRefusedConnections(t *testing.T) {
	r := cluster(t, 1, 20)
	f := newFloor(t, r)
	err := r.populate(t.Context(), f, true, func(pop *measure.Population) error {
		if err := pop.Grow(t.Context(), 20); err != nil {
			return err
		}
		f.Stop()
		err := pop.Connect(t.Context(), 20)
		if err == nil || pop.Ramp.Opened != 0 || total(pop.Ramp.Failed) != 20 || !strings.Contains(err.Error(), "20 of 20 connections failed") {
			t.Errorf("%v, %+v", err, pop.Ramp)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSteps(t *testing.T) {
	o := Options{Connections: 500, Steps: []int{100, 5, 500, 900, 100}}
	if got := o.steps(); len(got) != 3 || got[0] != 5 || got[1] != 100 || got[2] != 500 {
		t.Errorf("steps %v", got)
	}
	for nodes, want := range map[int]time.Duration{1: 5 * time.Millisecond, 53: 53 * time.Millisecond} {
		if got := o.pushEvery(nodes); got != want {
			t.Errorf("%d nodes: a push every %v", nodes, got)
		}
	}
}
