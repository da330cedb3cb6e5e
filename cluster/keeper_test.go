package cluster

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"belfry/broadcast"
	"belfry/message"
)

// A body that comes late or twice changes nothing: what came after it holds.
func TestLateBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 12, 10)
		a, b := r.start("a"), r.start("b")
		time.Sleep(time.Second)
		from := broadcast.Peer{ID: b.NodeID(), Name: "b"}
		uid := []byte("u1")
		var key message.SessionKey
		key[3] = 1
		body := func(number uint64, item []byte) []byte {
			return append(appendHead(nil, b.dir.self.Instance, number), item...)
		}
		open, shut := appendOpen(nil, uid, &key, 1, "", ""), appendClose(nil, uid, &key)
		for i, step := range []struct {
			number uint64
			item   []byte
			kept   int
		}{{1001, open, 1}, {1003, shut, 0}, {1002, open, 0}, {1003, open, 0}, {1004, open, 1}} {
			if _, err := a.dir.announced(t.Context(), from, body(step.number, step.item)); err != nil {
				t.Fatal(err)
			}
			if kept := a.dir.Stats().Kept; kept != step.kept {
				t.Errorf("step %d: %d sessions are kept, want %d", i, kept, step.kept)
			}
		}
	})
}

// A node that restarts again and again takes one index.
func TestIndexesAreReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 13, 10)
		a := r.start("a")
		for range 5 {
			r.start("b")
			time.Sleep(time.Second)
			r.stop("b", true)
			time.Sleep(time.Second)
		}
		a.dir.mu.Lock()
		defer a.dir.mu.Unlock()
		if a.dir.indexes != 2 {
			t.Errorf("%d indexes were taken by this node and one other", a.dir.indexes)
		}
	})
}

// A body of another process, or of another format, enters nothing; for buckets that
// this node does not keep it asks the holder to come again, once for each bucket.
func TestBodyThatIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 14, 10)
		a, b := r.start("a"), r.start("b")
		r.start("c")
		time.Sleep(time.Second)
		from := broadcast.Peer{ID: b.NodeID(), Name: "b"}
		var key message.SessionKey
		find := func(mine bool) (uid []byte) {
			for i := 0; ; i++ {
				uid = fmt.Append(nil, i)
				if keeper, _ := a.dir.Homes().Keeper(bucketOf(uid), b.NodeID()); (keeper == a.NodeID()) == mine {
					return uid
				}
			}
		}
		kept, other := find(true), find(false)
		open := appendOpen(nil, kept, &key, 1, "", "")
		head := appendHead(nil, b.dir.self.Instance, 1001)
		newer := append([]byte{format + 1}, head[1:]...)
		for _, tc := range []struct {
			body []byte
			want error
		}{{append(appendHead(nil, "another", 1001), open...), errUnknown}, {append(newer, open...), errBody}} {
			if _, err := a.dir.announced(t.Context(), from, tc.body); err != tc.want || a.dir.Stats().Kept != 0 {
				t.Errorf("%v, want %v; %d are kept", err, tc.want, a.dir.Stats().Kept)
			}
		}
		twice := appendClose(appendOpen(head, other, &key, 1, "", ""), other, &key)
		want := appendBucket(nil, wantLater, bucketOf(other))
		if answer, err := a.dir.announced(t.Context(), from, twice); err != nil || string(answer) != string(want) {
			t.Errorf("%q, %v; want %q", answer, err, want)
		}
		if _, _, ok := a.dir.here(string(other), false); ok {
			if home, _ := a.dir.Homes().Home(bucketOf(other)); home != a.NodeID() {
				t.Error("a node answers for a user whose home is another one")
			}
		}
	})
}

// Questions and answers have limits, and an answer that is too long is no panic.
func TestWhereIsBounded(t *testing.T) {
	uids := make([]string, 1000)
	for i := range uids {
		uids[i] = fmt.Sprintf("%0200d", i)
	}
	if n := len(appendQuestion(uids, true)); n > maxQuestion || n < maxQuestion/2 {
		t.Errorf("a question of %d bytes", n)
	}
	two := appendAnswer(appendAnswer(nil, nil, nil), nil, nil)
	if n, _, err := readAnswer(two, []string{"u"}, false, map[string][]Holder{}); n != 1 || err != nil {
		t.Errorf("%d users, %v", n, err)
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 15, 10)
		a := r.start("a")
		time.Sleep(time.Second)
		for range MaxListed + 50 {
			r.openFor(a, "u")
		}
		all, err := a.dir.Where(t.Context(), "u")
		if err != nil || len(all) != 1 || all[0].Count != MaxListed+50 || len(all[0].Sessions) != MaxListed {
			t.Errorf("%d nodes, %v", len(all), err)
		}
	})
}

// Each byte of a key counts for the digest of a session.
func TestDigestOfKeys(t *testing.T) {
	seen := map[uint64]bool{new(entry).digest(): true}
	for i := range len(message.SessionKey{}) {
		var e entry
		e.key[i] = 1
		if d := e.digest(); seen[d] {
			t.Errorf("byte %d does not count", i)
		} else {
			seen[d] = true
		}
	}
}

// Changes that a keeper does not take are not kept for it without end: beyond the limit
// all buckets are compared instead.
func TestQueueOfALinkIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 16, 10)
		a, b := r.start("a"), r.start("b")
		time.Sleep(time.Second)
		a.dir.mu.Lock()
		l := a.dir.out[b.NodeID()]
		l.check = buckets{}
		for _, n := range []int{maxQueue, maxQueue + 1} {
			l.queue = make([]byte, n)
			l.queued()
			if over := n > maxQueue; (len(l.queue) == 0) != over || l.check.empty() == over {
				t.Errorf("%d bytes: %d are left, to be compared: %v", n, len(l.queue), !l.check.empty())
			}
		}
		l.queue = nil
		a.dir.mu.Unlock()
	})
}

// A bucket with so many sessions that they exceed the limit of a queue gets announced to
// a node that joins, while others open and close.
func TestBucketLargerThanAQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 17, 10)
		a := r.start("a")
		const sessions = 60_000
		for range sessions {
			r.openFor(a, "guest")
		}
		b := r.start("b")
		for i := range 1000 {
			time.Sleep(5 * time.Millisecond)
			r.openFor(a, fmt.Sprint("u", i))
			if kept := b.dir.Stats().Kept; i == 400 && kept < sessions {
				t.Errorf("after 2 s b knows %d sessions", kept)
			}
		}
		time.Sleep(time.Second)
		if st := b.dir.Stats(); st.Kept != sessions+1000 || st.Pending != 0 {
			t.Errorf("b knows %d sessions, and awaits %d buckets", st.Kept, st.Pending)
		}
	})
}
