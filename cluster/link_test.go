package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belfry/broadcast"
	"belfry/offheap"
)

// twoNodes calls f with a node, and with a link of its to another node that nothing
// runs, so that f sees what the link would do.
func twoNodes(t *testing.T, seed uint64, f func(t *testing.T, a, b *node, l *link)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, seed, 10)
		a, b := r.start("a"), r.start("b")
		time.Sleep(time.Second)
		f(t, a, b, &link{dir: a.dir, to: broadcast.Peer{ID: b.NodeID(), Name: "b"}, wake: make(chan struct{}, 1), retry: make(chan struct{}, 1)})
	})
}

// bucketsOf returns a bucket that the other node of a link keeps, and one that it does
// not keep. Directory.mu is held.
func (l *link) bucketsOf() (kept, other uint16) {
	for b := range uint16(Buckets) {
		if l.mine(b) {
			kept = b
		} else {
			other = b
		}
	}
	return kept, other
}

// kept returns a bucket that the other node of a link keeps.
func (l *link) kept() (bucket uint16) {
	l.dir.mu.Lock()
	defer l.dir.mu.Unlock()
	bucket, _ = l.bucketsOf()
	return bucket
}

// userIn returns a user of a bucket.
func userIn(bucket uint16) []byte {
	for i := 0; ; i++ {
		if uid := fmt.Append(nil, i); bucketOf(uid) == bucket {
			return uid
		}
	}
}

// items returns the items of a body without its head.
func items(t *testing.T, p []byte) (ops []byte, buckets []uint16) {
	for r := (reader{p: p}); len(r.p) > 0; {
		it := r.item()
		if r.bad {
			t.Fatalf("%x is no item", p)
		}
		ops, buckets = append(ops, it.op), append(buckets, it.bucket)
	}
	return ops, buckets
}

// A bucket that is announced as a whole ends with its digest, so that the keeper knows
// at once that it has all of it. One whose keeper has changed meanwhile is left out.
func TestRestatedBucket(t *testing.T) {
	twoNodes(t, 20, func(t *testing.T, a, b *node, l *link) {
		a.dir.mu.Lock()
		defer a.dir.mu.Unlock()
		l.dir.homes = NewHomes([]uint32{a.NodeID(), b.NodeID(), 1, 2})
		kept, other := l.bucketsOf()
		key := testKey(1)
		a.dir.store.put(userIn(kept), 0, &key, 1, nil, nil)
		l.restate.add(kept)
		l.restate.add(other)
		l.refill(1 << 20)
		ops, of := items(t, l.queue)
		if string(ops) != string([]byte{itemReset, itemOpen, itemCheck}) || of[0] != kept || of[1] != kept || of[2] != kept || !l.restate.empty() {
			t.Errorf("items %v of the buckets %v, restated was %d; %d is not kept", ops, of, kept, other)
		}
	})
}

// Changes go before digests: a digest has them in it already. A user whose bucket is
// compared later anyway needs none.
func TestChangesGoBeforeDigests(t *testing.T) {
	twoNodes(t, 21, func(t *testing.T, a, _ *node, l *link) {
		kept := l.kept()
		key := testKey(1)
		l.next = time.Now().Add(time.Hour)
		l.queue = appendOpen(nil, userIn(kept), &key, 1, "", "")
		l.check.add(kept)
		for _, want := range []byte{itemOpen, itemCheck} {
			body, _ := l.build()
			r := reader{p: body}
			r.head()
			if ops, _ := items(t, r.p); len(ops) != 1 || ops[0] != want {
				t.Errorf("items %v, want %d", ops, want)
			}
		}
		if body, wait := l.build(); body != nil || wait != time.Hour {
			t.Errorf("%x is sent, or nothing for %v", body, wait)
		}
	})
}

// Flush waits while anything is not confirmed, of whatever kind.
func TestBusyLink(t *testing.T) {
	var b buckets
	b.add(7)
	for name, l := range map[string]*link{
		"sending": {sending: true}, "bad": {bad: true}, "queue": {queue: []byte{1}},
		"check": {check: b}, "restate": {restate: b}, "later": {later: b},
	} {
		if !l.busy() {
			t.Errorf("%s: not busy", name)
		}
	}
	if new(link).busy() {
		t.Error("busy with nothing")
	}
}

