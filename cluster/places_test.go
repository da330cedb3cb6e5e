package cluster

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"belfry/broadcast"
	"belfry/message"
)

// reserves asks for a place at a node.
func (r *capRig) reserves(n *node, uid, class string, got chan<- reserved) {
	n.dir.Reserve(uid, class, func(p Place) { got <- reserved{n, uid, class, p, time.Now()} })
}

// reserved is the answer to a request for a place.
type reserved struct {
	node       *node
	uid, class string
	place      Place
	at         time.Time
}

// answers passes time and returns what came.
func (r *capRig) answers(got chan reserved, d time.Duration) (free []reserved, full map[Place]int) {
	r.pass(d)
	full = make(map[Place]int)
	for len(got) > 0 {
		if a := <-got; a.place == PlaceFree {
			free = append(free, a)
		} else {
			full[a.place]++
		}
	}
	return free, full
}

// Homes give as many places as caps permit, however many ask in the same moment on all
// nodes, and no session is closed. Sessions take the places; places that no session takes
// are free again.
func TestPlacesAreExact(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			r := newCapRig(t, seed, Caps{PerUser: 5, PerClass: map[string]int{"phone": 1}, RefuseNewest: true}, "a", "b", "c")
			got := make(chan reserved, 1000)
			for i := range 50 {
				r.reserves(r.any(), "ann", []string{"", "phone"}[i%2], got)
			}
			free, full := r.answers(got, time.Second)
			if len(free) != 5 || full[PlaceFullUser]+full[PlaceFullClass] != 45 || full[PlaceFullClass] < 20 {
				t.Errorf("%d places, refused %v", len(free), full)
			}
			phones := 0
			for _, a := range free {
				if a.class == "phone" {
					phones++
				}
				r.pass(time.Duration(r.rand.IntN(300)) * time.Millisecond)
				r.opens(a.node, a.uid, a.class)
			}
			if phones > 1 {
				t.Errorf("%d phones", phones)
			}
			for range 3 { // also when the places have lapsed: sessions have taken them
				r.reserves(r.any(), "ann", "", got)
				if free, _ := r.answers(got, time.Second); len(free) != 0 {
					t.Errorf("%d places more", len(free))
				}
				r.pass(placeTime)
			}
			if r.check("opened", true); len(r.open) != 5 {
				t.Errorf("%d sessions", len(r.open))
			}
			for range 2 {
				for range 9 {
					r.reserves(r.any(), "bob", "", got)
				}
				if free, _ := r.answers(got, time.Second); len(free) != 5 {
					t.Errorf("%d places for bob", len(free))
				}
				r.pass(2*placeTime + time.Second)
			}
			for name, n := range r.nodes {
				n.dir.mu.Lock()
				if n.dir.caps.given != 0 || len(n.dir.caps.places) != 0 {
					t.Errorf("%s still has %d places, of %d users", name, n.dir.caps.given, len(n.dir.caps.places))
				}
				n.dir.mu.Unlock()
			}
		})
	}
}

// A client that comes back on another node gets the place that it had, although the home
// does not know yet that its session has ended.
func TestPlaceOfOneThatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCapRig(t, 1, Caps{PerUser: 1, RefuseNewest: true}, "a", "b", "c")
		got := make(chan reserved, 10)
		for i := range 20 {
			uid := fmt.Sprint("u", i)
			had := r.opens(r.nodes["a"], uid, "")
			r.pass(500 * time.Millisecond)
			r.opens(r.nodes["a"], r.neighbour(r.nodes["a"], uid), "") // what follows waits for a batch
			r.pass(5 * time.Millisecond)
			r.close(had)
			r.reserves(r.nodes["b"], uid, "", got)
			if free, full := r.answers(got, time.Second); len(free) != 1 {
				t.Errorf("%s is refused: %v", uid, full)
			}
		}
	})
}

