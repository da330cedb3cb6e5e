package million

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/probe"
	"belfry/bench/publish"
)

// The probes' users are beyond all others.
const (
	homeUser = 999_999_998
	awayUser = 999_999_999
)

// push is pushes to one user while fan-outs to everybody follow one another
// without a gap. Every push goes to the same node's API; the user is at home
// there, or away: at another node.
type push struct {
	Home pushed  `json:"home"`
	Away *pushed `json:"away,omitempty"` // nil where there is one node
	probe.Flooded
	Refused  int     `json:"refused"`      // answers that said busy, to all pushes
	RunQueue float64 `json:"run_queue_ms"` // mean wait of a thread of the home node for a processor, each time it was ready
	Switches uint64  `json:"run_queue_n"`  // how often that was
}

// pushed is what became of the pushes to one user.
type pushed struct {
	Node int `json:"node"`
	probe.Result
}

// measurePush pushes to the probes at a steady rate while broadcasts go to
// everybody. Beside one node, the flooded clients run on what the others leave
// of the processors, as clients elsewhere would; beside a cluster there is
// nothing left, and messages for a million sockets would pile up in the kernel.
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

// startProbes connects the user at home and, where there is another node, the
// one that is away. With an error it returns those that it has started.
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
	// A node asks NATS for a user's pushes when the user comes, and does not
	// say when it has them. A lost first push could not be told from one that
	// is late, and repeated it might be a duplicate.
	return probes, bench.Sleep(ctx, 2*time.Second)
}
