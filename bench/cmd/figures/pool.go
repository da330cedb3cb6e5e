package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"belfry/bench"
)

// Bounds on what the clients are waited for.
const (
	connectTimeout = 60 * time.Second
	receiptTimeout = 20 * time.Second
)

// pool is a set of client processes that between them hold the connections
// of one server.
type pool struct {
	opts     options
	shares   []bench.Share
	clients  []*bench.Process
	expected []uint64 // broadcasts that each client will have received in all
	open     []int    // connections of each
	total    int      // sum of open
	next     uint32   // number of the next broadcast
}

// connects is how long a number of connections took to make.
type connects struct {
	opened int
	took   time.Duration // first connect(2) → last 101, over all processes
}

func (c connects) perSecond() float64 { return float64(c.opened) / c.took.Seconds() }

// startPool starts the client processes for o.conns connections.
func startPool(ctx context.Context, o options) (*pool, error) {
	files, err := bench.OpenFiles()
	if err != nil {
		return nil, err
	}
	shares, err := bench.Plan(o.conns, o.clients, files)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &pool{opts: o, shares: shares, next: 1,
		expected: make([]uint64, len(shares)), open: make([]int, len(shares))}
	for i := range shares {
		c, err := bench.Start(ctx, fmt.Sprintf("client %d", i), true, []string{"GOMAXPROCS=1"}, self, "client")
		if err != nil {
			p.stop()
			return nil, err
		}
		p.clients = append(p.clients, c)
	}
	// Each has started when it answers: nobody is to start up while
	// connections are timed.
	if _, err := p.stats(ctx); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (p *pool) stop() {
	for _, c := range p.clients {
		c.Stop(5 * time.Second)
	}
}

// all sends a command to every client and waits for every answer.
func (p *pool) all(ctx context.Context, cmd func(i int) bench.Command) ([]bench.Reply, error) {
	waits := make([]func(context.Context) (bench.Reply, error), len(p.clients))
	for i, c := range p.clients {
		waits[i] = c.Go(cmd(i))
	}
	replies := make([]bench.Reply, len(waits))
	var errs []error
	for i, wait := range waits {
		var err error
		replies[i], err = wait(ctx)
		errs = append(errs, err)
	}
	return replies, errors.Join(errs...)
}

// connect makes the connections with index from to to.
func (p *pool) connect(ctx context.Context, s side, from, to int) (connects, error) {
	dials := make([]bench.Dial, len(p.clients))
	for i, share := range p.shares {
		part := share.Part(from, to, p.opts.conns)
		dials[i] = part.Dial(s.addr(), clientPath, p.opts.topics, p.next, int64(connectTimeout))
	}
	replies, err := p.all(ctx, func(i int) bench.Command {
		return bench.Command{Op: bench.OpDial, Dial: &dials[i]}
	})
	if err != nil {
		return connects{}, err
	}
	start, end, opened, failed := int64(1<<62), int64(0), 0, 0
	for i, r := range replies {
		start, end = min(start, r.Dialed.Start), max(end, r.Dialed.End)
		opened, failed = opened+r.Dialed.Opened, failed+r.Dialed.Failed
		p.open[i] += r.Dialed.Opened
	}
	p.total += opened
	if failed > 0 {
		sum, err := p.stats(ctx)
		return connects{}, errors.Join(fmt.Errorf("%d of %d connections to %s failed: %s", failed, opened+failed, s.name(), causes(sum.Failed)), err)
	}
	return connects{opened, time.Duration(end - start)}, nil
}

// expectBroadcast tells the clients that one more broadcast is coming and
// returns the function that waits until everybody has it and gives the stamp
// of the last receipt.
func (p *pool) expectBroadcast() (wait func(context.Context) (int64, error)) {
	waits := make([]func(context.Context) (bench.Reply, error), len(p.clients))
	for i, c := range p.clients {
		p.expected[i] += uint64(p.open[i])
		waits[i] = c.Go(bench.Command{Op: bench.OpWait, Wait: &bench.Wait{
			Stream: bench.Broadcast, Until: p.expected[i], Timeout: int64(receiptTimeout)}})
	}
	return func(ctx context.Context) (int64, error) {
		last := int64(0)
		for _, w := range waits {
			r, err := w(ctx)
			if err != nil {
				return 0, err
			}
			last = max(last, r.At)
		}
		return last, nil
	}
}

// broadcast sends one message to everybody and returns the time from the
// publish to the last receipt.
func (p *pool) broadcast(ctx context.Context, s side) (time.Duration, error) {
	wait := p.expectBroadcast()
	stamp, err := s.broadcast(ctx, p.next, p.opts.size)
	if err != nil {
		return 0, err
	}
	p.next++
	last, err := wait(ctx)
	return time.Duration(last - stamp), err
}

// stats adds up the clients' counters. MinPings is that of the client with
// the fewest; Latency is left out.
func (p *pool) stats(ctx context.Context) (bench.Stats, error) {
	sum := bench.Stats{Failed: map[string]int{}, Ended: map[string]int{}, MinPings: ^uint32(0)}
	replies, err := p.all(ctx, func(int) bench.Command { return bench.Command{Op: bench.OpStats, Next: p.next} })
	if err != nil {
		return sum, err
	}
	for _, r := range replies {
		s := r.Stats
		sum.Open += s.Open
		sum.Broadcast.Add(s.Broadcast)
		sum.Direct.Add(s.Direct)
		sum.Corrupt += s.Corrupt
		sum.Pings += s.Pings
		sum.Pongs += s.Pongs
		sum.PongsLost += s.PongsLost
		sum.Missing += s.Missing
		sum.MinPings = min(sum.MinPings, s.MinPings)
		for cause, n := range s.Failed {
			sum.Failed[cause] += n
		}
		for cause, n := range s.Ended {
			sum.Ended[cause] += n
		}
	}
	return sum, nil
}

// verify returns an error unless every connection is still there and got
// every broadcast once, in order and unchanged.
func (p *pool) verify(ctx context.Context, s side) error {
	sum, err := p.stats(ctx)
	if err != nil {
		return err
	}
	if sum.Broadcast.Faults()+sum.Direct.Faults()+sum.Corrupt+sum.Missing > 0 || sum.Open != p.total {
		return fmt.Errorf("%s: broadcasts %+v, direct %+v, corrupt %d, missing %d, open %d of %d, ended: %s", s.name(),
			sum.Broadcast, sum.Direct, sum.Corrupt, sum.Missing, sum.Open, p.total, causes(sum.Ended))
	}
	return nil
}

// causes prints counts by cause, most frequent first.
func causes(m map[string]int) string {
	if len(m) == 0 {
		return "none"
	}
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a] != m[b] {
			return m[b] - m[a]
		}
		return strings.Compare(a, b)
	})
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%s %d", k, m[k])
	}
	return strings.Join(keys, ", ")
}
