package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"belfry/bench"
	"belfry/bench/report"
	"belfry/bench/target"
	"belfry/bench/tool"
)

// three is the number of nodes with clients. The node after them joins later.
const three = 3

// patience is how long nodes may take until they know everything, or messages to arrive.
const patience = 30 * time.Second

// round has the measured values of one cluster.
type round struct {
	Presence      bench.Quantiles `json:"presence"`          // of one user, ns
	Counts        []received      `json:"messages"`          // of the three
	PerSession    float64         `json:"bytes_per_session"` // that a node knows
	Quiet         pushed          `json:"quiet"`             // pushes; nothing else happens
	Beside        pushed          `json:"beside"`            // a node starts that does not belong to the cluster
	Joins         pushed          `json:"joins"`             // a node joins
	Moved         float64         `json:"moved_seconds"`     // from the moment when the nodes know it until it keeps its sessions
	MovedSessions int             `json:"moved_sessions"`
}

type run struct {
	Rounds []*round `json:"rounds"`
	Single float64  `json:"single_bytes"` // memory for other nodes' sessions, of a node alone
	Idles  []idle   `json:"idle"`
	o      *Options
	p      *tool.Progress
	ports  *target.Ports
}

// Run carries out o.
func Run(ctx context.Context, o *Options, p *tool.Progress) (*report.Report, error) {
	rep, err := report.New("cluster")
	if err != nil {
		return nil, err
	}
	r := &run{o: o, p: p, ports: target.NewPorts(o.FirstPort)}
	defer r.ports.Release()
	rep.Detail = r
	p.Begin(o.Rounds * len(o.Only))
	for range o.Rounds {
		if err = r.round(ctx); err != nil {
			break
		}
	}
	rep.End(err)
	r.fill(rep)
	return rep, err
}

func (r *run) round(ctx context.Context) error {
	if r.o.measures("presence") || r.o.measures("push") || r.o.measures("join") {
		one := &round{}
		r.Rounds = append(r.Rounds, one)
		if err := r.populate(ctx, func(c *population) error { return c.parts(ctx, one) }); err != nil {
			return err
		}
	}
	if r.o.measures("single") {
		r.p.Step("memory of a node alone")
		if err := r.single(ctx); err != nil {
			return err
		}
	}
	if r.o.measures("idle") {
		r.p.Step("idle nodes")
		return r.idle(ctx)
	}
	return nil
}

// population is three nodes with clients. Each node has users of its own.
type population struct {
	*run
	*target.Belfry
	pools []*bench.Pool
	seqs  [three][]uint32 // of the last push to each user
}

// populate runs f with a cluster. The clients end first, because their resets leave no
// port in TIME_WAIT.
func (r *run) populate(ctx context.Context, f func(*population) error) error {
	c := &population{run: r}
	nodes := make([]target.Node, three+1)
	for i := range nodes {
		nodes[i] = target.Node{Connections: r.o.Connections, Ports: 1}
	}
	var err error
	if c.Belfry, err = r.nodes(r.o.Server, nodes); err != nil {
		return err
	}
	defer c.Stop()
	defer func() {
		for _, p := range c.pools {
			p.Stop()
		}
	}()
	r.p.Note("%d sessions on each of %d nodes", r.o.Connections, three)
	if err := c.Grow(ctx, three); err != nil {
		return err
	}
	for i := range three {
		c.seqs[i] = make([]uint32, r.o.users())
		pool, err := bench.StartPool(ctx, bench.PoolOptions{Connections: r.o.Connections, Targets: c.Listen(i), Processes: 1,
			Wire: bench.Wire{Path: "/ws?uid=" + string(prefix(i)) + "{uid}", Users: r.o.users()}})
		if err != nil {
			return err
		}
		c.pools = append(c.pools, pool)
		opened, err := pool.Connect(ctx, 0, r.o.Connections)
		if err = errors.Join(err, opened.Err()); err != nil {
			return err
		}
	}
	if err := c.settled(ctx, three); err != nil {
		return err
	}
	return errors.Join(f(c), target.Alive(c.Processes()))
}

// nodes returns a cluster that is not started.
func (r *run) nodes(binary string, nodes []target.Node) (*target.Belfry, error) {
	return target.NewBelfry(target.Setup{Binary: binary, Shards: r.o.Shards, Nodes: nodes, Ports: r.ports, Args: []string{"--set", "session.ping_interval=0s"}})
}

// settled waits until some nodes know all sessions, and none takes pushes to users of
// others.
func (c *population) settled(ctx context.Context, nodes int) error {
	return target.Until(ctx, patience, c.Processes(), func() error {
		all := 0.0
		for i := range nodes {
			kept, pending, err := c.keeps(ctx, i)
			if err != nil {
				return err
			}
			if all += kept; pending > 0 {
				return fmt.Errorf("node %d does not know %v buckets completely", i, pending)
			}
			if overhears, err := c.Metric(ctx, i, "belfry_route_overhearing"); err != nil || overhears > 0 {
				return errors.Join(err, fmt.Errorf("node %d takes the pushes to all users", i))
			}
		}
		if want := float64(three * c.o.Connections); all != want {
			return fmt.Errorf("nodes keep %v of %v sessions for others", all, want)
		}
		return nil
	})
}

// keeps reads what a node keeps for others.
func (c *population) keeps(ctx context.Context, node int) (kept, pending float64, err error) {
	if kept, err = c.Metric(ctx, node, `belfry_cluster_sessions{of="kept"}`); err == nil {
		pending, err = c.Metric(ctx, node, "belfry_cluster_pending")
	}
	return kept, pending, err
}

// parts measures everything that needs the population.
func (c *population) parts(ctx context.Context, one *round) error {
	bytes := 0.0
	for i := range three {
		b, err := c.Metric(ctx, i, clusterBytes)
		if err != nil {
			return err
		}
		bytes += b
	}
	one.PerSession = bytes / float64(2*three*c.o.Connections)
	if c.o.measures("presence") {
		c.p.Step("presence")
		if err := c.presence(ctx, one); err != nil {
			return err
		}
	}
	if c.o.measures("push") {
		c.p.Step("messages between nodes")
		if err := c.messages(ctx, one); err != nil {
			return err
		}
	}
	if c.o.measures("join") {
		c.p.Step("a node joins")
		return c.join(ctx, one)
	}
	return nil
}

// clusterBytes is the memory of what a node knows of sessions for the cluster.
const clusterBytes = `belfry_offheap_bytes{owner="cluster"}`

// single reads the memory of a node to which no other can connect.
func (r *run) single(ctx context.Context) error {
	b, err := r.nodes(r.o.Server, []target.Node{{Connections: r.o.Connections, Ports: 1}})
	if err != nil {
		return err
	}
	defer b.Stop()
	if err := b.Grow(ctx, 1); err != nil {
		return err
	}
	pool, err := bench.StartPool(ctx, bench.PoolOptions{Connections: r.o.Connections, Targets: b.Listen(0), Wire: bench.Wire{Path: bench.DevPath(0)}})
	if err != nil {
		return err
	}
	defer pool.Stop()
	if c, err := pool.Connect(ctx, 0, r.o.Connections); err != nil || c.Failed > 0 {
		return errors.Join(err, c.Err())
	}
	if r.Single, err = b.Metric(ctx, 0, clusterBytes); err != nil && strings.Contains(err.Error(), "no "+clusterBytes) {
		r.Single, err = 0, nil // there is no such owner
	}
	return err
}
