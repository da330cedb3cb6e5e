package idempotency

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var one, two = Print{1}, Print{2}

func unavailableError(err error) bool {
	_, ok := errors.AsType[*UnavailableError](err)
	return ok
}

// From claim to answer, seen from every node, whoever the home is, before and after the
// window in which all nodes are asked.
func TestLifeOfAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "a", "b", "c")
		for round := range byte(2) {
			for home := range r.nodes {
				for owner := range r.nodes {
					id := r.homed(r.nodes[home], round<<4|home[0]&3<<2|owner[0]&3)
					when := fmt.Sprint("round ", round, " home ", home, " owner ", owner)
					c, first, err := r.nodes[owner].try(id, one)
					if c == nil || first != nil || err != nil {
						t.Fatal(when, first, err)
					}
					for other := range r.nodes {
						if _, _, err := r.nodes[other].try(id, one); err != ErrProgress {
							t.Error(when, other, err)
						}
						if _, _, err := r.nodes[other].try(id, two); err != ErrOther {
							t.Error(when, other, err)
						}
					}
					c.Release()
					time.Sleep(10 * time.Millisecond)
					if c, _, err = r.nodes[owner].try(id, two); err != nil {
						t.Fatal(when, "not released", err)
					}
					c.Finish(Answer{202, []byte("x")})
					time.Sleep(10 * time.Millisecond)
					for other := range r.nodes {
						if _, first, err := r.nodes[other].try(id, two); err != nil || first == nil || first.Status != 202 || string(first.Body) != "x" {
							t.Error(when, other, first, err)
						}
					}
				}
			}
			if round == 0 {
				time.Sleep(11 * time.Minute)
			}
		}
		for name, n := range r.nodes {
			if st := n.Stats(); st.Asked != 6 || st.Unavailable != 0 || st.New != 12 { // 3 keys in round 0, claimed twice
				t.Errorf("%s: %+v", name, st)
			}
			if st := n.Stats(); st.Known == 0 || st.Known > 9 {
				t.Errorf("%s: %+v: keys of the first round should be forgotten, and no key be known to more nodes than its own and its home", name, st)
			}
		}
	})
}

// Many retries at once, on three nodes, again and again: one is delivered.
func TestOneOfManyIsDelivered(t *testing.T) {
	for _, settled := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, "a", "b", "c")
			if settled {
				time.Sleep(11 * time.Minute)
			}
			for key := range byte(20) {
				var delivered, replayed atomic.Int32
				var wg sync.WaitGroup
				for i := range 50 {
					n := r.nodes[string(rune('a'+i%3))]
					wg.Go(func() {
						for {
							c, first, err := n.try(ID{key, key, key}, one)
							switch {
							case c != nil:
								delivered.Add(1)
								time.Sleep(5 * time.Millisecond)
								c.Finish(Answer{202, []byte{key}})
								return
							case first != nil:
								replayed.Add(1)
								return
							case err != ErrProgress:
								t.Error(err)
								return
							}
							time.Sleep(time.Duration(i+1) * 3 * time.Millisecond)
						}
					})
				}
				wg.Wait()
				if delivered.Load() != 1 || replayed.Load() != 49 {
					t.Errorf("settled %v, key %d: delivered %d times, replayed %d", settled, key, delivered.Load(), replayed.Load())
				}
			}
		})
	}
}

// Whichever node dies, the others know the key: its home, the node of the request, or the
// node that was both.
func TestOneNodeMayDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, roles := range [][3]string{{"a", "b", "a"}, {"a", "b", "b"}, {"a", "a", "a"}} { // home, owner, victim
			for _, settled := range []bool{false, true} {
				r := newRig(t, "a", "b", "c")
				if settled {
					time.Sleep(11 * time.Minute)
				}
				id := r.homed(r.nodes[roles[0]], 1)
				c, _, err := r.nodes[roles[1]].try(id, one)
				if err != nil {
					t.Fatal(err)
				}
				c.Finish(Answer{202, []byte("x")})
				time.Sleep(10 * time.Millisecond)
				r.kill(r.nodes[roles[2]])
				for name, n := range r.nodes {
					if c, first, err := n.try(id, one); c != nil || first == nil && !unavailableError(err) {
						t.Errorf("%v: %s at once: %v %v", roles, name, first, err)
					}
				}
				time.Sleep(time.Second) // the lease is over
				for name, n := range r.nodes {
					if _, first, err := n.try(id, one); first == nil || err != nil || string(first.Body) != "x" {
						t.Errorf("%v: %s: %v %v", roles, name, first, err)
					}
				}
				for _, n := range r.nodes {
					n.stop()
				}
			}
		}
	})
}

// A node that joins becomes the home of keys that it does not know.
func TestNewHomeAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "a", "b", "c")
		time.Sleep(11 * time.Minute)
		var ids []ID
		for i := range byte(100) {
			id := ID{i, i, i}
			c, _, err := r.nodes[string('a'+rune(i%3))].try(id, one)
			if err != nil {
				t.Fatal(err)
			}
			c.Finish(Answer{202, nil})
			ids = append(ids, id)
		}
		d := r.start("d")
		if _, _, err := d.try(ids[0], one); !unavailableError(err) {
			t.Errorf("a node that has just started: %v", err)
		}
		time.Sleep(4 * time.Second)
		moved := 0
		for i, id := range ids {
			if home, _ := d.opt.Homes().Home(bucketOf(id)); home == d.self {
				moved++
			}
			n := r.nodes[string('a'+rune(i%4))]
			if _, first, err := n.try(id, one); first == nil {
				t.Errorf("key %d at %s: %v", i, n.name, err)
			}
		}
		if moved == 0 {
			t.Error("no home moved")
		}
	})
}

