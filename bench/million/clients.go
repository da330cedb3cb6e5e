package million

import (
	"context"
	"fmt"
	"sync"
	"time"

	"belfry/bench"
)

// Bounds on what clients do.
const (
	dialChunk   = 2000            // connections made by one command, which gives one point of the ramp
	dialWindow  = 256             // upgrades in progress of one client: far below any accept queue
	dialTimeout = 2 * time.Minute // for one chunk
)

// clients are the client processes of a run. They are started with their nodes.
type clients struct {
	opts     *Options
	plan     *Plan
	servers  servers
	members  []*member
	next     uint32 // number of the next broadcast
	parallel int    // clients that dial at the same time
	report   func(opened int)
}

// member is one client process.
type member struct {
	Client
	proc     *bench.Process
	done     []int  // of each piece: connections made
	open     int    // connections
	expected uint64 // broadcasts it will have received in all
}

func newClients(o *Options, p *Plan, s servers, report func(opened int)) *clients {
	return &clients{opts: o, plan: p, servers: s, next: 1, parallel: max(4, p.Shards), report: report}
}

// grow starts the clients of the first n nodes.
func (c *clients) grow(ctx context.Context, n int) error {
	for _, plan := range c.plan.Clients[len(c.members):] {
		if plan.Node >= n {
			break
		}
		proc, err := bench.Start(ctx, fmt.Sprintf("client %d", len(c.members)), true, []string{"GOMAXPROCS=1"}, c.opts.Program, "client")
		if err != nil {
			return err
		}
		c.members = append(c.members, &member{Client: plan, proc: proc, done: make([]int, len(plan.Pieces))})
	}
	_, err := c.stats(ctx) // each has started after its first answer
	return err
}

func (c *clients) processes() []*bench.Process {
	processes := make([]*bench.Process, len(c.members))
	for i, m := range c.members {
		processes[i] = m.proc
	}
	return processes
}

func (c *clients) stop() { stopAll(c.processes()) }

// open is the number of connections that were made.
func (c *clients) open() int {
	n := 0
	for _, m := range c.members {
		n += m.open
	}
	return n
}

// upTo wants the first n connections of the plan, which fill node after node.
func upTo(n int) func(Piece) int {
	return func(p Piece) int { return min(max(n-p.First, 0), p.Count) }
}

// share wants i n-ths of every piece, so that all nodes fill at the same time.
func share(i, n int) func(Piece) int {
	return func(p Piece) int { return p.Count * i / n }
}

// connect makes connections until every piece has as many as want says, and
// adds the results to r.
func (c *clients) connect(ctx context.Context, r *ramp, want func(Piece) int) error {
	var mu sync.Mutex // guards dialed
	var dialed []bench.Dialed
	err := inParallel(ctx, len(c.members), c.parallel, func(ctx context.Context, i int) error {
		return c.members[i].connect(ctx, c, want, func(d bench.Dialed) {
			mu.Lock()
			dialed = append(dialed, d)
			mu.Unlock()
			c.report(d.Opened)
		})
	})
	if err != nil {
		return err
	}
	r.add(dialed)
	sum, err := c.stats(ctx)
	if err != nil {
		return err
	}
	r.Failed = sum.Failed
	if n := r.failed(); n > 0 {
		return fmt.Errorf("%s: %d of %d connections failed: %s", c.servers.name(), n, r.Opened+n, bench.Causes(sum.Failed))
	}
	return nil
}

// connect makes one client's connections, chunk by chunk.
func (m *member) connect(ctx context.Context, c *clients, want func(Piece) int, report func(bench.Dialed)) error {
	for i, piece := range m.Pieces {
		for n := want(piece); m.done[i] < n; {
			count := min(dialChunk, n-m.done[i])
			r, err := m.proc.Call(ctx, bench.Command{Op: bench.OpDial, Dial: dial(c.opts,
				c.servers.addr(m.Node, piece.Port), piece, piece.First+m.done[i], count, c.next)})
			if err != nil {
				return err
			}
			m.done[i] += count
			m.open += r.Dialed.Opened
			report(*r.Dialed)
			if r.Dialed.Failed > 0 {
				return nil // the counters have the causes
			}
		}
	}
	return nil
}

// all sends a command to every client and waits for every answer.
func (c *clients) all(ctx context.Context, cmd bench.Command) ([]bench.Reply, error) {
	return bench.CallAll(ctx, c.processes(), func(int) bench.Command { return cmd })
}

// stats adds up the counters of all clients.
func (c *clients) stats(ctx context.Context) (bench.Stats, error) {
	replies, err := c.all(ctx, bench.Command{Op: bench.OpStats, Next: c.next})
	if err != nil {
		return bench.Stats{}, err
	}
	stats := make([]bench.Stats, len(replies))
	for i, r := range replies {
		stats[i] = *r.Stats
	}
	return bench.SumStats(stats), nil
}

// verify returns an error unless every connection is still open and got every
// broadcast once, in order and unchanged.
func (c *clients) verify(ctx context.Context) error {
	sum, err := c.stats(ctx)
	if err != nil {
		return err
	}
	if err := sum.Verify(c.open()); err != nil {
		return fmt.Errorf("%s: %w", c.servers.name(), err)
	}
	return nil
}
