package cluster

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"belfry/broadcast"
	"belfry/message"
)

// evicted is a session that a node was told to close.
type evicted struct {
	node    *node
	key     message.SessionKey
	byClass bool
}

// evict is Options.Evict. The test closes the session, in capRig.pass.
func (n *node) evict(key message.SessionKey, byClass bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.evictions = append(n.evictions, evicted{n, key, byClass})
}

// capSession is a session of a capRig.
type capSession struct {
	node       *node
	uid, class string
	key        message.SessionKey
	since      int64 // Unix milliseconds, as the directory has it
}

// capRig is a rig whose sessions end when a home has them closed.
type capRig struct {
	*rig
	open  map[message.SessionKey]*capSession
	alive []*capSession // sessions that were open at some time in the round
	ended []*capSession // of them, those that a home has had closed
}

func newCapRig(t *testing.T, seed uint64, caps Caps, nodes ...string) *capRig {
	r := &capRig{rig: newRig(t, seed, 0), open: make(map[message.SessionKey]*capSession)}
	r.caps = caps
	r.net.Drop = func(_, _ string, p []byte) bool { return r.lossy() && bytes.Contains(p, []byte(kindPlace)) }
	for _, name := range nodes {
		r.start(name)
	}
	time.Sleep(2 * time.Second)
	return r
}

// opens opens a session.
func (r *capRig) opens(n *node, uid, class string) *capSession {
	key := testKey(r.keys)
	r.keys++
	s := &capSession{n, uid, class, key, time.Now().UnixMilli()}
	for _, other := range r.open {
		if other.node == n && other.uid == uid {
			s.since = max(s.since, other.since+1)
		}
	}
	n.truth[key] = uid
	r.open[key] = s
	r.alive = append(r.alive, s)
	n.dir.Opened([]byte(uid), Session{Key: key, Since: time.Now(), Class: class})
	return s
}

func (r *capRig) close(s *capSession) {
	delete(r.open, s.key)
	delete(s.node.truth, s.key)
	s.node.dir.Closed([]byte(s.uid), s.key)
}

// pass lets time pass, and closes the sessions that homes have closed.
func (r *capRig) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, n := range r.nodes {
			n.mu.Lock()
			all := n.evictions
			n.evictions = nil
			n.mu.Unlock()
			for _, e := range all {
				if s := r.open[e.key]; s != nil {
					r.close(s)
					r.ended = append(r.ended, s)
				}
			}
		}
	}
}

// forget drops the sessions of a node that has ended.
func (r *capRig) forget(n *node) {
	for key, s := range r.open {
		if s.node == n {
			delete(r.open, key)
		}
	}
}

// lasting returns those of sessions that caps let be, by user.
func (c Caps) lasting(sessions []*capSession) map[message.SessionKey]bool {
	all := slices.Clone(sessions)
	slices.SortFunc(all, func(a, b *capSession) int {
		order := cmp.Or(cmp.Compare(b.since, a.since), bytes.Compare(b.key[:], a.key[:]))
		if c.RefuseNewest {
			return -order
		}
		return order
	})
	lasting, users, classes := make(map[message.SessionKey]bool), make(map[string]int), make(map[string]int)
	for _, s := range all {
		class := s.uid + " " + s.class
		if most := c.PerClass[s.class]; most > 0 && classes[class] >= most || c.PerUser > 0 && users[s.uid] >= c.PerUser {
			continue
		}
		lasting[s.key] = true
		users[s.uid]++
		classes[class]++
	}
	return lasting
}

// check looks whether the right sessions are open. exact says that no session was closed
// by its client meanwhile: then all that may last have lasted.
func (r *capRig) check(when string, exact bool) {
	r.t.Helper()
	var open []*capSession
	for _, s := range r.open {
		open = append(open, s)
	}
	if may := r.caps.lasting(open); len(may) != len(open) {
		r.t.Errorf("%s: %d sessions are open, of which caps permit %d", when, len(open), len(may))
	}
	may := r.caps.lasting(r.alive)
	for _, s := range r.ended {
		if may[s.key] {
			r.t.Errorf("%s: a session of %s (%s) was closed although no cap was exceeded", when, s.uid, s.class)
		}
	}
	if exact && len(open) != len(may) {
		r.t.Errorf("%s: %d sessions are open; want %d", when, len(open), len(may))
	}
	r.pass(retellAfter + capTick)
	for name, n := range r.nodes {
		if st := n.dir.Stats(); st.Over != 0 {
			r.t.Errorf("%s: %s still looks at %d users", when, name, st.Over)
		}
	}
	r.alive, r.ended = open, nil
}

// any returns one of the nodes.
func (r *capRig) any() *node { return r.nodes[r.names()[r.rand.IntN(len(r.nodes))]] }

// storm opens sessions at random over a few hundred milliseconds, and closes some.
func (r *capRig) storm(opens, closes int) {
	for range opens + closes {
		if r.rand.IntN(opens+closes) < closes {
			for _, s := range r.alive[r.rand.IntN(len(r.alive)+1):] {
				if r.open[s.key] != nil {
					r.close(s)
					break
				}
			}
		} else {
			r.opens(r.any(), fmt.Sprint("u", r.rand.IntN(4)), []string{"", "phone", "web"}[r.rand.IntN(3)])
		}
		if r.rand.IntN(2) == 0 {
			r.pass(time.Duration(r.rand.IntN(20)) * time.Millisecond)
		}
	}
}

