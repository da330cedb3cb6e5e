package broadcast

import (
	"fmt"
	"testing"
	"time"
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

// oneRoute returns a simulation of three nodes in which node 0 pushes to user 0, whose home is
// home, and whom node 2 has.
func oneRoute(t *testing.T, home int) *routeSim {
	s := newRouteSim(t, 1, 3, 3)
	for _, n := range s.nodes {
		clear(n.holds)
	}
	s.nodes[2].holds[s.users[0]] = true
	s.move(0, home)
	s.see(1)
	return s
}

func (s *routeSim) steps(n int) {
	for range n {
		s.step()
	}
}

// A node that does not answer a fence keeps pushes on the direct path: by the home they
// could overtake what is under way to the node.
func TestOverdueFence(t *testing.T) {
	s := oneRoute(t, 0)
	s.nodes[2].stopped = true
	s.nodes[2].holds[s.users[1]] = true
	s.move(1, 0)
	s.see(1)
	s.nodes[0].push(0)
	s.nodes[0].push(1)
	s.steps(5)
	s.move(0, 1)
	s.move(1, 1)
	s.see(1)
	for range 5 {
		s.nodes[0].push(0)
		s.steps(3000) // longer than fenceWait and reopenWait
	}
	s.nodes[0].push(1)
	s.steps(100)
	if st := s.nodes[0].count.stats(); st.Relayed != 0 || st.Overdue == 0 {
		t.Errorf("%+v", st)
	}
	s.nodes[2].stopped = false
	s.steps(3000)
	s.nodes[0].push(0)
	s.steps(2000)
	if st := s.nodes[0].count.stats(); st.Relayed != 2 { // the one that waited, and the last
		t.Errorf("%+v", st)
	}
	s.check()
}

// While a home is given up, pushes of its buckets wait until all copies have arrived.
func TestEndingStreamHoldsPushes(t *testing.T) {
	s := oneRoute(t, 1)
	p := s.nodes[0]
	p.push(0)
	s.steps(100)
	s.nodes[1].full = true
	p.push(0)
	for p.routes.streams[2].state != relaysEnding {
		s.step()
	}
	s.pause = time.Millisecond // what comes now would overtake
	p.push(0)
	p.work()
	if len(p.routes.held) != 1 || p.count.direct.Load() != 0 {
		t.Errorf("%d buckets wait, %d pushes direct", len(p.routes.held), p.count.direct.Load())
	}
	s.steps(3000)
	s.check()
}

// A home that confirms slowly gets no more than a window, and is given up when too much
// waits for it.
func TestRelayWindow(t *testing.T) {
	s := oneRoute(t, 1)
	p := s.nodes[0]
	s.nodes[1].stopped = true
	for range 30 {
		p.push(0)
	}
	p.work()
	if st := p.routes.streams[2]; len(st.kept) != 12 || st.waits != 18 || st.state != relaysOpen {
		t.Errorf("%d relays, %d wait", len(st.kept), st.waits)
	}
	s.nodes[1].stopped = false
	s.steps(500)
	if st := p.count.stats(); st.Relayed != 30 || st.Confirmed != 30 {
		t.Errorf("%+v", st)
	}
	s.nodes[1].stopped = true
	for range 100 {
		p.push(0)
	}
	s.steps(3000)
	if st := p.count.stats(); st.Fallbacks["full"] != 1 {
		t.Errorf("%+v", st)
	}
	s.nodes[1].stopped = false
	s.steps(3000)
	s.check()
}
