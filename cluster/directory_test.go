package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belfry/message"
	"belfry/offheap"
)

// Three nodes know where users are, whoever is asked.
func TestWhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, 20)
		for _, name := range []string{"a", "b", "c"} {
			r.start(name)
		}
		time.Sleep(2 * time.Second)
		for _, n := range r.nodes {
			r.open(n, 30)
		}
		time.Sleep(time.Second)
		r.check("opened", 100)
		for _, n := range r.nodes {
			r.shut(n, 20)
		}
		time.Sleep(time.Second)
		r.check("closed", 100)

		key := r.openFor(r.nodes["b"], "somebody")
		time.Sleep(50 * time.Millisecond)
		for name, n := range r.nodes {
			got, err := n.dir.Where(context.Background(), "somebody")
			if err != nil || len(got) != 1 || len(got[0].Sessions) != 1 || got[0].Sessions[0].Key != key || got[0].Sessions[0].Class != "phone" ||
				got[0].Sessions[0].Since.Unix() != time.Now().Unix() {
				t.Errorf("%s finds %+v, %v", name, got, err)
			}
		}
	})
}

// WhereMany finds many users with as many questions as there are homes.
func TestWhereMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2, 1000)
		for _, name := range []string{"a", "b", "c"} {
			r.start(name)
		}
		time.Sleep(2 * time.Second)
		for _, n := range r.nodes {
			r.open(n, 500)
		}
		time.Sleep(time.Second)
		var uids []string
		for i := range 1000 {
			uids = append(uids, fmt.Sprint("user-", i))
		}
		before := r.nodes["a"].Stats().ControlSent
		got, err := r.nodes["a"].dir.WhereMany(context.Background(), uids)
		if err != nil {
			t.Fatal(err)
		}
		online := 0
		for _, uid := range uids {
			want := r.expect(uid, 0)
			if show(got[uid]) != want {
				t.Errorf("%s is at %q; want %q", uid, show(got[uid]), want)
			}
			if want != "" {
				online++
			}
		}
		if online < 300 || online == 1000 {
			t.Errorf("%d users online", online)
		}
		if asked := r.nodes["a"].Stats().ControlSent - before; asked != 2 {
			t.Errorf("%d questions for 2 other homes", asked)
		}
	})
}

// The death of a node is told once for each of its sessions, also of those whose home
// it was itself; a node that leaves is not told of.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, 500)
		for _, name := range []string{"a", "b", "c", "d"} {
			r.start(name)
		}
		time.Sleep(2 * time.Second)
		for _, n := range r.nodes {
			r.open(n, 300)
		}
		time.Sleep(time.Second)
		var want []string
		for _, uid := range r.nodes["b"].truth {
			want = append(want, uid)
		}
		r.stop("c", false) // b announces to others what c kept
		time.Sleep(time.Second)
		r.stop("b", true)
		time.Sleep(2 * time.Second)
		var got []string
		for name, n := range r.nodes {
			n.mu.Lock()
			got = append(got, n.gone["b"]...)
			if len(n.gone["c"]) > 0 {
				t.Errorf("%s was told of %d sessions of c, which has left", name, len(n.gone["c"]))
			}
			n.mu.Unlock()
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("told of %d sessions of b; it had %d", len(got), len(want))
		}
		r.check("after", 100)
	})
}

// A keeper without room says whose sessions it lacks, and does not ask for them again
// and again; when there is room it gets them.
func TestKeeperFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 10, 1000)
		a, b := r.start("a"), r.start("b")
		time.Sleep(time.Second)
		var err error
		a.dir.mu.Lock()
		a.dir.opt.MaxSessions = 300
		a.dir.store.close()
		a.dir.store, err = newStore(new(offheap.Owners).Owner("x"), 300)
		a.dir.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		var keys []message.SessionKey
		for i := range 400 {
			keys = append(keys, r.openFor(b, fmt.Sprint(i)))
		}
		time.Sleep(time.Second)
		before := b.dir.Stats().Restated
		time.Sleep(2 * time.Minute)
		if again := b.dir.Stats().Restated - before; again != 0 || a.dir.Stats().Kept != 300 {
			t.Errorf("%d buckets were announced again; a keeps %d", again, a.dir.Stats().Kept)
		}
		incomplete := 0
		for i := range 400 {
			var silent *IncompleteError
			if _, err := a.dir.Where(context.Background(), fmt.Sprint(i)); errors.As(err, &silent) && silent.Silent[0] == "b" {
				incomplete++
			}
		}
		if incomplete == 0 {
			t.Error("no answer of a full keeper is incomplete")
		}
		for i, key := range keys[:200] {
			b.dir.Closed(fmt.Append(nil, i), key)
			delete(b.truth, key)
		}
		time.Sleep(3 * time.Second)
		r.checkKept("with room again")
	})
}

// A node that has said that it left is not told of, whatever it forgot to close.
func TestLeftIsNotGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 11, 100)
		for _, name := range []string{"a", "b"} {
			r.open(r.start(name), 50)
		}
		time.Sleep(2 * time.Second)
		b := r.nodes["b"]
		b.Close()
		r.stop("b", true)
		time.Sleep(time.Second)
		a := r.nodes["a"]
		if s := a.dir.Stats(); s.Gone != 0 || s.Kept != 0 || len(a.gone["b"]) != 0 {
			t.Errorf("%d sessions gone, %d kept, told of %d", s.Gone, s.Kept, len(a.gone["b"]))
		}
	})
}

