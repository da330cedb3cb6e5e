package cluster

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"belfry/broadcast"
)

// told notes what Users is told by one node.
type told struct {
	mu    sync.Mutex
	all   []string
	lists map[uint16]int // users in the last list of a bucket
}

func (h *told) set(uid string, online bool) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, map[bool]string{true: "+", false: "-"}[online]+uid)
}

func (h *told) list(bucket uint16, uids []string) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lists[bucket] = len(uids)
}

// take returns what was told since the last call.
func (h *told) take() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.all
	h.all = nil
	return strings.Join(all, " ")
}

// listed returns how many buckets were listed.
func (h *told) listed() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.lists)
}

// users3 starts three nodes and returns what the home of the users tells. Their uids
// are such that node c is their home.
func users3(t *testing.T) (r *rig, a, b, c *node, uids []string) {
	r = newRig(t, 1, 1)
	r.tables = &tables{sides: make(map[int]map[uint16]map[string]bool)}
	a, b, c = r.start("a"), r.start("b"), r.start("c")
	time.Sleep(settle)
	for i := 0; len(uids) < 3; i++ {
		uid := fmt.Sprint("user", i)
		if home, _ := c.dir.Homes().Home(broadcast.UserBucket(uid)); home == c.NodeID() {
			uids = append(uids, uid)
		}
	}
	return r, a, b, c, uids
}

// listen notes what a node tells from now on.
func listen(n *node) *told {
	h := &told{lists: make(map[uint16]int)}
	n.told.Store(h)
	return h
}

// The home tells of the first and of the last session in the cluster, and of nothing
// between them; sessions that come and go within a batch are not told of.
func TestUsersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a, b, c, uids := users3(t)
		at, bt, ct := listen(a), listen(b), listen(c)
		u := uids[0]
		shut := func(n *node, key [18]byte) {
			delete(n.truth, key)
			n.dir.Closed([]byte(u), key)
		}
		for i, step := range []struct {
			do   func()
			want string
		}{
			{func() { r.openFor(a, u) }, "+" + u},
			{func() { r.openFor(b, u); r.openFor(c, u) }, ""},
			{func() {
				for key := range a.truth {
					shut(a, key)
				}
			}, ""},
			{func() {
				for key := range b.truth {
					shut(b, key)
				}
				for key := range c.truth {
					shut(c, key)
				}
			}, "-" + u},
			{func() { shut(c, r.openFor(c, u)) }, ""},
		} {
			step.do()
			time.Sleep(settle)
			if got := ct.take(); got != step.want {
				t.Errorf("step %d: %q, want %q", i, got, step.want)
			}
		}
		if got := at.take() + bt.take(); got != "" {
			t.Errorf("nodes that are not the home told %q", got)
		}
	})
}

// The sessions of a node that dies take their users offline, unless they have others.
func TestUsersOfANodeThatDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a, b, c, uids := users3(t)
		r.openFor(a, uids[0])
		r.openFor(a, uids[1])
		r.openFor(b, uids[1])
		time.Sleep(settle)
		ct := listen(c)
		r.stop("a", true)
		time.Sleep(settle)
		if got := ct.take(); got != "-"+uids[0] {
			t.Errorf("%q, want -%s", got, uids[0])
		}
		_ = b
	})
}

// A home that dies is followed by one that lists the users of its buckets, and knows of
// sessions that ended meanwhile. Every bucket is listed in the time of Options.List.
func TestUsersListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a, _, _, uids := users3(t)
		gone := r.openFor(a, uids[0])
		r.openFor(a, uids[1])
		time.Sleep(settle)
		r.stop("c", true)
		time.Sleep(100 * time.Millisecond) // nobody has noticed
		delete(a.truth, gone)
		a.dir.Closed([]byte(uids[0]), gone)
		time.Sleep(2 * settle)
		r.checkTables("c is gone")
		for name, n := range r.nodes {
			h := listen(n)
			time.Sleep(1500 * time.Millisecond)
			h.mu.Lock()
			for bucket := range uint16(Buckets) {
				home, _ := n.dir.Homes().Home(bucket)
				users, listed := h.lists[bucket]
				if (home == n.NodeID()) != listed || users > 1 {
					t.Errorf("%s: bucket %d of %08x is listed: %t, with %d users", name, bucket, home, listed, users)
					break
				}
			}
			h.mu.Unlock()
		}
	})
}

// A node that starts tells nothing of what it cannot know yet.
func TestUsersOfANodeThatStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.tables = &tables{sides: make(map[int]map[uint16]map[string]bool)}
		a := r.start("a")
		h := listen(a)
		synctest.Wait()
		key := r.openFor(a, "u")
		time.Sleep(700 * time.Millisecond) // the first batch ends after at most three times its length
		a.dir.Closed([]byte("u"), key)
		delete(a.truth, key)
		time.Sleep(200 * time.Millisecond)
		if got, lists := h.take(), h.listed(); got != "+u" || lists > 0 {
			t.Errorf("%q and %d lists before the lease is over", got, lists)
		}
		time.Sleep(settle)
		if got, lists := h.take(), h.listed(); got != "-u" || lists != Buckets {
			t.Errorf("%q and %d lists afterwards", got, lists)
		}
	})
}

// Beyond the limit of users that are touched, their buckets are listed instead.
func TestUsersTouchedAtTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.tables = &tables{sides: make(map[int]map[uint16]map[string]bool)}
		a := r.start("a")
		time.Sleep(30 * time.Second)
		h := listen(a)
		a.dir.mu.Lock()
		for i := range maxTouched {
			a.dir.online.touched[fmt.Sprint("x", i)] = false // gone again
		}
		a.dir.mu.Unlock()
		r.openFor(a, "u")
		a.dir.mu.Lock()
		if due := slices.Collect(a.dir.online.due.all); !slices.Equal(due, []uint16{broadcast.UserBucket("u")}) {
			t.Errorf("due: %v", due)
		}
		a.dir.mu.Unlock()
		time.Sleep(time.Second)
		got := h.take()
		h.mu.Lock()
		if users := h.lists[broadcast.UserBucket("u")]; got != "" || users != 1 {
			t.Errorf("%q, %d users listed", got, users)
		}
		h.mu.Unlock()
		r.checkTables("afterwards")
	})
}