// A node that does not know yet that it is the keeper is asked again a little later; a
// node that is there again is not waited for, and is told all at once.
func TestKeeperComesLater(t *testing.T) {
	twoNodes(t, 22, func(t *testing.T, a, _ *node, l *link) {
		kept := l.kept()
		l.answered(appendBucket(nil, wantLater, kept), nil)
		a.dir.mu.Lock()
		if !l.later.has(kept) || l.check.has(kept) {
			t.Error("it is compared at once")
		}
		a.dir.mu.Unlock()
		time.Sleep(2 * retryPause)
		a.dir.mu.Lock()
		defer a.dir.mu.Unlock()
		if !l.check.has(kept) || !l.later.empty() {
			t.Error("it is not compared")
		}
		aborted := false
		l.check, l.abort = buckets{}, func() { aborted = true }
		if l.kick(); !aborted || !l.check.has(kept) || len(l.retry) != 1 {
			t.Errorf("the wait was aborted: %v, all is compared: %v, at once: %v", aborted, l.check.has(kept), len(l.retry) == 1)
		}
	})
}

// A keeper that asks while buckets are announced anyway does not have all of them
// compared: their digests would not match yet, and they would be announced twice.
func TestCompareWhileRestating(t *testing.T) {
	twoNodes(t, 23, func(t *testing.T, a, b *node, l *link) {
		kept := l.kept()
		a.dir.mu.Lock()
		a.dir.out[b.NodeID()].cancel()
		a.dir.out[b.NodeID()] = l
		l.cancel = func() {}
		a.dir.mu.Unlock()
		for name, set := range map[string]*buckets{"restate": &l.restate, "later": &l.later, "": new(buckets)} {
			a.dir.mu.Lock()
			l.check = buckets{}
			set.add(kept)
			a.dir.mu.Unlock()
			_, err := a.dir.compare(t.Context(), l.to, nil)
			a.dir.mu.Lock()
			if err != nil || l.check.empty() != (name != "") {
				t.Errorf("%s: to be compared: %v, %v", name, !l.check.empty(), err)
			}
			set.del(kept)
			a.dir.mu.Unlock()
		}
	})
}

// A session for which there is no room makes its bucket incomplete, and so does a
// digest that differs; a store that is full does not ask again and again.
func TestRefusedSessionIsMissed(t *testing.T) {
	twoNodes(t, 24, func(t *testing.T, a, b *node, l *link) {
		d := a.dir
		d.mu.Lock()
		defer d.mu.Unlock()
		h := d.holders[b.NodeID()]
		bucket := uint16(0)
		for !d.keeps(bucket, h) {
			bucket++
		}
		differs := item{op: itemCheck, bucket: bucket, count: 1}
		for _, full := range []bool{false, true} {
			h.confirm(bucket)
			if asks := d.apply(h, &differs); asks == full || h.confirmed.has(bucket) {
				t.Errorf("full: %v: asks again: %v, confirmed: %v", full, asks, h.confirmed.has(bucket))
			}
			for ok := true; ok; {
				_, ok = d.store.entries.Alloc()
			}
		}
		h.confirm(bucket)
		d.apply(h, &item{op: itemOpen, uid: userIn(bucket), bucket: bucket})
		if h.confirmed.has(bucket) || d.stats.Refused != 1 {
			t.Errorf("%d are refused, confirmed: %v", d.stats.Refused, h.confirmed.has(bucket))
		}
		now := time.Now()
		d.mu.Unlock()
		d.lookAfter(now)
		d.mu.Lock()
		if !h.since.IsZero() {
			t.Error("a full keeper will ask for what it cannot keep")
		}
	})
}

