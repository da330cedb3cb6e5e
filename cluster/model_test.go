package cluster

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"belfry/broadcast/fakebus"
)

// settle is the time after which every home knows the truth again. Members of the rig
// are gone after 500 ms.
const settle = 2 * time.Second

// Whatever nodes and networks do, two seconds after it every home knows every session
// of its side and no other, and each session has one keeper besides its holder.
func TestModel(t *testing.T) {
	for _, tc := range []struct{ nodes, sessions, steps, runs int }{
		{3, 30, 25, 6}, {10, 20, 12, 3}, {100, 4, 3, 1},
	} {
		for run := range tc.runs {
			t.Run(fmt.Sprint(tc.nodes, " nodes ", run), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { walk(t, uint64(run), tc.nodes, tc.sessions, tc.steps, false) })
			})
		}
	}
}

// Somebody who only listens has the right table of who is online, two seconds and the
// time of Options.List after whatever nodes and networks did.
func TestUsersModel(t *testing.T) {
	for _, tc := range []struct{ nodes, sessions, steps, runs int }{{3, 30, 25, 4}, {10, 20, 8, 2}} {
		for run := range tc.runs {
			t.Run(fmt.Sprint(tc.nodes, " nodes ", run), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { walk(t, uint64(run), tc.nodes, tc.sessions, tc.steps, true) })
			})
		}
	}
}

// walk takes random steps.
func walk(t *testing.T, seed uint64, nodes, sessions, steps int, tell bool) {
	r := newRig(t, seed, nodes*sessions/2)
	if tell {
		r.tables = &tables{sides: make(map[int]map[uint16]map[string]bool)}
	}
	r.net.Drop = func(_, _ string, p []byte) bool { return r.lossy() && len(p)%7 == 0 }
	for i := range nodes {
		r.open(r.start(fmt.Sprintf("n%03d", i)), sessions)
	}
	time.Sleep(settle)
	r.check("started", 30)
	for step := range steps {
		name := r.step(nodes, sessions)
		time.Sleep(settle)
		if tell {
			time.Sleep(1500 * time.Millisecond)
			r.checkTables(fmt.Sprintf("step %d, %s", step, name))
		}
		if r.check(fmt.Sprintf("step %d, %s", step, name), 30); t.Failed() {
			return
		}
	}
}

// lossy is set by a step that loses messages.
func (r *rig) lossy() bool { return r.losing.Load() }

// step does one thing to the cluster, while sessions open and close.
func (r *rig) step(nodes, sessions int) (name string) {
	any := func() *node { return r.nodes[r.names()[r.rand.IntN(len(r.nodes))]] }
	churn := func() {
		for _, name := range r.names() {
			if n := r.nodes[name]; r.rand.IntN(2) == 0 {
				r.shut(n, r.rand.IntN(sessions))
				r.open(n, r.rand.IntN(sessions))
			}
		}
	}
	for {
		switch r.rand.IntN(7) {
		case 0: // a node joins, or one that was there comes back
			r.joins++
			n := r.start(fmt.Sprintf("x%03d", r.joins%5+nodes*1000))
			if n == nil {
				continue
			}
			r.open(n, sessions)
			return "join"
		case 1:
			if len(r.nodes) < 3 {
				continue
			}
			n := any()
			r.stop(n.Name(), false)
			churn()
			return "leave " + n.Name()
		case 2:
			if len(r.nodes) < 3 {
				continue
			}
			n := any()
			r.stop(n.Name(), true)
			churn()
			return "kill " + n.Name()
		case 3, 4, 5:
			return r.disturb(churn)
		case 6:
			r.losing.Store(true)
			for range 5 {
				churn()
				time.Sleep(100 * time.Millisecond)
			}
			r.losing.Store(false)
			return "loss"
		}
	}
}

// disturb takes nodes from each other for a while.
func (r *rig) disturb(churn func()) (name string) {
	short := time.Duration(r.rand.IntN(400)) * time.Millisecond // of a lease of 500 ms
	part := r.rand.IntN(len(r.nodes)-1) + 1
	switch r.rand.IntN(3) {
	case 0: // a split that is noticed
		nodes := r.split(part)
		churn()
		time.Sleep(settle)
		r.check("split", 20)
		churn()
		r.heal(nodes)
		return "split"
	case 1:
		nodes := r.split(part)
		churn()
		time.Sleep(short)
		r.heal(nodes)
		return "short split"
	default: // the connection of a node breaks
		n := r.nodes[r.names()[part]]
		n.bus.Cut()
		churn()
		time.Sleep(2 * short)
		n.bus.Heal()
		return "cut " + n.Name()
	}
}

// split takes nodes to the other side of the network.
func (r *rig) split(nodes int) (part []*node) {
	names := r.names()
	r.rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names[:nodes] {
		r.nodes[name].side = 1
		r.nodes[name].listens.Store(1)
		part = append(part, r.nodes[name])
	}
	r.net.Split(1, busesOf(part)...)
	return part
}

func (r *rig) heal(part []*node) {
	for _, n := range part {
		n.side = 0
		n.listens.Store(0)
	}
	r.net.Split(0, busesOf(part)...)
}

func busesOf(nodes []*node) (buses []*fakebus.Bus) {
	for _, n := range nodes {
		buses = append(buses, n.bus)
	}
	return buses
}