// A home that does not answer, and a bus that is away: nothing is claimed, nothing stays.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "a", "b", "c")
		time.Sleep(11 * time.Minute)
		a, b := r.nodes["a"], r.nodes["b"]
		id := r.homed(b, 1)
		b.bus.Cut()
		begun := time.Now()
		if _, _, err := a.try(id, one); !unavailableError(err) || time.Since(begun) != 2*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		b.bus.Heal()
		time.Sleep(time.Second)
		if c, _, err := a.try(id, one); err != nil {
			t.Error(err)
		} else {
			c.Release()
		}
		a.bus.Lose()
		if _, _, err := a.try(r.homed(a, 2), one); !unavailableError(err) {
			t.Error(err)
		}
	})
}

// A node that dies during a request: after a minute the key is free. While it lives, the
// key is not.
func TestOwnerDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "a", "b", "c")
		time.Sleep(11 * time.Minute)
		a, b, c := r.nodes["a"], r.nodes["b"], r.nodes["c"]
		ids := []ID{r.homed(a, 1), r.homed(b, 1), r.homed(c, 1)}
		for _, id := range ids {
			if _, _, err := b.try(id, one); err != nil {
				t.Fatal(err)
			}
		}
		for range 5 {
			time.Sleep(30 * time.Second)
			for i, id := range ids {
				for _, n := range []*node{a, c} {
					if _, _, err := n.try(id, one); err != ErrProgress {
						t.Error(i, n.name, err)
					}
				}
			}
		}
		other := r.homed(a, 2)
		if _, _, err := b.try(other, one); err != nil {
			t.Fatal(err)
		}
		r.kill(b)
		time.Sleep(5 * time.Second)
		for i, id := range ids {
			claim, first, err := c.try(id, one)
			if claim == nil {
				t.Fatal(i, first, err)
			}
			claim.Finish(Answer{202, nil})
			time.Sleep(10 * time.Millisecond)
			if _, first, err = a.try(id, one); first == nil {
				t.Error(i, err)
			}
		}
		if _, _, err := c.try(other, one); err != ErrProgress {
			t.Error(err)
		}
		time.Sleep(ProgressTime)
		if claim, first, err := c.try(other, one); claim == nil {
			t.Error(first, err)
		}
	})
}

// Beyond a bound the oldest keys are forgotten, those in progress never.
func TestBounds(t *testing.T) {
	k, err := New(Options{MaxKeys: 3, MaxBytes: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	claim := func(i byte) *Claim {
		c, first, err := k.Claim(t.Context(), ID{i}, one)
		if first != nil || err != nil {
			t.Fatal(i, first, err)
		}
		return c
	}
	running := claim(0)
	for i := range byte(10) {
		claim(1 + i).Finish(Answer{202, []byte("x")})
	}
	if st := k.Stats(); st.Known != 3 || st.OverKeys != 8 || st.Bytes != 3*entryBytes+2 {
		t.Errorf("%+v", st)
	}
	if _, _, err := k.Claim(t.Context(), ID{0}, one); err != ErrProgress {
		t.Error(err)
	}
	two, three := claim(20), claim(21)
	if _, _, err := k.Claim(t.Context(), ID{22}, one); !unavailableError(err) {
		t.Error(err)
	}
	for _, c := range []*Claim{running, two, three} {
		c.Finish(Answer{200, make([]byte, 30<<10)})
	}
	if st := k.Stats(); st.Bytes > 1<<16 || st.OverBytes != 1 || st.Known != 2 {
		t.Errorf("%+v", st)
	}
	for i := range byte(22) {
		if c, _, _ := k.Claim(t.Context(), ID{i}, one); c != nil {
			c.Release()
		}
	}
	for _, e := range []*entry{k.store.entries[ID{20}], k.store.entries[ID{21}]} {
		k.store.remove(e)
	}
	if st := k.Stats(); st.Bytes != 0 || st.Known != 0 || k.store.oldest != nil || k.store.newest != nil {
		t.Errorf("%+v", st)
	}
}

// Commands of other nodes are read, or refused; none has a second form.
func FuzzCommand(f *testing.F) {
	for _, op := range []operation{opClaim, opKnow, opRelease, opFinish} {
		f.Add((&command{op: op, id: ID{1}, print: two, claim: 3, answer: Answer{202, []byte("x")}}).encode())
	}
	f.Add(encodeReply(codeDone, &Answer{202, []byte("x")}))
	f.Fuzz(func(t *testing.T, p []byte) {
		if m, err := decode(p); err == nil && string(m.encode()) != string(p) {
			t.Errorf("%q is %+v", p, m)
		}
		if c, a, err := decodeReply(p); err == nil && string(encodeReply(c, &a)) != string(p) {
			t.Errorf("%q is %c %+v", p, c, a)
		}
	})
}
