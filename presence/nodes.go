package presence

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"sync"
	"time"
)

// Nodes returns every node that is known. Those that are not gone are asked.
func (r *Reader) Nodes(ctx context.Context) (*Nodes, error) {
	members := r.members()
	n := &Nodes{Nodes: make([]Node, len(members)), Lease: r.opt.Control.Lease().Seconds()}
	var wg sync.WaitGroup
	for i := range members {
		m := &members[i]
		if !m.Self && m.State != StateGone {
			wg.Go(func() { n.Nodes[i] = r.askNode(ctx, m) })
			continue
		}
		n.Nodes[i] = m.node()
		if m.Self {
			own := r.opt.Local.State(ctx)
			n.Nodes[i].NodeState = &own
		}
	}
	wg.Wait()
	sort.Slice(n.Nodes, func(i, j int) bool { return n.Nodes[i].Name < n.Nodes[j].Name })
	if r.opt.Degraded != nil {
		n.Degraded = r.opt.Degraded()
	}
	return n, nil
}

// members returns the nodes that are known, this one among them.
func (r *Reader) members() []Sighting {
	if r.opt.Members != nil {
		return r.opt.Members()
	}
	all := []Sighting{{Peer: r.opt.Self, State: StateAlive, Self: true}}
	for _, p := range r.opt.Control.Peers() {
		all = append(all, Sighting{Peer: p, State: StateAlive})
	}
	return all
}

// node returns what is known of a member without asking it.
func (m *Sighting) node() Node {
	n := Node{Name: m.Name, ID: fmt.Sprintf("%08x", m.ID), State: m.State, Self: m.Self, Detail: m.Detail}
	if !m.Self && !m.Heard.IsZero() {
		n.LastBeacon = &Beacon{Age: time.Since(m.Heard).Round(time.Millisecond).Seconds(), Sessions: m.Sessions, Version: m.Version}
	}
	return n
}

// askNode asks one node about itself, and compares its clock with this node's.
func (r *Reader) askNode(ctx context.Context, m *Sighting) Node {
	n := m.node()
	begun := time.Now()
	body, err := r.opt.Control.Ask(ctx, m.ID, kindNode, []byte("{}"))
	took := time.Since(begun)
	var a nodeAnswer
	if err == nil {
		err = json.Unmarshal(body, &a)
	}
	if err != nil {
		n.Detail = detail(err)
		return n
	}
	way := max(took-a.Took, 0)
	skew := (time.Unix(0, a.At).Sub(begun) - way/2).Seconds()
	wrong := (way / 2).Seconds()
	n.NodeState, n.Skew, n.SkewError = &a.State, &skew, &wrong
	return n
}
