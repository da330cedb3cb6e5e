package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"
)

// PoolOptions describes the connections that a Pool holds.
type PoolOptions struct {
	Connections int
	Shares      []Share          // of the client processes; if there are none, Targets, Sources and Processes say how they are made
	InOrder     bool             // the numbers fill one share after the other; otherwise all shares grow at the same time
	Parallel    int              // client processes that connect at the same time; 0 is all
	Targets     []netip.AddrPort // all IPv4 or all IPv6; the connections use them in turn, so one that is named twice gets twice as many
	Sources     []netip.Addr     // local addresses; if there are none, loopback addresses for an IPv4 loopback target, otherwise the kernel chooses
	Processes   int              // at least so many; 0 is as many as the limit of open files requires, but at least one for each processor
	Program     []string         // the client's command; none is this program with the argument "client"
	Rate        float64          // connections begun a second over all processes; 0 is no limit
	Window      int              // connections in progress at once in one process; 0 is 256
	Wire

	ConnectTimeout time.Duration // for one Connect; 0 is a minute
	ReceiptTimeout time.Duration // for one broadcast to reach all; 0 is 20 s
}

// Pool is a set of client processes that together hold connections to one or
// several servers. Any goroutine may call Stats; only one may call the other
// methods.
type Pool struct {
	opts    PoolOptions
	shares  []Share
	clients []*Process

	mu       sync.Mutex // guards what follows
	expected []uint64   // broadcasts that each client will have received in all
	open     []int      // connections of each that read
	next     uint32     // number of the next broadcast
}

// Connects is the result of making connections.
type Connects struct {
	Opened int
	Failed int
	Causes map[string]int // of all failures so far
	Took   time.Duration  // first connect(2) → last 101, over all processes
}

// PerSecond is the rate of the connections that were made.
func (c Connects) PerSecond() float64 {
	return float64(c.Opened) / max(c.Took, time.Microsecond).Seconds()
}

// Err is nil if all were made.
func (c Connects) Err() error {
	if c.Failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d connections failed: %s", c.Failed, c.Opened+c.Failed, Causes(c.Causes))
}

// StartPool starts the client processes; they connect when Connect is called.
// They are killed when ctx is done.
func StartPool(ctx context.Context, o PoolOptions) (*Pool, error) {
	shares, err := o.plan()
	if err != nil {
		return nil, err
	}
	program := o.Program
	if len(program) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		program = []string{self, "client"}
	}
	p := &Pool{opts: o, shares: shares, next: 1, expected: make([]uint64, len(shares)), open: make([]int, len(shares))}
	for i := range shares {
		c, err := Start(ctx, fmt.Sprintf("client %d", i), true, []string{"GOMAXPROCS=1"}, program[0], program[1:]...)
		if err != nil {
			p.Stop()
			return nil, err
		}
		p.clients = append(p.clients, c)
	}
	// Each has started after its first answer, so that no process starts while
	// connections are timed.
	if _, err := p.Stats(ctx); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// plan sets defaults and spreads the connections.
func (o *PoolOptions) plan() ([]Share, error) {
	if o.Window == 0 {
		o.Window = defaultWindow
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = time.Minute
	}
	if o.ReceiptTimeout == 0 {
		o.ReceiptTimeout = 20 * time.Second
	}
	if o.Processes == 0 {
		o.Processes = min(runtime.NumCPU(), o.Connections/1000+1)
	}
	switch {
	case len(o.Shares) > 0:
		return o.Shares, nil
	case len(o.Targets) == 0:
		return nil, errors.New("targets: none")
	}
	files, err := OpenFiles()
	if err != nil {
		return nil, err
	}
	different, local := make(map[netip.AddrPort]bool), true
	for _, t := range o.Targets {
		different[t] = true
		local = local && t.Addr().IsLoopback() && t.Addr().Is4() // IPv6 has one such address, not a network of them
	}
	shares, err := Spread{Connections: o.Connections, Processes: o.Processes, OpenFiles: files, Targets: len(different)}.Shares()
	if err != nil {
		return nil, err
	}
	if !local || len(o.Sources) > 0 {
		if room := max(len(o.Sources), 1) * len(different) * allPorts; o.Connections > room {
			return nil, fmt.Errorf("%d connections from %d source addresses to %d ports; at most %d: give more sources, or more ports",
				o.Connections, max(len(o.Sources), 1), len(different), room)
		}
		for i := range shares {
			shares[i].Sources = o.Sources
		}
	}
	return shares, nil
}

// Stop ends the client processes; the server sees resets.
func (p *Pool) Stop() {
	var wg sync.WaitGroup
	for _, c := range p.clients {
		wg.Go(func() { c.Stop(5 * time.Second) })
	}
	wg.Wait()
}

// Processes returns the client processes.
func (p *Pool) Processes() []*Process { return p.clients }

