package million

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/probe"
	"belfry/bench/publish"
)

// The indexes of the probes' users are above all others.
const (
	homeUser = 999_999_998
	awayUser = 999_999_999
)

// push is pushes to one user during continuous fan-outs to all. Every push goes
// to the same node's API. The user is at home, at this node, or away, at
// another node.
type push struct {
	Home pushed  `json:"home"`
	Away *pushed `json:"away,omitempty"` // nil where there is one node
	probe.Flooded
	Refused  int     `json:"refused"`      // answers that said busy, to all pushes
	RunQueue float64 `json:"run_queue_ms"` // mean wait of a thread of the home node for a processor, each time it was ready
	Switches uint64  `json:"run_queue_n"`  // how often that was
}

// pushed is the result of the pushes to one user.
type pushed struct {
	Node int `json:"node"`
	probe.Result
}

// measurePush pushes to the probes at a steady rate during broadcasts to all.
// With one node, the flooded clients run only when processors are free, as if
// they were on other machines. With a cluster no processor is ever free, and
// messages for a million sockets would pile up in the kernel.
func measurePush(ctx context.Context, o *Options, b *belfry, c *clients) (*push, error) {
	home := len(b.nodes) - 1
	probes, err := startProbes(ctx, o, b, c, home)
	defer func() {
		for _, p := range probes {
			p.Stop()
		}
	}()
	if err != nil {
		return nil, err
	}
	if home == 0 {
		for _, process := range c.processes() {
			if err := process.Background(); err != nil {
				return nil, err
			}
		}
	}
	r, refused := &push{}, b.conn.Refused
	queueBefore, err := runQueue(b.nodes[home].proc.PID())
	if err != nil {
		return nil, err
	}
	send := func(ctx context.Context) (func(context.Context) error, error) {
		wait, err := c.publish(ctx, 1)
		return func(ctx context.Context) error { _, _, err := wait(ctx); return err }, err
	}
	r.Flooded, err = probe.During(ctx, send, func(ctx context.Context) error {
		return inParallel(ctx, len(probes), len(probes), func(ctx context.Context, i int) error {
			return probes[i].Push(ctx, o.Size, o.pushEvery(len(b.nodes)), o.Push)
		})
	})
	if err != nil {
		return nil, err
	}
	queue, err := runQueue(b.nodes[home].proc.PID())
	if err != nil {
		return nil, err
	}
	r.Switches = queue.slices - queueBefore.slices
	r.RunQueue = float64(queue.waited-queueBefore.waited) / 1e6 / float64(max(r.Switches, 1))
	for i, p := range probes {
		result, err := p.Result(ctx, c.next)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			r.Home = pushed{home, result}
		} else {
			r.Away = &pushed{home - 1, result}
		}
		r.Refused += p.Refused()
	}
	r.Refused += b.conn.Refused - refused
	return r, c.verify(ctx)
}

// startProbes connects the user at home and, if there is another node, the one
// that is away. With an error it returns the probes that it has started.
func startProbes(ctx context.Context, o *Options, b *belfry, c *clients, home int) (probes []*probe.Probe, err error) {
	for i, user := range []int{homeUser, awayUser} {
		node := home - i
		if node < 0 {
			break
		}
		p, err := probe.Start(ctx, o.Program, *dial(o, b.addr(node, 0), Piece{}, user, 1, c.next),
			newConn(publish.ToUser(b.nodes[home].api)), b.nodes[node].api)
		if err != nil {
			return probes, fmt.Errorf("node %d: %w", node, err)
		}
		probes = append(probes, p)
	}
	if home == 0 {
		return probes, nil
	}
	// A node subscribes at NATS to a user's pushes when the user connects, and
	// does not report when the subscription is active. A lost first push could
	// not be distinguished from a late one, and repeating it might make a
	// duplicate.
	return probes, bench.Sleep(ctx, 2*time.Second)
}
