package bench

import (
	"context"
	"errors"
	"time"
)

// Next returns the number of the next broadcast.
func (p *Pool) Next() uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

// Open returns how many connections should receive broadcasts: those made, less
// those that the last Refresh found lost or slow.
func (p *Pool) Open() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.open {
		n += k
	}
	return n
}

// Expect tells the clients that one more broadcast is coming. It returns its
// number, and a function that waits until all have it and returns the stamp of
// the last receipt. Several broadcasts may be in progress.
func (p *Pool) Expect() (seq uint32, wait func(context.Context) (int64, error)) {
	waits := make([]func(context.Context) (Reply, error), len(p.clients))
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range p.clients {
		p.expected[i] += uint64(p.open[i])
		waits[i] = c.Go(Command{Op: OpWait, Wait: &Wait{
			Stream: Broadcast, Until: p.expected[i], Timeout: int64(p.opts.ReceiptTimeout)}})
	}
	seq = p.next
	p.next++
	return seq, func(ctx context.Context) (int64, error) {
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

// Broadcast lets publish send one message with the given number to all. publish
// returns the stamp in the message; the result is the time from the stamp to
// the last receipt. If a connection does not get the message, the error also says
// which connections ended and why, and what else went wrong.
func (p *Pool) Broadcast(ctx context.Context, publish func(ctx context.Context, seq uint32) (stamp int64, err error)) (time.Duration, error) {
	seq, wait := p.Expect()
	stamp, err := publish(ctx, seq)
	if err != nil {
		return 0, err
	}
	last, err := wait(ctx)
	if err != nil && ctx.Err() == nil {
		err = errors.Join(err, p.Verify(ctx))
	}
	return time.Duration(last - stamp), err
}

// Refresh reads which connections were lost, so that they expect no broadcasts
// any more. No broadcast may be in progress.
func (p *Pool) Refresh(ctx context.Context) error {
	stats, err := p.Each(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, s := range stats {
		p.open[i], p.expected[i] = s.Open-s.Slow, s.Broadcast.Received
	}
	return nil
}

// Each returns the counters of every client.
func (p *Pool) Each(ctx context.Context) ([]Stats, error) { return p.each(ctx, false) }

func (p *Pool) each(ctx context.Context, brief bool) ([]Stats, error) {
	next := p.Next()
	replies, err := p.All(ctx, func(int) Command { return Command{Op: OpStats, Next: next, Brief: brief} })
	if err != nil {
		return nil, err
	}
	stats := make([]Stats, len(replies))
	for i, r := range replies {
		stats[i] = *r.Stats
	}
	return stats, nil
}

// Stats returns the counters of all clients together: MinPings that of the one
// with the fewest, Gap the longest, CPU and RunDelay the sums.
func (p *Pool) Stats(ctx context.Context) (Stats, error) {
	return p.total(ctx, false)
}

// Counters is Stats without histograms, MinPings and Missing, which costs the
// clients nothing.
func (p *Pool) Counters(ctx context.Context) (Stats, error) { return p.total(ctx, true) }

func (p *Pool) total(ctx context.Context, brief bool) (Stats, error) {
	stats, err := p.each(ctx, brief)
	return SumStats(stats), err
}

// Verify returns an error unless every connection is still open and got every
// message once, in order and unchanged.
func (p *Pool) Verify(ctx context.Context) error {
	sum, err := p.Stats(ctx)
	if err != nil {
		return err
	}
	return sum.Verify(p.Open())
}
