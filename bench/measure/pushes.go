package measure

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/publish"
	"belfry/bench/target"
)

// The indexes of the probes' users are above all others.
const (
	homeUser = 999_999_998
	awayUser = 999_999_999
)

// ProbeOptions says how messages are pushed to one user.
type ProbeOptions struct {
	Wire    bench.Wire    // of the clients
	Size    int           // of the payloads, in bytes
	Every   time.Duration // between pushes
	Lasting time.Duration // of pushing
}

// Pushes is pushes to one user during continuous fan-outs to all. Every push goes
// to the API of the last node. The user is at home, at this node, or away, at
// another node.
type Pushes struct {
	Home ProbedUser  `json:"home"`
	Away *ProbedUser `json:"away,omitempty"` // nil where there is one node
	Flooded
	Refused  int     `json:"refused"`      // answers that said busy, to all pushes
	RunQueue float64 `json:"run_queue_ms"` // mean wait of a thread of the home node for a processor, each time it was ready
	Switches uint64  `json:"run_queue_n"`  // how often that was
}

// ProbedUser is the result of the pushes to one user.
type ProbedUser struct {
	Node int `json:"node"`
	Probed
}

// Pushes pushes to the probes at a steady rate during broadcasts to all. With one
// node, the flooded clients run only when processors are free, as if they were on
// other machines. With a cluster no processor is ever free, and messages for a
// million sockets would pile up in the kernel.
func (p *Population) Pushes(ctx context.Context, b *target.Belfry, o ProbeOptions) (*Pushes, error) {
	home := len(b.Processes()) - 1
	probes, err := p.startProbes(ctx, b, o, home)
	defer func() {
		for _, probe := range probes {
			probe.Stop()
		}
	}()
	if err != nil {
		return nil, err
	}
	if home == 0 {
		if err := p.Pool.Background(); err != nil {
			return nil, err
		}
	}
	r, refused, threads := &Pushes{}, b.All.Refused, fmt.Sprintf("/proc/%d/task/*/schedstat", b.Processes()[home].PID())
	before, err := bench.ReadRunQueue(threads)
	if err != nil {
		return nil, err
	}
	send := func(ctx context.Context) (func(context.Context) error, error) {
		seq, wait := p.Pool.Expect()
		_, err := b.Broadcast(ctx, seq, o.Size)
		return func(ctx context.Context) error { _, err := wait(ctx); return err }, err
	}
	r.Flooded, err = During(ctx, send, func(ctx context.Context) error {
		return bench.Parallel(ctx, len(probes), len(probes), func(ctx context.Context, i int) error {
			return probes[i].Push(ctx, o.Size, o.Every, o.Lasting)
		})
	})
	if err != nil {
		return nil, err
	}
	after, err := bench.ReadRunQueue(threads)
	if err != nil {
		return nil, err
	}
	r.Switches = after.Slices - before.Slices
	r.RunQueue = float64(after.Waited-before.Waited) / 1e6 / float64(max(r.Switches, 1))
	r.Refused = b.All.Refused - refused
	for i, probe := range probes {
		result, err := probe.Result(ctx, p.Pool.Next())
		if err != nil {
			return nil, err
		}
		if i == 0 {
			r.Home = ProbedUser{home, result}
		} else {
			r.Away = &ProbedUser{home - 1, result}
		}
		r.Refused += probe.Refused()
	}
	return r, p.Verify(ctx)
}

// startProbes connects the user at home and, if there is another node, the one
// that is away. With an error it returns the probes that it has started.
func (p *Population) startProbes(ctx context.Context, b *target.Belfry, o ProbeOptions, home int) (probes []*Probe, err error) {
	for i, user := range []int{homeUser, awayUser} {
		node := home - i
		if node < 0 {
			break
		}
		probe, err := StartProbe(ctx, bench.Dial{Targets: b.Listen(node)[:1], First: user, Next: p.Pool.Next(), Wire: o.Wire},
			target.Conn(publish.ToUser(b.API(home))), b.API(node))
		if err != nil {
			return probes, fmt.Errorf("node %d: %w", node, err)
		}
		probes = append(probes, probe)
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
