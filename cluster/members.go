package cluster

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"go.uber.org/zap"

	"belfry/broadcast"
	"belfry/ticker"
)

// State is what is known of a node.
type State uint8

const (
	Alive     State = iota // its beacons come
	Suspected              // a beacon is overdue; it keeps its homes
	Leaving                // it drains: it has sessions, and is no home any more
	Gone                   // its lease is over, or it has left
)

var stateNames = [...]string{Alive: "alive", Suspected: "suspected", Leaving: "leaving", Gone: "gone"}

func (s State) String() string { return stateNames[s] }

// home reports whether a node in this state can be a home.
func (s State) home() bool { return s == Alive || s == Suspected }

// Member is a node, as this node knows it.
type Member struct {
	broadcast.Peer
	Instance string // different for each process of the node
	Version  string // of its program; "" if unknown
	Load     uint64 // sessions at its last beacon
	State    State
	Self     bool // it is this node
	Routes   bool // it knows relays of pushes to users
	Draining bool // it closes its sessions, and stays

	Heard time.Time // when its last beacon came; zero for this node
	Left  bool      // it is gone because it said so, with its sessions ended

	leaving bool // its last beacon said so
}

// Change says that a member has another state, or was restarted.
type Change struct {
	Member          // as it is now
	Was       State // Gone for a node that was not known
	Restarted bool  // it is another process than before, and what the earlier one had is lost
	Back      bool  // the same process was taken for gone; it may not have noticed
}

// MembersOptions configure Members.
type MembersOptions struct {
	Control *broadcast.Control
	// Beacon is the interval of beacons (nats.beacon); 0: 1 s.
	Beacon time.Duration
	// SuspectAfter is the silence after which a node is suspected; 0: half the
	// lease and an interval, so that one overdue beacon makes a node suspected.
	SuspectAfter time.Duration
	// GoneAfter is the silence after which a node is gone, the lease; 0: that of
	// the bus, which grows with the number of nodes (Control.Lease).
	GoneAfter time.Duration
	Log       *zap.Logger // default: nothing is logged
}

// Members has the nodes of the cluster. NewMembers and Watch are called before
// broadcast.Node.Start, the other methods by any goroutine.
type Members struct {
	opt      MembersOptions
	watchers []func(Change) // not changed after Start

	mu     sync.Mutex // guards this group; held for bounded work
	nodes  map[uint32]*Member
	former map[uint32][]string // by node: instances of earlier processes, the last ones
	swept  time.Time
	queue  []Change // not told yet

	tell sync.Mutex // held while watchers are told, so that each hears the changes in order
}

// forgetAfter is how long a node that is gone stays in the view.
const forgetAfter = time.Hour

// maxFormer is how many earlier processes of a node are remembered.
const maxFormer = 8

