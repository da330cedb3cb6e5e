package cluster

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/target"
)

// idle is the processor time of nodes without clients, in thousandths of a processor
// for each node. The node with the NATS server is not among them.
type idle struct {
	Now    float64 `json:"now"`
	Before float64 `json:"before"`
}

// idle starts clusters of both binaries, and measures them in the same time.
func (r *run) idle(ctx context.Context) error {
	binaries := []string{r.o.Server}
	if r.o.Before != "" {
		binaries = append(binaries, r.o.Before)
	}
	var clusters []*target.Belfry
	defer func() {
		for _, b := range clusters {
			b.Stop()
		}
	}()
	for _, binary := range binaries {
		nodes := make([]target.Node, r.o.Idle)
		for i := range nodes {
			nodes[i] = target.Node{Connections: 1000, Ports: 1}
		}
		b, err := r.nodes(binary, nodes)
		if err != nil {
			return err
		}
		clusters = append(clusters, b)
		if err := b.Grow(ctx, r.o.Idle); err != nil {
			return fmt.Errorf("%s: %w", binary, err)
		}
	}
	if err := bench.Sleep(ctx, r.o.Settle); err != nil {
		return err
	}
	begun := make([]time.Duration, len(clusters))
	used := make([]float64, 2)
	for i, b := range clusters {
		var err error
		if begun[i], err = target.CPU(b.Processes()[1:]); err != nil {
			return err
		}
	}
	start := time.Now()
	if err := bench.Sleep(ctx, r.o.IdleTime); err != nil {
		return err
	}
	took := time.Since(start).Seconds()
	for i, b := range clusters {
		end, err := target.CPU(b.Processes()[1:])
		if err != nil {
			return err
		}
		used[i] = 1e3 * (end - begun[i]).Seconds() / took / float64(r.o.Idle-1)
	}
	r.Idles = append(r.Idles, idle{used[0], used[1]})
	return nil
}
