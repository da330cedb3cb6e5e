// Package target starts servers under test on this host, belfry and the floor,
// and plans how many nodes and clients a number of connections needs. It uses
// only belfry's flags, its HTTP API and /proc.
package target

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"belfry/bench"
)

// Target is a server under test: one process, or a cluster. One goroutine may
// use it.
type Target interface {
	// Name is that of messages: "belfry".
	Name() string
	// Grow starts nodes until there are n, and returns when all are ready.
	Grow(ctx context.Context, n int) error
	// Processes returns the running processes in the order of the nodes.
	Processes() []*bench.Process
	// Listen returns the addresses of a node, also before it is started.
	Listen(node int) []netip.AddrPort
	// Broadcast sends one message to every connection and returns the stamp in
	// it, taken just before.
	Broadcast(ctx context.Context, seq uint32, size int) (stamp int64, err error)
	// Stop ends all processes.
	Stop()
}

// stopGrace is how long processes may take to end: all close thousands of
// sockets at the same time.
const stopGrace = 60 * time.Second

// stopAll ends processes at the same time and waits for all.
func stopAll(processes []*bench.Process) {
	var all sync.WaitGroup
	for _, p := range processes {
		all.Go(func() { p.Stop(stopGrace) })
	}
	all.Wait()
}

// Alive returns why one of the processes has ended, nil if none has.
func Alive(processes []*bench.Process) error {
	for _, p := range processes {
		select {
		case <-p.Exited():
			return fmt.Errorf("ended too early: %w", p.Failure())
		default:
		}
	}
	return nil
}

// CPU adds up the processor time that processes have used in their lives.
func CPU(processes []*bench.Process) (time.Duration, error) {
	var sum time.Duration
	for _, p := range processes {
		cpu, err := bench.ProcessCPU(p.PID())
		if err != nil {
			return 0, err
		}
		sum += cpu
	}
	return sum, nil
}

// Until calls ask every 20 ms until it returns nil, at most for a time. It ends
// early when one of the processes has ended.
func Until(ctx context.Context, limit time.Duration, processes []*bench.Process, ask func() error) error {
	for deadline := time.Now().Add(limit); ; {
		err := ask()
		if err == nil {
			return nil
		}
		if dead := Alive(processes); dead != nil {
			return dead
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not after %v: %w", limit, err)
		}
		if err := bench.Sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// places takes the ports of all nodes: those that clients connect to, and some
// more.
func places(nodes []Node, ports *Ports, more int) (listen, rest [][]netip.AddrPort, err error) {
	for _, n := range nodes {
		addrs, err := ports.Take(n.Ports + more)
		if err != nil {
			return nil, nil, err
		}
		listen, rest = append(listen, addrs[:n.Ports]), append(rest, addrs[n.Ports:])
	}
	return listen, rest, nil
}
