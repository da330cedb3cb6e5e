package cluster

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/publish"
	"belfry/bench/target"
)

// received is what each node got from the bus for pushes to users of node 1 that were
// published at node 0, divided by their number.
type received struct {
	Home  int            `json:"home"` // of the users
	Nodes [three]float64 `json:"received"`
}

const (
	publisher = 0
	holder    = 1
	other     = 2 // neither of both
)

// messages counts the messages that nodes get for pushes to users, by the users' home.
func (c *population) messages(ctx context.Context, one *round) error {
	for at := range three {
		var users []int
		for user := range c.o.users() {
			if h, _ := home(uid(holder, user), three); h == at {
				users = append(users, user)
			}
		}
		if len(users) == 0 {
			return fmt.Errorf("none of %d users has node %d as home", c.o.users(), at)
		}
		before, err := c.counts(ctx)
		if err != nil {
			return err
		}
		conn := c.conn(publisher, holder)
		for i := range c.o.Pushes {
			if err := c.push(ctx, conn, holder, users[i%len(users)]); err != nil {
				conn.Close()
				return err
			}
		}
		conn.Close()
		if err := c.arrived(ctx); err != nil {
			return err
		}
		after, err := c.counts(ctx)
		if err != nil {
			return err
		}
		got := received{Home: at}
		for i := range got.Nodes {
			got.Nodes[i] = (after[i] - before[i]) / float64(c.o.Pushes)
		}
		one.Counts = append(one.Counts, got)
	}
	return nil
}

// conn returns a connection for pushes at a node to users of another one.
func (c *population) conn(at, of int) *publish.Conn {
	r, err := publish.NewRequest("POST", "http://"+c.API(at)+"/v1/users/"+string(prefix(of))+"{uid}", "", "Content-Type: text/plain")
	if err != nil {
		panic(err) // the address is one of ours
	}
	return target.Conn(r)
}

// push pushes the next message to a user of a node.
func (c *population) push(ctx context.Context, conn *publish.Conn, of, user int) error {
	c.seqs[of][user]++
	_, err := conn.Push(ctx, bench.Message{Stream: bench.Direct, User: uint32(user), Seq: c.seqs[of][user]}, c.o.Size)
	return err
}

// arrived waits until all clients have got what was pushed, once, in order and
// unchanged, and nodes have counted messages that nobody wanted.
func (c *population) arrived(ctx context.Context) error {
	for node, pool := range c.pools {
		want := uint64(0)
		for _, seq := range c.seqs[node] {
			want += uint64(seq) * uint64(c.o.PerUser)
		}
		err := target.Until(ctx, patience, c.Processes(), func() error {
			s, err := pool.Counters(ctx)
			if err == nil && s.Direct.Received != want {
				err = fmt.Errorf("%d of %d messages arrived at clients of node %d", s.Direct.Received, want, node)
			}
			return err
		})
		if err != nil {
			return err
		}
		if err := pool.Verify(ctx); err != nil {
			return err
		}
	}
	return bench.Sleep(ctx, time.Second)
}

// counts returns the messages that each node has received from the bus.
func (c *population) counts(ctx context.Context) (all [three]float64, err error) {
	for i := range all {
		if all[i], err = c.Metric(ctx, i, "belfry_bus_received_total"); err != nil {
			return all, err
		}
	}
	return all, nil
}