// While homes move, the node that was asked may not be the home yet, or any more: the
// question goes to the one that is.
func TestQuestionToTheWrongHome(t *testing.T) {
	twoNodes(t, 25, func(t *testing.T, a, b *node, l *link) {
		bucket := uint16(0)
		for home, _ := a.dir.Homes().Home(bucket); home != a.NodeID(); home, _ = a.dir.Homes().Home(bucket) {
			bucket++
		}
		uid := string(userIn(bucket))
		a.dir.Opened([]byte(uid), Session{Key: testKey(1)})
		found := map[string][]Holder{}
		if err := a.dir.ask(t.Context(), b.NodeID(), []string{uid}, false, found); err != nil || len(found[uid]) != 1 {
			t.Errorf("%v, %v", found, err)
		}
		if _, err := b.dir.whereAsked(t.Context(), broadcast.Peer{}, appendQuestion([]string{uid}, false)); !errors.Is(err, errNotHome) {
			t.Errorf("%v", err)
		}
	})
}

// An answer has as many users as fit, and the others are asked about again.
func TestLongAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 26, 10)
		a := r.start("a")
		time.Sleep(time.Second)
		var uids []string
		for i := range 12 {
			uids = append(uids, fmt.Sprint("u", i))
			for range 300 {
				r.openFor(a, uids[i])
			}
		}
		answer, err := a.dir.whereAsked(t.Context(), broadcast.Peer{}, appendQuestion(uids, true))
		if err != nil || len(answer) > broadcast.MaxControlBody {
			t.Fatalf("%d bytes, %v", len(answer), err)
		}
		if n, _, err := readAnswer(answer, uids, true, map[string][]Holder{}); n < 2 || n >= len(uids) || err != nil {
			t.Errorf("%d users, %v", n, err)
		}
	})
}

// Names of classes and routes are bounded: each by its length where it is told, and all
// by their number, beyond which further ones have none instead of another's.
func TestNamesAreBounded(t *testing.T) {
	twoNodes(t, 27, func(t *testing.T, a, b *node, _ *link) {
		long := strings.Repeat("x", 300)
		for i := range 20 { // both nodes are homes of some
			a.dir.Opened(fmt.Append(nil, "u", i), Session{Key: testKey(uint64(i)), Class: long, Route: long})
		}
		time.Sleep(time.Second)
		for i := range 20 {
			all, err := b.dir.Where(t.Context(), fmt.Sprint("u", i))
			if err != nil || len(all) != 1 || all[0].Sessions[0].Class != long[:maxClass] {
				t.Fatalf("%v, %v", all, err)
			}
		}
		if n := b.dir.Stats().Malformed; n != 0 {
			t.Errorf("%d bodies cannot be read", n)
		}
	})
	all := names{""}
	for i := range 2 * maxNames {
		name := fmt.Sprint("class", i)
		if got := all[all.enter([]byte(name))]; got != name && (got != "" || i < maxNames-1) {
			t.Errorf("%s became %q", name, got)
		}
	}
	if len(all) != maxNames {
		t.Errorf("%d names", len(all))
	}
}

// What another node says is checked before it is used.
func TestItemsAreChecked(t *testing.T) {
	key, uid, long := testKey(1), []byte("u"), strings.Repeat("x", maxClass+1)
	for name, p := range map[string][]byte{
		"bucket":    appendBucket(nil, itemReset, Buckets),
		"check":     appendCheck(nil, Buckets, list{}),
		"class":     appendOpen(nil, uid, &key, 1, long, ""),
		"route":     appendOpen(nil, uid, &key, 1, "", long),
		"no user":   appendClose(nil, nil, &key),
		"operation": {99},
	} {
		r := reader{p: p}
		if r.item(); !r.bad {
			t.Errorf("%s: taken", name)
		}
	}
}

// A session whose user finds no room leaves its place to others.
func TestUserWithoutRoom(t *testing.T) {
	var memory offheap.Owners
	s, err := newStore(memory.Owner("cluster"), 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for err == nil {
		_, err = s.uids.Put([]byte("x"))
	}
	key := testKey(1)
	if s.put([]byte("u"), 0, &key, 1, nil, nil) || s.entries.Len() != 0 {
		t.Errorf("%d sessions are kept", s.entries.Len())
	}
}
