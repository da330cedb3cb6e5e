package cluster

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/publish"
	"belfry/bench/target"
)

// pushed is pushes to users of the nodes 1 and 2, published at node 0: from the request
// to the receipt by a client that shares the processors.
type pushed struct {
	Receipt bench.Quantiles `json:"receipt"`
	Pushes  int             `json:"pushes"`
}

// join pushes to users while nothing else happens, while a node starts that does not
// belong to the cluster, and while one joins.
func (c *population) join(ctx context.Context, one *round) error {
	if err := c.during(ctx, &one.Quiet, func(context.Context) error { return nil }); err != nil {
		return err
	}
	single, err := c.nodes(c.o.Server, []target.Node{{Connections: c.o.Connections, Ports: 1}})
	if err != nil {
		return err
	}
	err = c.during(ctx, &one.Beside, func(ctx context.Context) error { return single.Grow(ctx, 1) })
	single.Stop()
	if err != nil {
		return err
	}
	one.MovedSessions = c.o.kept(three + 1)
	return c.during(ctx, &one.Joins, func(ctx context.Context) error {
		known := make(chan error, 1)
		go func() { known <- c.moves(ctx, one) }()
		if err := c.Grow(ctx, three+1); err != nil {
			return err
		}
		return <-known
	})
}

// moves waits until the fourth node knows the others, and measures how long it takes from
// the last moment when it did not, until it has what it keeps for them. Only the fourth
// node is asked: to answer takes milliseconds, for which pushes at the others would wait.
func (c *population) moves(ctx context.Context, one *round) error {
	processes := c.Processes()[:three]
	begun := time.Now()
	err := target.Until(ctx, patience, processes, func() error {
		asked := time.Now()
		peers, err := c.Metric(ctx, three, "belfry_bus_peers")
		if err == nil && peers != three {
			err = fmt.Errorf("the fourth node sees %v others", peers)
		}
		if err != nil {
			begun = asked
		}
		return err
	})
	if err != nil {
		return err
	}
	err = target.Until(ctx, patience, processes, func() error {
		kept, pending, err := c.keeps(ctx, three)
		if err == nil && (kept != float64(one.MovedSessions) || pending > 0) {
			err = fmt.Errorf("the fourth node keeps %v of %d sessions, and does not know %v buckets completely", kept, one.MovedSessions, pending)
		}
		return err
	})
	one.Moved = time.Since(begun).Seconds()
	return err
}

// during pushes for a time, at the beginning of which something happens.
func (c *population) during(ctx context.Context, to *pushed, happens func(context.Context) error) error {
	for _, pool := range c.pools {
		if err := pool.Mark(ctx); err != nil {
			return err
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- happens(ctx) }()
	conns := []*publish.Conn{nil, c.conn(publisher, 1), c.conn(publisher, 2)}
	err := c.pace(ctx, conns, to)
	conns[1].Close()
	conns[2].Close()
	if happened := <-ended; happened != nil {
		return happened
	}
	if err != nil {
		return err
	}
	if err := c.arrived(ctx); err != nil {
		return err
	}
	all := bench.NewHistogram()
	for _, pool := range c.pools {
		s, err := pool.Stats(ctx)
		if err != nil {
			return err
		}
		all.Merge(s.Directs)
	}
	to.Receipt = all.Quantiles()
	return nil
}

// pace pushes to users in turn, every o.PushEvery. A late push does not delay the later
// ones.
func (c *population) pace(ctx context.Context, conns []*publish.Conn, to *pushed) error {
	begun := time.Now()
	for at := time.Duration(0); at < c.o.Join && time.Since(begun) < 2*c.o.Join; at += c.o.PushEvery {
		if err := bench.Sleep(ctx, time.Until(begun.Add(at))); err != nil {
			return err
		}
		node := 1 + to.Pushes%2
		if err := c.push(ctx, conns[node], node, to.Pushes/2*7919%c.o.users()); err != nil {
			return err
		}
		to.Pushes++
	}
	return nil
}
