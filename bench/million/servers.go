package million

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"belfry/bench"
)

// servers is one side of the comparison: the nodes of the plan as processes of
// belfry or of the floor. They are started when connections need them.
type servers interface {
	name() string
	// grow starts nodes until there are n, and returns when all are ready.
	grow(ctx context.Context, n int) error
	// processes returns the running processes in the order of the nodes.
	processes() []*bench.Process
	// addr returns the address of port p of node n.
	addr(n, p int) netip.AddrPort
	// broadcast sends one message to every connection and returns the stamp
	// taken just before that began.
	broadcast(ctx context.Context, seq uint32, size int) (stamp int64, err error)
	stop()
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

// inParallel calls f for 0 to n-1, at most width at a time, and returns the
// errors. After an error it begins no further call.
func inParallel(ctx context.Context, n, width int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	var mu sync.Mutex // guards errs
	var errs []error
	slots := make(chan struct{}, width)
	for i := range n {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		all.Go(func() {
			defer func() { <-slots }()
			if err := f(ctx, i); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
				cancel(err)
			}
		})
	}
	all.Wait()
	if len(errs) == 0 && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(errs...)
}

// cpuOf adds up the processor time of processes.
func cpuOf(processes []*bench.Process) (time.Duration, error) {
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

// alive returns why one of the processes has ended, nil if none has.
func alive(processes []*bench.Process) error {
	for _, p := range processes {
		select {
		case <-p.Exited():
			return fmt.Errorf("ended too early: %w", p.Failure())
		default:
		}
	}
	return nil
}