// A home that does not answer costs a second, then the client is admitted and counted.
// The home closes the newest of the sessions beyond the cap when it learns of them.
func TestPlaceWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCapRig(t, 1, Caps{PerUser: 2, RefuseNewest: true}, "a", "b", "c")
		home := r.homeOf("ann")
		var others []*node
		for _, name := range r.names() {
			if n := r.nodes[name]; n != home {
				others = append(others, n)
			}
		}
		r.losing.Store(true)
		got, begun := make(chan reserved, 10), time.Now()
		for i := range 4 {
			r.reserves(others[i%2], "ann", "", got)
			time.Sleep(100 * time.Millisecond)
		}
		for i := range 4 {
			a := <-got
			if took := a.at.Sub(begun) - time.Duration(i)*100*time.Millisecond; a.place != PlaceFree || took > placeWait+200*time.Millisecond {
				t.Errorf("answer %d after %v", a.place, took)
			}
			r.opens(a.node, "ann", "")
		}
		if n := others[0].dir.Stats().PlacesUnsure + others[1].dir.Stats().PlacesUnsure; n != 4 {
			t.Errorf("%d admissions without an answer were counted", n)
		}
		r.losing.Store(false)
		r.pass(time.Second)
		if r.check("opened", true); len(r.open) != 2 {
			t.Errorf("%d sessions", len(r.open))
		}
		r.reserves(others[0], "ann", "", got)
		if free, _ := r.answers(got, time.Second); len(free) != 0 {
			t.Error("one more place")
		}
	})
}

// What waits for an answer when the directory ends gets one.
func TestPlaceAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCapRig(t, 1, Caps{PerUser: 2, RefuseNewest: true}, "a", "b")
		home, other := r.nodes["a"], r.nodes["b"]
		uid := ""
		for i := 0; uid == ""; i++ {
			if u := fmt.Sprint(i); r.homeOf(u) == home {
				uid = u
			}
		}
		home.bus.Cut()
		got := make(chan reserved, 10)
		for range 3 {
			r.reserves(other, uid, "", got)
		}
		r.stop("b", true)
		other.dir.Reserve(uid, "", func(p Place) { got <- reserved{place: p} })
		for range 4 {
			if a := <-got; a.place != PlaceFree {
				t.Errorf("answer %d", a.place)
			}
		}
	})
}

// More requests than a question holds are asked about in several, and no body of another
// node does harm.
func TestManyPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCapRig(t, 1, Caps{PerUser: 1, RefuseNewest: true}, "a", "b")
		const users = 5000
		got := make(chan reserved, 2*users)
		for i := range users {
			uid := fmt.Sprintf("%0128d", i)
			r.reserves(r.nodes["a"], uid, "a-class-of-thirty-two-characters", got)
			r.reserves(r.nodes["b"], uid, "a-class-of-thirty-two-characters", got)
		}
		free, full := r.answers(got, 2*time.Second)
		if len(free) != users || full[PlaceFullUser] != users {
			t.Errorf("%d places, refused %v", len(free), full)
		}
		a := r.nodes["a"]
		for n, body := range []string{"\x00", "\x05ann", "\x03ann\x40", "\x03ann\x00\x03"} {
			if _, err := a.dir.placesAsked(t.Context(), broadcast.Peer{}, []byte(body)); err == nil {
				t.Errorf("body %d is taken", n)
			}
			if n < 2 && a.dir.evict([]byte(body)) {
				t.Errorf("body %d is taken for evictions", n)
			}
		}
		a.dir.evict(appendEviction(nil, true, []byte("ann"), &message.SessionKey{1}))
		if len(a.evictions) != 0 {
			t.Error("a session that is not open is closed")
		}
	})
}

// homeOf returns the home of a user.
func (r *rig) homeOf(uid string) *node {
	for _, n := range r.nodes {
		if home, _ := n.dir.Homes().Home(broadcast.UserBucket(uid)); home == n.NodeID() {
			return n
		}
	}
	r.t.Fatal("no home")
	return nil
}
