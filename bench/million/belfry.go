package million

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

// Bounds on the start of nodes.
const (
	readyTimeout   = 60 * time.Second
	clusterTimeout = 60 * time.Second
)

// probeSessions is how many sessions the probes add to a node.
const probeSessions = 8

// belfry is one node, or a cluster of nodes with the NATS server in the first.
type belfry struct {
	opts  *Options
	plan  *Plan
	ports *ports
	ping  time.Duration // between pings to a client; 0: none
	token string        // of NATS
	nats  netip.AddrPort
	nodes []belfryNode
	conn  *publish.Conn // to the first node
}

type belfryNode struct {
	proc   *bench.Process
	listen []netip.AddrPort
	api    string
}

func newBelfry(o *Options, p *Plan, ports *ports, ping time.Duration) *belfry {
	return &belfry{opts: o, plan: p, ports: ports, ping: ping, token: rand.Text()}
}

func (b *belfry) name() string                 { return "belfry" }
func (b *belfry) addr(n, p int) netip.AddrPort { return b.nodes[n].listen[p] }

func (b *belfry) processes() []*bench.Process {
	processes := make([]*bench.Process, len(b.nodes))
	for i := range b.nodes {
		processes[i] = b.nodes[i].proc
	}
	return processes
}

// grow starts the first node alone, because it has the NATS server. Then it
// starts the others one after the other, without waiting until the previous one
// is ready.
func (b *belfry) grow(ctx context.Context, n int) error {
	for i := len(b.nodes); i < n; i++ {
		if err := b.start(ctx, i); err != nil {
			return err
		}
		if i == 0 {
			if err := b.ready(ctx, 0); err != nil {
				return err
			}
			b.conn = newConn(publish.ToAll(b.nodes[0].api))
		} else if err := b.ready(ctx, i-1); err != nil {
			return err
		}
	}
	if err := b.ready(ctx, n-1); err != nil {
		return err
	}
	err := until(ctx, clusterTimeout, func() error {
		s, err := getStats(ctx, b.nodes[0].api)
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
func (b *belfry) start(ctx context.Context, i int) error {
	node := b.plan.Nodes[i]
	addrs, err := b.ports.take(node.Ports + 2)
	if err != nil {
		return err
	}
	n := belfryNode{listen: addrs[:node.Ports], api: addrs[node.Ports].String()}
	listen := make([]string, len(n.listen))
	for p, addr := range n.listen {
		listen[p] = addr.String()
	}
	args := []string{"serve", "--dev", "--log-level", "warn", "--listen", strings.Join(listen, ","), "--api", n.api,
		"--shards", strconv.Itoa(b.plan.Shards), "--node-name", fmt.Sprintf("million-%d", i),
		"--set", "session.ping_interval=" + b.ping.String(),
		"--set", "max_connections=" + strconv.Itoa(node.Connections+probeSessions)}
	if len(b.plan.Nodes) > 1 {
		if i == 0 {
			b.nats = addrs[node.Ports+1]
			args = append(args, "--nats-listen", b.nats.String())
		} else {
			args = append(args, "--nats-url", "nats://"+b.nats.String())
		}
	}
	env := append([]string{"BELFRY_NATS_TOKEN=" + b.token}, b.opts.Env...)
	if n.proc, err = bench.Start(ctx, fmt.Sprintf("node %d", i), false, env, b.opts.Server, args...); err != nil {
		return err
	}
	b.nodes = append(b.nodes, n)
	return nil
}

// ready waits until /readyz of node i answers 200.
func (b *belfry) ready(ctx context.Context, i int) error {
	n := b.nodes[i]
	var dead error
	err := until(ctx, readyTimeout, func() error {
		if dead = alive([]*bench.Process{n.proc}); dead != nil {
			return nil
		}
		_, err := publish.Get(ctx, apiTimeout, "http://"+n.api+"/readyz")
		return err
	})
	if dead != nil {
		return dead
	}
	if err != nil {
		return fmt.Errorf("node %d is not ready: %w", i, err)
	}
	return nil
}

func (b *belfry) broadcast(ctx context.Context, seq uint32, size int) (int64, error) {
	return b.conn.Push(ctx, bench.Message{Stream: bench.Broadcast, Seq: seq}, size)
}

// sessions adds up the sessions of all nodes.
func (b *belfry) sessions(ctx context.Context) (int, error) {
	sum := 0
	for _, n := range b.nodes {
		s, err := getStats(ctx, n.api)
		if err != nil {
			return 0, err
		}
		sum += s.Sessions
	}
	return sum, nil
}

func (b *belfry) stop() {
	if b.conn != nil {
		b.conn.Close()
	}
	stopAll(b.processes())
}