// Background lets the clients run only when processors are free; see
// Process.Background.
func (p *Pool) Background() error {
	var errs []error
	for _, c := range p.clients {
		errs = append(errs, c.Background())
	}
	return errors.Join(errs...)
}

// All sends a command to every client and waits for every reply.
func (p *Pool) All(ctx context.Context, cmd func(i int) Command) ([]Reply, error) {
	return CallAll(ctx, p.clients, cmd)
}

// Connect makes the connections with numbers from to to, without to. Failed
// connections are in the result; an error means that a client does not answer.
func (p *Pool) Connect(ctx context.Context, from, to int) (Connects, error) {
	var dialing []int // the clients that have a part
	parts, dialed := make([]Share, len(p.shares)), make([]Dialed, len(p.shares))
	for i, s := range p.shares {
		if parts[i] = s.Part(from, to, p.opts.Connections); p.opts.InOrder {
			parts[i] = s.Cut(from, to)
		}
		if parts[i].Count > 0 {
			dialing = append(dialing, i)
		}
	}
	width := p.opts.Parallel
	if width == 0 {
		width = max(len(dialing), 1)
	}
	err := Parallel(ctx, len(dialing), width, func(ctx context.Context, n int) error {
		i := dialing[n]
		r, err := p.clients[i].Call(ctx, Command{Op: OpDial, Dial: p.dial(parts[i], to-from)})
		if err == nil {
			dialed[i] = *r.Dialed
		}
		return err
	})
	if err != nil {
		return Connects{}, err
	}
	var c Connects
	start, end := int64(1<<62), int64(0)
	p.mu.Lock()
	for _, i := range dialing {
		d := dialed[i]
		start, end = min(start, d.Start), max(end, d.End)
		c.Opened, c.Failed = c.Opened+d.Opened, c.Failed+d.Failed
		p.open[i] += d.Opened
	}
	p.mu.Unlock()
	c.Took = time.Duration(max(end-start, 0))
	if c.Failed > 0 {
		sum, err := p.Stats(ctx)
		c.Causes = sum.Failed
		return c, err
	}
	return c, nil
}

// dial makes a client's part of so many connections.
func (p *Pool) dial(part Share, all int) *Dial {
	o := &p.opts
	d := &Dial{Targets: part.Targets, Sources: part.Sources, First: part.First, Count: part.Count,
		Window: o.Window, Rate: o.Rate * float64(part.Count) / float64(all), Next: p.Next(),
		Timeout: int64(o.ConnectTimeout), Wire: o.Wire}
	if len(d.Targets) == 0 {
		d.Targets = o.Targets
	}
	return d
}

// Drop resets every connection. Connect may make them again.
func (p *Pool) Drop(ctx context.Context) error {
	if _, err := p.All(ctx, func(int) Command { return Command{Op: OpDrop} }); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.open)
	return nil
}

// Mark begins a measurement in every client; see Client.Mark.
func (p *Pool) Mark(ctx context.Context) error {
	_, err := p.All(ctx, func(int) Command { return Command{Op: OpMark} })
	return err
}

// Slow makes a share of the connections stop reading and returns how many;
// these expect no broadcasts any more. See Client.Slow.
func (p *Pool) Slow(ctx context.Context, share float64) (int, error) {
	return p.count(ctx, Command{Op: OpSlow, Slow: share})
}

// Read makes the slow connections read again; see Client.Read.
func (p *Pool) Read(ctx context.Context) (int, error) { return p.count(ctx, Command{Op: OpRead}) }

func (p *Pool) count(ctx context.Context, cmd Command) (n int, err error) {
	replies, err := p.All(ctx, func(int) Command { return cmd })
	for _, r := range replies {
		n += r.Count
	}
	return n, errors.Join(err, p.Refresh(ctx))
}

// Echo sends messages that come back and returns when the last has come back.
// e.Rate is that of all connections together. The answers are in Stats.Direct
// and Stats.Directs.
func (p *Pool) Echo(ctx context.Context, e Echo) (Echoed, error) {
	p.mu.Lock()
	parts := make([]Echo, len(p.clients))
	open := 0
	for _, n := range p.open {
		open += n
	}
	for i, n := range p.open {
		parts[i] = e
		parts[i].Rate = e.Rate * float64(n) / float64(max(open, 1))
	}
	p.mu.Unlock()
	replies, err := p.All(ctx, func(i int) Command { return Command{Op: OpEcho, Echo: &parts[i]} })
	if err != nil {
		return Echoed{}, err
	}
	sum := *replies[0].Echoed
	for _, r := range replies[1:] {
		sum.Sent += r.Echoed.Sent
		sum.Back += r.Echoed.Back
		sum.Late = max(sum.Late, r.Echoed.Late)
		sum.Start = min(sum.Start, r.Echoed.Start)
		sum.End = max(sum.End, r.Echoed.End)
	}
	return sum, nil
}
