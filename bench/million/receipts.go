package million

import (
	"cmp"
	"context"
	"slices"
	"time"

	"belfry/bench"
)

// How long to wait for the last receipt of a broadcast: a fixed time, and a
// time for each connection.
const (
	receiptBase = 60 * time.Second
	receiptEach = 100 * time.Microsecond
)

// curvePoints is how many points of a receipt curve each client gives.
const curvePoints = 20

// curvePoint is one point of a receipt curve.
type curvePoint struct {
	Seconds float64 `json:"s"` // since the publish
	Share   float64 `json:"share"`
}

// receipts waits until all clients have a broadcast. It returns the time from
// the publish to the last receipt, and the receipt curve.
type receipts func(context.Context) (time.Duration, []curvePoint, error)

// publish sends one message to all. Each client returns points points of its
// receipt curve.
func (c *clients) publish(ctx context.Context, points int) (receipts, error) {
	wait := c.expectBroadcast(points)
	sent, err := c.servers.broadcast(ctx, c.next, c.opts.Size)
	if err != nil {
		return nil, err
	}
	c.next++
	return func(ctx context.Context) (time.Duration, []curvePoint, error) { return wait(ctx, sent) }, nil
}

// expectBroadcast tells the clients that one more broadcast is coming. It
// returns a function that waits for it, given the stamp in it.
func (c *clients) expectBroadcast(points int) (wait func(ctx context.Context, sent int64) (time.Duration, []curvePoint, error)) {
	type receipt struct { // of so many connections
		wait  func(context.Context) (bench.Reply, error)
		count int
	}
	var parts []receipt
	total := c.open()
	timeout := receiptBase + time.Duration(total)*receiptEach
	for _, m := range c.members {
		for i := range points {
			count := part(m.open, i, points)
			if count == 0 {
				continue
			}
			m.expected += uint64(count)
			parts = append(parts, receipt{m.proc.Go(bench.Command{Op: bench.OpWait, Wait: &bench.Wait{
				Stream: bench.Broadcast, Until: m.expected, Timeout: int64(timeout)}}), count})
		}
	}
	return func(ctx context.Context, sent int64) (time.Duration, []curvePoint, error) {
		curve := make([]curvePoint, 0, len(parts)+1)
		for _, p := range parts {
			r, err := p.wait(ctx)
			if err != nil {
				return 0, nil, err
			}
			curve = append(curve, curvePoint{float64(r.At-sent) / 1e9, float64(p.count) / float64(total)})
		}
		slices.SortFunc(curve, func(a, b curvePoint) int { return cmp.Compare(a.Seconds, b.Seconds) })
		sum := 0.0
		for i := range curve {
			sum += curve[i].Share
			curve[i].Share = sum
		}
		return time.Duration(curve[len(curve)-1].Seconds * 1e9), curve, nil
	}
}

// broadcast sends one message to all and waits for the last receipt.
func (c *clients) broadcast(ctx context.Context, points int) (time.Duration, []curvePoint, error) {
	wait, err := c.publish(ctx, points)
	if err != nil {
		return 0, nil, err
	}
	return wait(ctx)
}
