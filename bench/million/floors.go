package million

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"

	"belfry/bench"
)

// floors are the processes of the floor, one for each node of the plan.
type floors struct {
	opts  *Options
	plan  *Plan
	ports *ports
	clock bench.Clock
	nodes []floorNode
}

type floorNode struct {
	proc   *bench.Process
	listen netip.AddrPort
}

func newFloors(o *Options, p *Plan, ports *ports) *floors {
	return &floors{opts: o, plan: p, ports: ports, clock: bench.NewClock()}
}

func (f *floors) name() string { return "floor" }

// addr returns the floor's only port for each port of the node. Source
// addresses differ between ports, so it makes no difference to the clients.
func (f *floors) addr(n, _ int) netip.AddrPort { return f.nodes[n].listen }

func (f *floors) processes() []*bench.Process {
	processes := make([]*bench.Process, len(f.nodes))
	for i := range f.nodes {
		processes[i] = f.nodes[i].proc
	}
	return processes
}

func (f *floors) grow(ctx context.Context, n int) error {
	for i := len(f.nodes); i < n; i++ {
		addrs, err := f.ports.take(1)
		if err != nil {
			return err
		}
		proc, err := bench.Start(ctx, fmt.Sprintf("floor %d", i), true, nil, f.opts.Program,
			"floor", "--listen", addrs[0].String(), "--threads", strconv.Itoa(f.plan.Shards))
		if err != nil {
			return err
		}
		f.nodes = append(f.nodes, floorNode{proc, addrs[0]})
		if _, err := proc.Call(ctx, bench.Command{Op: bench.OpCount}); err != nil {
			return err // it listens after its first answer
		}
	}
	return nil
}

// broadcast makes all floors write at the same time.
func (f *floors) broadcast(ctx context.Context, seq uint32, size int) (int64, error) {
	stamp := f.clock.Now()
	waits := make([]func(context.Context) (bench.Reply, error), len(f.nodes))
	for i, n := range f.nodes {
		waits[i] = n.proc.Go(bench.Command{Op: bench.OpSend, Send: &bench.Send{Seq: seq, Size: size, Threads: f.plan.Shards}})
	}
	for i, wait := range waits {
		r, err := wait(ctx)
		if err == nil && r.Sent.Failed > 0 {
			err = fmt.Errorf("floor %d: %d of %d writes failed", i, r.Sent.Failed, r.Sent.Failed+r.Sent.Written)
		}
		if err != nil {
			return stamp, err
		}
	}
	return stamp, nil
}

func (f *floors) stop() { stopAll(f.processes()) }
