package target

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"

	"belfry/bench"
)

// Floor is the floor, in one process for each node. Its processes are this
// program with the argument "floor".
type Floor struct {
	// Threads of a process send; all of Setup.Shards unless it is changed.
	Threads int

	setup  Setup
	listen [][]netip.AddrPort
	clock  bench.Clock
	procs  []*bench.Process
}

// NewFloor makes the floor without any process. Each process listens on one
// port: source addresses differ between the ports of a node, so it makes no
// difference to the clients.
func NewFloor(s Setup) (*Floor, error) {
	f := &Floor{Threads: s.Shards, setup: s, clock: bench.NewClock()}
	for range s.Nodes {
		addrs, err := s.Ports.Take(1)
		if err != nil {
			return nil, err
		}
		f.listen = append(f.listen, addrs)
	}
	return f, nil
}

func (f *Floor) Name() string                     { return "floor" }
func (f *Floor) Processes() []*bench.Process      { return f.procs }
func (f *Floor) Listen(node int) []netip.AddrPort { return f.listen[node] }
func (f *Floor) Stop()                            { stopAll(f.procs) }

// Grow starts processes until there are n.
func (f *Floor) Grow(ctx context.Context, n int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for i := len(f.procs); i < n; i++ {
		proc, err := bench.Start(ctx, fmt.Sprintf("floor %d", i), true, nil, self,
			"floor", "--listen", f.listen[i][0].String(), "--threads", strconv.Itoa(f.setup.Shards))
		if err != nil {
			return err
		}
		f.procs = append(f.procs, proc)
		if _, err := proc.Call(ctx, bench.Command{Op: bench.OpCount}); err != nil {
			return err // it listens after its first answer
		}
	}
	return nil
}

// Broadcast makes all processes write at the same time.
func (f *Floor) Broadcast(ctx context.Context, seq uint32, size int) (int64, error) {
	stamp := f.clock.Now()
	replies, err := bench.CallAll(ctx, f.procs, func(int) bench.Command {
		return bench.Command{Op: bench.OpSend, Send: &bench.Send{Seq: seq, Size: size, Threads: f.Threads, Stamp: stamp}}
	})
	for i, r := range replies {
		if err == nil && r.Sent.Failed > 0 {
			err = fmt.Errorf("floor %d: %d of %d writes failed", i, r.Sent.Failed, r.Sent.Failed+r.Sent.Written)
		}
	}
	return stamp, err
}
