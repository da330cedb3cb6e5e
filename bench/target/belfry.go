package target

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"belfry/bench"
	"belfry/bench/publish"
)

const (
	// readyTimeout bounds the start of a node, and that of a cluster.
	readyTimeout = 60 * time.Second
	// apiTimeout bounds a request to a node, each answer to a push, and the
	// time during which a push is repeated. It is long because 100 processes
	// may share the processors.
	apiTimeout = 60 * time.Second
	// probeSessions is how many sessions the probes add to a node.
	probeSessions = 8
)

// Setup says how servers are started.
type Setup struct {
	Binary   string   // belfry's; the floor is this program
	Env      []string // NAME=VALUE, for belfry's environment
	Args     []string // further arguments of belfry
	Shards   int      // of a node of belfry, and threads of a floor
	Nodes    []Node
	Ports    *Ports
	Document bool // the broadcasts are JSON documents; see bench.AppendDocument
}

// Belfry is one node of belfry, or a cluster of nodes with the NATS server in
// the first.
type Belfry struct {
	// All publishes to all through the first node. It exists when that node has
	// started.
	All *publish.Conn

	setup  Setup
	listen [][]netip.AddrPort
	rest   [][]netip.AddrPort // of each node: API, NATS
	token  string             // of NATS
	procs  []*bench.Process
}

// NewBelfry makes belfry without any node.
func NewBelfry(s Setup) (*Belfry, error) {
	b := &Belfry{setup: s, token: rand.Text()}
	var err error
	b.listen, b.rest, err = places(s.Nodes, s.Ports, 2)
	return b, err
}

func (b *Belfry) Name() string                     { return "belfry" }
func (b *Belfry) Processes() []*bench.Process      { return b.procs }
func (b *Belfry) Listen(node int) []netip.AddrPort { return b.listen[node] }

// API returns the address of a node's API.
func (b *Belfry) API(node int) string { return b.rest[node][0].String() }

// Conn returns a connection for messages to a node.
func Conn(r *publish.Request) *publish.Conn {
	c := publish.NewConn(r)
	c.Timeout, c.RetryFor = apiTimeout, apiTimeout
	return c
}

// Stats returns the statistics of a node.
func (b *Belfry) Stats(ctx context.Context, node int) (publish.Stats, error) {
	return publish.GetStats(ctx, apiTimeout, b.API(node))
}

// Metric returns one series of a node's metrics.
func (b *Belfry) Metric(ctx context.Context, node int, series string) (float64, error) {
	return publish.GetMetric(ctx, apiTimeout, b.API(node), series)
}

// Grow starts the first node alone, because it has the NATS server. Then it
// starts the others one after the other, without waiting until the previous one
// is ready.
func (b *Belfry) Grow(ctx context.Context, n int) error {
	if len(b.procs) >= n {
		return nil
	}
	for i := len(b.procs); i < n; i++ {
		if err := b.start(ctx, i); err != nil {
			return err
		}
		if i == 0 {
			request := publish.ToAll(b.API(0))
			request.Document = b.setup.Document
			b.All = Conn(request)
		}
		if err := b.ready(ctx, max(i-1, 0)); err != nil {
			return err
		}
	}
	if err := b.ready(ctx, n-1); err != nil {
		return err
	}
	err := Until(ctx, readyTimeout, b.procs, func() error {
		s, err := b.Stats(ctx, 0)
		if err == nil && s.Bus.Peers != n-1 {
			err = fmt.Errorf("the first node sees %d others, not %d", s.Bus.Peers, n-1)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("cluster of %d nodes: %w", n, err)
	}
	return nil
}

// start starts node i.
func (b *Belfry) start(ctx context.Context, i int) error {
	listen := make([]string, len(b.listen[i]))
	for p, addr := range b.listen[i] {
		listen[p] = addr.String()
	}
	args := []string{"serve", "--dev", "--log-level", "warn", "--listen", strings.Join(listen, ","), "--api", b.API(i),
		"--shards", strconv.Itoa(b.setup.Shards)}
	name := "belfry"
	if n := b.setup.Nodes[i].Connections; n > 0 {
		args = append(args, "--set", "max_connections="+strconv.Itoa(n+probeSessions))
	}
	if len(b.setup.Nodes) > 1 {
		name = fmt.Sprintf("node %d", i)
		args = append(args, "--node-name", fmt.Sprintf("bench-%d", i))
		nats := b.rest[0][1].String()
		if i == 0 {
			args = append(args, "--nats-listen", nats)
		} else {
			args = append(args, "--nats-url", "nats://"+nats)
		}
	}
	env := append([]string{"BELFRY_NATS_TOKEN=" + b.token}, b.setup.Env...)
	proc, err := bench.Start(ctx, name, false, env, b.setup.Binary, append(args, b.setup.Args...)...)
	if err == nil {
		b.procs = append(b.procs, proc)
	}
	return err
}

// ready waits until /readyz of node i answers 200.
func (b *Belfry) ready(ctx context.Context, i int) error {
	err := Until(ctx, readyTimeout, b.procs[i:i+1], func() error {
		_, err := publish.Get(ctx, apiTimeout, "http://"+b.API(i)+"/readyz")
		return err
	})
	if err != nil {
		return fmt.Errorf("node %d is not ready: %w", i, err)
	}
	return nil
}

func (b *Belfry) Broadcast(ctx context.Context, seq uint32, size int) (int64, error) {
	return b.All.Push(ctx, bench.Message{Stream: bench.Broadcast, Seq: seq}, size)
}

// Sessions adds up the sessions of all nodes.
func (b *Belfry) Sessions(ctx context.Context) (int, error) {
	sum := 0
	for i := range b.procs {
		s, err := b.Stats(ctx, i)
		if err != nil {
			return 0, err
		}
		sum += s.Sessions
	}
	return sum, nil
}

func (b *Belfry) Stop() {
	if b.All != nil {
		b.All.Close()
	}
	stopAll(b.procs)
}
