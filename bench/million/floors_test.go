package million

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"belfry/bench"
	"belfry/bench/floor"
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

// cluster is a plan of nodes of per connections, with options for it.
func cluster(t *testing.T, nodes, per int) (*Options, *Plan) {
	t.Helper()
	o := DefaultOptions()
	var err error
	if o.Program, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	o.Connections, o.PerNode, o.Broadcasts = nodes*per, per, 3
	o.Steps = []int{per / 2, per}
	p, err := MakePlan(large(), Wanted{Connections: o.Connections, PerNode: per})
	if err != nil {
		t.Fatal(err)
	}
	return &o, p
}

// testPorts are below the ephemeral range, away from the command's.
func testPorts() *ports { return &ports{next: 23100, end: 24000} }

func TestGrowFloors(t *testing.T) {
	o, p := cluster(t, 2, 100)
	f := newFloors(o, p, testPorts())
	var g growth
	progress := newProgress(io.Discard)
	var pids []int
	err := populate(t.Context(), o, p, f, progress, func(c *clients) error {
		err := grow(t.Context(), o, p, f, c, progress, &g)
		for _, process := range append(f.processes(), c.processes()...) {
			pids = append(pids, process.PID())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(pids) != 4 {
		t.Fatalf("%d processes", len(pids))
	}
	for _, pid := range pids {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); !os.IsNotExist(err) {
			t.Errorf("process %d is still there", pid)
		}
	}
	if g.Ramp.Opened != 200 || g.Ramp.failed() != 0 || g.Ramp.Took <= 0 || g.Empty.RSS <= 0 || g.Full.Connections != 200 {
		t.Errorf("%+v, empty %+v, full %+v", g.Ramp, g.Empty, g.Full)
	}
	if len(g.Fanouts) != 3 || g.last(200) == nil || g.last(199) != nil {
		t.Fatalf("%d steps", len(g.Fanouts))
	}
	for i, want := range []struct{ connections, nodes, broadcasts int }{{50, 1, most}, {100, 1, most}, {200, 2, 3}} {
		f := g.Fanouts[i]
		if f.Connections != want.connections || f.Nodes != want.nodes || len(f.Walls) != want.broadcasts {
			t.Errorf("step %d: %d connections, %d nodes, %d broadcasts", i, f.Connections, f.Nodes, len(f.Walls))
		}
		if f.CPU <= 0 || f.Clients <= 0 || f.Wall <= 0 {
			t.Errorf("step %d: %+v", i, f)
		}
		end := f.Curve[len(f.Curve)-1]
		if end.Share < 0.999 || end.Share > 1.001 {
			t.Errorf("step %d: the curve ends at %+v", i, end)
		}
	}
}

// If a process dies during the run, the run ends with its name, and the other
// processes end.
func TestDeadNodeEndsTheRun(t *testing.T) {
	o, p := cluster(t, 2, 100)
	f := newFloors(o, p, testPorts())
	progress := newProgress(io.Discard)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var survivors []*bench.Process
	err := populate(ctx, o, p, f, progress, func(c *clients) error {
		if err := f.grow(ctx, 2); err != nil {
			return err
		}
		if err := c.grow(ctx, 2); err != nil {
			return err
		}
		if err := c.connect(ctx, &ramp{}, share(1, 1)); err != nil {
			return err
		}
		victim, err := os.FindProcess(f.processes()[1].PID())
		if err != nil {
			return err
		}
		victim.Kill()
		survivors = append(f.processes(), c.processes()...)
		_, _, err = c.broadcast(ctx, 1)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "floor 1") {
		t.Errorf("ended with %v", err)
	}
	for _, s := range survivors {
		select {
		case <-s.Exited():
		default:
			t.Errorf("process %d is still there", s.PID())
		}
	}
}

// Refused connections are counted by cause, and lost messages and connections
// are noticed.
func TestFaultsAreFound(t *testing.T) {
	o, p := cluster(t, 1, 50)
	f := newFloors(o, p, testPorts())
	ctx := t.Context()
	progress := newProgress(io.Discard)
	err := populate(ctx, o, p, f, progress, func(c *clients) error {
		if err := f.grow(ctx, 1); err != nil {
			return err
		}
		if err := c.grow(ctx, 1); err != nil {
			return err
		}
		listen := f.nodes[0].listen
		f.nodes[0].listen = netip.AddrPortFrom(loopback, 1) // nothing listens there
		var r ramp
		if err := c.connect(ctx, &r, share(1, 2)); err == nil || r.Failed["connect: ECONNREFUSED"] == 0 && r.failed() == 0 {
			t.Errorf("%v, %+v", err, r)
		}
		f.nodes[0].listen = listen
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	f = newFloors(o, p, testPorts())
	err = populate(ctx, o, p, f, progress, func(c *clients) error {
		if err := f.grow(ctx, 1); err != nil {
			return err
		}
		if err := c.grow(ctx, 1); err != nil {
			return err
		}
		if err := c.connect(ctx, &ramp{}, share(1, 1)); err != nil {
			return err
		}
		if err := c.verify(ctx); err != nil {
			t.Errorf("nothing is wrong yet: %v", err)
		}
		c.next++ // a broadcast that was not sent
		if err := c.verify(ctx); err == nil || !strings.Contains(err.Error(), "missing 50") {
			t.Errorf("a lost message: %v", err)
		}
		c.next--
		if _, err := f.nodes[0].proc.Call(ctx, bench.Command{Op: bench.OpDrop}); err != nil {
			return err
		}
		return until(ctx, 10*time.Second, func() error {
			if err := c.verify(ctx); err != nil && strings.Contains(err.Error(), "open 0 of 50") {
				return nil
			}
			return fmt.Errorf("lost connections were not found")
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}