// One second after the last session has opened each user has as many sessions as caps
// permit, and they are the newest, whatever opens and closes where; no session is closed
// for another that has been closed before.
func TestCapsModel(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprint(refuse, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					caps := Caps{PerUser: 4, PerClass: map[string]int{"phone": 1, "web": 2}, RefuseNewest: refuse}
					r := newCapRig(t, seed, caps, "a", "b", "c", "d")
					for round := range 12 {
						exact := r.rand.IntN(2) == 0
						closes := 0
						if !exact {
							closes = 15
						}
						r.storm(40, closes)
						r.pass(time.Second)
						if r.check(fmt.Sprint("round ", round), exact); t.Failed() {
							return
						}
					}
				})
			})
		}
	}
}

// Two seconds after nodes join, leave, die, split or are back the caps hold again.
func TestCapsWhileHomesMove(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newCapRig(t, seed, Caps{PerUser: 4, PerClass: map[string]int{"phone": 1}, RefuseNewest: seed%2 == 1}, "a", "b", "c", "d")
				for round := range 10 {
					what := r.disturb(round)
					r.storm(20, 0)
					r.pass(settle)
					if r.check(fmt.Sprint("round ", round, " ", what), true); t.Failed() {
						return
					}
				}
			})
		})
	}
}

// disturb changes the nodes while sessions open.
func (r *capRig) disturb(round int) string {
	end := func(kill bool) {
		n := r.any()
		r.stop(n.Name(), kill)
		r.forget(n)
		r.pass(time.Second) // the sessions of a node that died count until its lease of 500 ms is over
		r.alive, r.ended = slices.DeleteFunc(r.alive, func(s *capSession) bool { return s.node == n }), nil
	}
	switch r.rand.IntN(4) {
	case 0:
		r.start(fmt.Sprint("x", round))
		return "join"
	case 1:
		if len(r.nodes) > 2 {
			r.storm(10, 0)
			r.pass(time.Second)
			r.check("before a node leaves", true)
			end(false)
			return "leave"
		}
	case 2:
		if len(r.nodes) > 2 {
			r.pass(time.Second)
			r.check("before a node dies", true)
			end(true)
			return "kill"
		}
	}
	part := r.split(r.rand.IntN(len(r.nodes)-1) + 1)
	r.storm(30, 0)
	r.pass(time.Duration(r.rand.IntN(3000)) * time.Millisecond)
	r.heal(part)
	return "split"
}

// A client that comes back on another node does not cost another session of its user its
// place: the session that it had is withdrawn before the home decides.
func TestComeBackElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCapRig(t, 1, Caps{PerUser: 2}, "a", "b", "c")
		for i := range 30 {
			uid := fmt.Sprint("u", i)
			r.opens(r.nodes["a"], uid, "")
			had := r.opens(r.nodes["b"], uid, "")
			r.pass(500 * time.Millisecond)
			r.opens(r.nodes["b"], r.neighbour(r.nodes["b"], uid), "") // what follows waits for a batch
			r.pass(5 * time.Millisecond)
			r.close(had)
			r.pass(5 * time.Millisecond)
			r.opens(r.nodes["c"], uid, "")
			r.pass(time.Second)
		}
		if len(r.ended) != 0 || len(r.open) != 90 {
			t.Errorf("%d sessions were closed, %d are open", len(r.ended), len(r.open))
		}
	})
}

// neighbour returns a new user whom a node announces to the same keeper as another one.
func (r *capRig) neighbour(n *node, uid string) string {
	homes := n.dir.Homes()
	keeper, _ := homes.Keeper(broadcast.UserBucket(uid), n.NodeID())
	for i := 0; ; i++ {
		other := fmt.Sprint("beside ", uid, " ", i)
		if k, _ := homes.Keeper(broadcast.UserBucket(other), n.NodeID()); k == keeper {
			return other
		}
	}
}

// A holder that does not hear its home is told again.
func TestEvictedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCapRig(t, 1, Caps{PerUser: 2}, "a", "b", "c")
		r.losing.Store(true)
		for _, n := range r.nodes {
			n.dir.opt.Evict = func(key message.SessionKey, byClass bool) {
				if n.evict(key, byClass); r.losing.Load() {
					n.mu.Lock()
					n.evictions = nil
					n.mu.Unlock()
				}
			}
		}
		for range 6 {
			r.opens(r.any(), "ann", "")
		}
		r.pass(1200 * time.Millisecond)
		if len(r.open) != 6 {
			t.Fatalf("%d sessions are open", len(r.open))
		}
		r.losing.Store(false)
		r.pass(time.Second)
		r.check("heard", true)
		evictions := uint64(0)
		for _, n := range r.nodes {
			evictions += n.dir.Stats().Evicted
		}
		if evictions != 4 {
			t.Errorf("%d sessions counted", evictions)
		}
	})
}

// More users than caps.over has room for are looked at all the same.
func TestManyUsersOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCapRig(t, 1, Caps{PerUser: 1}, "a", "b")
		for _, n := range r.nodes {
			n.dir.mu.Lock()
			for i := range maxOver {
				n.dir.caps.over[fmt.Sprint("nobody ", i)] = time.Now().Add(300 * time.Millisecond)
			}
			n.dir.mu.Unlock()
		}
		for i := range 200 {
			for _, n := range r.nodes {
				r.opens(n, fmt.Sprint("u", i), "")
			}
		}
		r.pass(2 * time.Second)
		r.check("after", true)
	})
}