// A home that does not answer is named, and so is a holder that the home waits for.
func TestSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 4, 100)
		for _, name := range []string{"a", "b", "c"} {
			r.start(name)
		}
		time.Sleep(2 * time.Second)
		homes := r.nodes["a"].dir.Homes()
		uid := ""
		for i := 0; uid == ""; i++ {
			if home, _ := homes.Home(bucketOf(fmt.Append(nil, i))); home == r.nodes["b"].NodeID() {
				uid = fmt.Sprint(i)
			}
		}
		r.nodes["b"].bus.Cut()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_, err := r.nodes["a"].dir.Where(ctx, uid)
		var home *HomeError
		if !errors.As(err, &home) || home.Node != "b" {
			t.Errorf("error %v; want one that names b", err)
		}
		r.nodes["b"].bus.Heal()

		r.net.Drop = nil
		n := r.nodes["b"]
		n.dir.mu.Lock()
		for _, h := range n.dir.holders {
			if h.Name == "c" {
				h.doubt(bucketOf([]byte(uid)))
				n.dir.touch() // as announced does
			}
		}
		n.dir.mu.Unlock()
		_, err = n.dir.Where(context.Background(), uid)
		var incomplete *IncompleteError
		if !errors.As(err, &incomplete) || strings.Join(incomplete.Silent, " ") != "c" {
			t.Errorf("error %v; want one that names c", err)
		}
		time.Sleep(2 * time.Second)
		r.check("after", 20)
	})
}

// A process that begins anew under the same name has no sessions of the earlier one.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 5, 100)
		for _, name := range []string{"a", "b", "c"} {
			r.open(r.start(name), 100)
		}
		time.Sleep(2 * time.Second)
		r.check("before", 50)
		had := len(r.nodes["b"].truth)
		r.stop("b", true)
		r.open(r.start("b"), 10)
		time.Sleep(2 * time.Second)
		r.check("after", 50)
		told := 0
		for _, n := range r.nodes {
			told += len(n.gone["b"])
		}
		if told != had {
			t.Errorf("told of %d sessions of the earlier process; it had %d", told, had)
		}
	})
}

// When a node drains, its buckets are known completely at their new homes at once.
// Without the comparison of the buckets that moved, their keepers would ask for it, but
// half a second later.
func TestDrainIsQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 8, 200)
		for _, name := range []string{"a", "b", "c", "d"} {
			r.open(r.start(name), 100)
		}
		time.Sleep(2 * time.Second)
		r.nodes["d"].dir.Leave()
		time.Sleep(300 * time.Millisecond)
		r.check("drains", 100)
		for b := range uint16(Buckets) {
			if home, _ := r.nodes["a"].dir.Homes().Home(b); home == r.nodes["d"].NodeID() {
				t.Fatal("a node that drains is a home")
			}
		}
	})
}

// What was sent while the network lost it is known soon after, although no node was
// missed.
func TestLossIsQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 9, 200)
		r.net.Drop = func(string, string, []byte) bool { return r.lossy() }
		for _, name := range []string{"a", "b", "c"} {
			r.start(name)
		}
		time.Sleep(2 * time.Second)
		r.losing.Store(true)
		for _, n := range r.nodes {
			r.open(n, 50)
		}
		time.Sleep(200 * time.Millisecond)
		r.losing.Store(false)
		time.Sleep(time.Second)
		r.check("after", 100)
	})
}

// A keeper that took a holder for gone, while the holder noticed nothing (SIGSTOP), asks
// it for what it has as soon as it hears it. Without that, the next look would find it
// up to a second later, and without that the comparison every 30 s.
func TestForgottenHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 6, 100)
		for _, name := range []string{"a", "b", "c"} {
			r.open(r.start(name), 100)
		}
		time.Sleep(2 * time.Second)
		a, b := r.nodes["a"], r.nodes["b"]
		before := a.dir.Stats()
		a.members.mu.Lock()
		a.members.nodes[b.NodeID()].Heard = time.Now().Add(-time.Minute)
		a.members.mu.Unlock()
		a.members.sweep(time.Now())
		synctest.Wait()
		if kept := a.dir.Stats().Kept; kept >= before.Kept {
			t.Errorf("a keeps %d sessions after b was gone, and kept %d before", kept, before.Kept)
		}
		time.Sleep(beacon + 200*time.Millisecond)
		r.check("after", 100)
	})
}

// Beyond MaxSessions nothing is entered, answers name the holder, and no node asks
// again and again.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 7, 1000)
		a, b := r.start("a"), r.start("b")
		time.Sleep(time.Second)
		const room = 1 << 16
		for i := range 100 {
			r.openFor(a, fmt.Sprint("of a ", i))
		}
		time.Sleep(time.Second) // b keeps them
		for i := range room {
			r.openFor(b, fmt.Sprint(i))
		}
		time.Sleep(10 * time.Second)
		sa, sb := a.dir.Stats(), b.dir.Stats()
		if sb.Own != room-100 || sb.Refused != 100 || sa.Kept != room-100 {
			t.Errorf("b has %d sessions, %d refused; a keeps %d", sb.Own, sb.Refused, sa.Kept)
		}
		r.openFor(a, "one more")
		sa = a.dir.Stats()
		if sa.Own+sa.Kept != room || sa.Refused == 0 {
			t.Errorf("a knows %d sessions, %d refused", sa.Own+sa.Kept, sa.Refused)
		}
	})
}
