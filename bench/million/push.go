package million

import (
	"context"
	"errors"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/publish"
)

// The probes' users are beyond all others.
const (
	homeUser = 999_999_998
	awayUser = 999_999_999
)

// inFlight is how many broadcasts are on their way at any time: with two, the
// next one waits when one ends.
const inFlight = 2

// push is pushes to one user while fan-outs to everybody follow one another
// without a gap. Every push goes to the same node's API; the user is at home
// there, or away: at another node.
type push struct {
	Home       pushed  `json:"home"`
	Away       *pushed `json:"away,omitempty"` // nil where there is one node
	Broadcasts int     `json:"broadcasts"`
	Seconds    float64 `json:"seconds"`
	Refused    int     `json:"refused"`      // answers that said busy, to all pushes
	RunQueue   float64 `json:"run_queue_ms"` // mean wait of a thread of the home node for a processor, each time it was ready
	Switches   uint64  `json:"run_queue_n"`  // how often that was
}

// pushed is what became of the pushes to one user.
type pushed struct {
	Node   int             `json:"node"`
	Server bench.Quantiles `json:"server"` // at the node of the user: arrival of the request → sendto; Count 0 of one that is away
	Client bench.Quantiles `json:"client"` // request → receipt, in a process of its own
}

// probe is a client process with one connection, and what is pushed to it.
type probe struct {
	proc *bench.Process
	user int
	node int
	conn *publish.Conn
	sent int
}

// measurePush pushes to the probes at a steady rate while broadcasts go to
// everybody. Beside one node, the flooded clients run on what the others leave
// of the processors, as clients elsewhere would; beside a cluster there is
// nothing left, and messages for a million sockets would pile up in the kernel.
func measurePush(ctx context.Context, o *Options, b *belfry, c *clients) (*push, error) {
	home := len(b.nodes) - 1
	probes := []*probe{{user: homeUser, node: home}}
	if home > 0 {
		probes = append(probes, &probe{user: awayUser, node: home - 1})
	}
	for _, p := range probes {
		defer p.stop()
		if err := p.start(ctx, o, b, c, home); err != nil {
			return nil, err
		}
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
	if err := r.flood(ctx, o, b, c, probes); err != nil {
		return nil, err
	}
	queue, err := runQueue(b.nodes[home].proc.PID())
	if err != nil {
		return nil, err
	}
	r.Switches = queue.slices - queueBefore.slices
	r.RunQueue = float64(queue.waited-queueBefore.waited) / 1e6 / float64(max(r.Switches, 1))
	for i, p := range probes {
		result, err := p.result(ctx, b, c)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			r.Home = result
		} else {
			r.Away = &result
		}
		r.Refused += p.conn.Refused
	}
	r.Refused += b.conn.Refused - refused
	return r, c.verify(ctx)
}

// flood broadcasts until every probe has got its pushes.
func (r *push) flood(ctx context.Context, o *Options, b *belfry, c *clients, probes []*probe) error {
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	flooded := make(chan error, 1)
	go func() {
		var err error
		if r.Broadcasts, err = keepBroadcasting(ctx, c, stop); err != nil {
			cancel(err) // do not push on to nodes that fail
		}
		flooded <- err
	}()
	err := inParallel(ctx, len(probes), len(probes), func(ctx context.Context, i int) error {
		return probes[i].push(ctx, o, o.pushEvery(len(b.nodes)))
	})
	close(stop)
	err = errors.Join(<-flooded, err)
	r.Seconds = time.Since(began).Seconds()
	return err
}

// start connects the probe to its node and to the API at the node home.
func (p *probe) start(ctx context.Context, o *Options, b *belfry, c *clients, home int) (err error) {
	p.conn = newConn(publish.ToUser(b.nodes[home].api))
	if p.proc, err = bench.Start(ctx, "probe", true, []string{"GOMAXPROCS=1"}, o.Program, "client"); err != nil {
		return err
	}
	r, err := p.proc.Call(ctx, bench.Command{Op: bench.OpDial, Dial: dial(o, b.addr(p.node, 0), Piece{}, p.user, 1, c.next)})
	if err == nil && r.Dialed.Opened != 1 {
		err = fmt.Errorf("the probe could not connect to node %d", p.node)
	}
	if err != nil {
		return err
	}
	switch s, err := getStats(ctx, b.nodes[p.node].api); {
	case err != nil:
		return err
	case s.Push.Count != 0: // its quantiles would be of these too
		return fmt.Errorf("node %d has counted %d pushes already", p.node, s.Push.Count)
	}
	if p.node == home {
		return nil
	}
	// Its node asks NATS for the user's pushes when the user comes, and does
	// not say when it has them. A lost first push could not be told from one
	// that is late, and repeated it might be a duplicate.
	return bench.Sleep(ctx, 2*time.Second)
}

func (p *probe) stop() {
	if p.proc != nil {
		p.proc.Stop(stopGrace)
	}
	if p.conn != nil {
		p.conn.Close()
	}
}

// push pushes to the probe's user for o.Push. A push that is late does not
// move the ones after it.
func (p *probe) push(ctx context.Context, o *Options, every time.Duration) error {
	begin := time.Now()
	for at := time.Duration(0); at < o.Push; at += every {
		if err := bench.Sleep(ctx, time.Until(begin.Add(at))); err != nil {
			return err
		}
		if time.Since(begin) > 2*o.Push {
			return nil // the API is slower than asked for; what was measured counts
		}
		p.sent++
		if _, err := p.conn.Push(ctx, bench.Message{Stream: bench.Direct, User: uint32(p.user), Seq: uint32(p.sent)}, o.Size); err != nil {
			return err
		}
	}
	return nil
}

// result waits for the last push and checks that none is missing.
func (p *probe) result(ctx context.Context, b *belfry, c *clients) (r pushed, err error) {
	r.Node = p.node
	_, err = p.proc.Call(ctx, bench.Command{Op: bench.OpWait, Wait: &bench.Wait{
		Stream: bench.Direct, Until: uint64(p.sent), Timeout: int64(receiptBase)}})
	if err != nil {
		return r, err
	}
	reply, err := p.proc.Call(ctx, bench.Command{Op: bench.OpStats, Next: c.next})
	if err != nil {
		return r, err
	}
	st := reply.Stats
	if err := st.Verify(1); err != nil {
		return r, fmt.Errorf("probe at node %d: %w", p.node, err)
	}
	r.Client = st.Directs.Quantiles()
	s, err := getStats(ctx, b.nodes[p.node].api)
	r.Server = s.Latency()
	return r, err
}

// keepBroadcasting keeps inFlight broadcasts on their way until stop is
// closed, then waits for the last, and returns how many there were.
func keepBroadcasting(ctx context.Context, c *clients, stop <-chan struct{}) (n int, err error) {
	type flight struct {
		wait  func(context.Context, int64) (time.Duration, []curvePoint, error)
		stamp int64
	}
	var flights []flight
	for stopped := false; ; {
		for !stopped && len(flights) < inFlight {
			wait := c.expectBroadcast(1)
			stamp, err := c.servers.broadcast(ctx, c.next, c.opts.Size)
			if err != nil {
				return n, err
			}
			flights = append(flights, flight{wait, stamp})
			c.next++
			n++
		}
		if len(flights) == 0 {
			return n, nil
		}
		if _, _, err := flights[0].wait(ctx, flights[0].stamp); err != nil {
			return n, err
		}
		flights = flights[1:]
		select {
		case <-stop:
			stopped = true
		default:
		}
	}
}