// NewMembers returns the members that the beacons of o.Control show.
func NewMembers(o MembersOptions) (*Members, error) {
	if o.Beacon == 0 {
		o.Beacon = time.Second
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Beacon < time.Millisecond || o.SuspectAfter < 0 || o.GoneAfter < 0 {
		return nil, fmt.Errorf("cluster: Beacon %v, SuspectAfter %v, GoneAfter %v: allowed are a Beacon of at least 1ms, and 0 or more", o.Beacon, o.SuspectAfter, o.GoneAfter)
	}
	if o.GoneAfter != 0 && o.SuspectAfter >= o.GoneAfter {
		return nil, fmt.Errorf("cluster: SuspectAfter %v: must be less than GoneAfter (%v)", o.SuspectAfter, o.GoneAfter)
	}
	m := &Members{opt: o, nodes: make(map[uint32]*Member), former: make(map[uint32][]string), swept: time.Now()}
	o.Control.OnBeacon(m.heard)
	return m, nil
}

// Watch has f called with each change, in order, without a lock. Changes are not
// told of this node itself. f must not block: it runs on a goroutine of the bus.
func (m *Members) Watch(f func(Change)) { m.watchers = append(m.watchers, f) }

// View returns the members, this node among them, sorted by name.
func (m *Members) View() []Member {
	self := m.opt.Control.Self()
	view := []Member{{Peer: self.Peer, Instance: self.Instance, Version: self.Version, Load: self.Load, Self: true, Routes: self.Routes, Draining: self.Draining}}
	if self.Presence != broadcast.Staying {
		view[0].State = Leaving
	}
	m.mu.Lock()
	for _, n := range m.nodes {
		view = append(view, *n)
	}
	m.mu.Unlock()
	sort.Slice(view, func(i, j int) bool {
		a, b := &view[i], &view[j]
		return a.Name < b.Name || a.Name == b.Name && a.ID < b.ID
	})
	return view
}

// Run notices nodes that are silent, until ctx is done.
func (m *Members) Run(ctx context.Context) {
	ticks := ticker.New(m.opt.Beacon)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			m.sweep(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

// lease returns the silence after which a node is suspected, and gone.
func (m *Members) lease() (suspect, gone time.Duration) {
	suspect, gone = m.opt.SuspectAfter, m.opt.GoneAfter
	if gone == 0 {
		gone = max(m.opt.Control.Lease(), suspect+m.opt.Beacon)
	}
	if suspect == 0 {
		suspect = min(gone/2+m.opt.Beacon, gone*3/4)
	}
	return suspect, gone
}

// heard takes a beacon.
func (m *Members) heard(s broadcast.Sighting) {
	m.mu.Lock()
	n := m.nodes[s.ID]
	c := Change{Was: Gone}
	switch {
	case n == nil && s.Presence == broadcast.Left, n != nil && s.Presence == broadcast.Left && n.Instance != s.Instance:
		m.mu.Unlock()
		return // the last word of a process that is not known, or not any more
	case n != nil && n.State != Gone && n.Instance != s.Instance && slices.Contains(m.former[s.ID], s.Instance):
		m.mu.Unlock()
		return // late, or two processes have one name: each would end the sessions of the other
	case n == nil:
		n = &Member{State: Gone}
		m.nodes[s.ID] = n
	default:
		c.Was = n.State
		c.Back = n.State == Gone && n.Instance == s.Instance && s.Presence != broadcast.Left
	}
	if c.Restarted = n.Instance != "" && n.Instance != s.Instance; c.Restarted {
		former := append(m.former[s.ID], n.Instance)
		m.former[s.ID] = former[max(len(former)-maxFormer, 0):]
	}
	*n = Member{Peer: s.Peer, Instance: s.Instance, Version: s.Version, Load: s.Load, Routes: s.Routes, Draining: s.Draining, Heard: time.Now(), Left: s.Presence == broadcast.Left, leaving: s.Presence == broadcast.Leaving}
	switch s.Presence {
	case broadcast.Leaving:
		n.State = Leaving
	case broadcast.Left:
		n.State = Gone
	}
	c.Member = *n
	m.changed(c)
	m.mu.Unlock()
	m.tellAll()
}

// changed queues a change, unless nothing has changed. m.mu is held.
func (m *Members) changed(c Change) {
	if c.State == c.Was && !c.Restarted {
		return
	}
	m.queue = append(m.queue, c)
	m.opt.Log.Info("node is "+c.State.String(), zap.String("node", c.Name), zap.String("was", c.Was.String()), zap.Bool("restarted", c.Restarted))
}

// tellAll tells the watchers what is queued.
func (m *Members) tellAll() {
	m.tell.Lock()
	defer m.tell.Unlock()
	m.mu.Lock()
	queue := m.queue
	m.queue = nil
	m.mu.Unlock()
	for _, c := range queue {
		for _, f := range m.watchers {
			f(c)
		}
	}
}

// sweep looks which nodes are silent. A process that did not run (SIGSTOP, a virtual
// machine that was moved) could not hear beacons: that time counts for nobody.
func (m *Members) sweep(now time.Time) {
	suspect, gone := m.lease()
	m.mu.Lock()
	stopped := now.Sub(m.swept) - 3*m.opt.Beacon // the first tick comes after up to three intervals
	m.swept = now
	for id, n := range m.nodes {
		if stopped > 0 && n.State != Gone {
			if n.Heard = n.Heard.Add(stopped); n.Heard.After(now) {
				n.Heard = now
			}
		}
		silent := now.Sub(n.Heard)
		state := n.State
		switch {
		case state == Gone && silent > forgetAfter:
			delete(m.nodes, id)
			delete(m.former, id)
		case state == Gone:
		case silent >= gone:
			n.State = Gone
		case silent >= suspect && state == Alive:
			n.State = Suspected
		}
		m.changed(Change{Member: *n, Was: state})
	}
	m.mu.Unlock()
	m.tellAll()
}
