package broadcast

import (
	"fmt"
	"testing"
)

// Whatever homes do, each push reaches each node that has the user once and in order
// per publishing node. Only the pushes of a node that died may be missing.
func TestRoutesModel(t *testing.T) {
	var total routeCounters
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newRouteSim(t, seed, 3+int(seed%4), 6)
			s.run(int(seed))
			s.check()
			for _, n := range s.nodes {
				total.add(&n.count)
			}
		})
	}
	st := total.stats()
	t.Logf("%+v", st)
	for name, n := range map[string]uint64{"relayed": st.Relayed, "copies": st.Copies, "to all": st.ToAll, "republished": st.Republished,
		"timeout": st.Fallbacks["timeout"], "refused": st.Fallbacks["refused"], "full": st.Fallbacks["full"], "held": st.Held} {
		if n == 0 && !t.Failed() {
			t.Errorf("the model never had: %s", name)
		}
	}
}

func (c *routeCounters) add(o *routeCounters) {
	c.relayed.Add(o.relayed.Load())
	c.copies.Add(o.copies.Load())
	c.toAll.Add(o.toAll.Load())
	c.again.Add(o.again.Load())
	c.timeout.Add(o.timeout.Load())
	c.refusals.Add(o.refusals.Load())
	c.full.Add(o.full.Load())
	c.held.Add(o.held.Load())
	c.overdue.Add(o.overdue.Load())
	c.direct.Add(o.direct.Load())
	c.confirmed.Add(o.confirmed.Load())
}

// run lets things happen at random for ten seconds, and then lets them settle.
func (s *routeSim) run(seed int) {
	kills := seed % 3 // the others live
	for range 10_000 {
		for _, n := range s.nodes {
			if !n.dead && !n.stopped && s.rand.IntN(4) == 0 {
				n.push(s.rand.IntN(len(s.users)))
			}
		}
		switch s.rand.IntN(700) {
		case 0, 1, 2:
			s.move(s.rand.IntN(3), s.living())
		case 3:
			n := s.nodes[s.rand.IntN(len(s.nodes))]
			n.full = !n.full
		case 4:
			n := s.nodes[s.rand.IntN(len(s.nodes))]
			n.unsure = !n.unsure
		case 5:
			n := s.nodes[s.rand.IntN(len(s.nodes))]
			n.stopped = !n.stopped && seed%2 == 0
			s.stops = s.stops || n.stopped
		case 6:
			if kills > 0 {
				kills--
				s.kill(s.living())
			}
		}
		s.see(50)
		s.step()
	}
	for _, n := range s.nodes {
		n.full, n.stopped = false, false
	}
	s.see(1)
	for range 6000 {
		s.step()
	}
}

// living returns a node that is not dead.
func (s *routeSim) living() int {
	for {
		if i := s.rand.IntN(len(s.nodes)); !s.nodes[i].dead {
			return i
		}
	}
}

// kill ends a node. What it had sent arrives. Its buckets get other homes.
func (s *routeSim) kill(i int) {
	alive := 0
	for _, n := range s.nodes {
		if !n.dead {
			alive++
		}
	}
	if alive < 3 {
		return
	}
	s.nodes[i].dead = true
	for b := range 3 {
		if s.homes[b] == i {
			s.move(b, s.living())
		}
	}
}
