package auth

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// Few tokens wake one verifier, many wake all, and none is lost or taken twice.
func TestTokenQueueWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const verifiers = 4
		q, stop := newTokenQueue(1000, verifiers), make(chan struct{})
		q.awake = verifiers
		release := make(chan struct{})
		var mu sync.Mutex
		taken := map[*job]int{}
		var all sync.WaitGroup
		for range verifiers {
			all.Go(func() {
				for {
					j, ok := q.take(stop, func() {})
					if !ok {
						return
					}
					mu.Lock()
					taken[j]++
					mu.Unlock()
					<-release
				}
			})
		}
		state := func(when string, awake, waiting int) {
			t.Helper()
			synctest.Wait()
			q.mu.Lock()
			defer q.mu.Unlock()
			if q.awake != awake || q.asleep != verifiers-awake || len(q.jobs)-q.head != waiting {
				t.Errorf("%s: %d awake, %d asleep, %d tokens wait", when, q.awake, q.asleep, len(q.jobs)-q.head)
			}
		}
		state("at the start", 0, 0)
		put := 0
		fill := func(n int) {
			for range n {
				put++
				if !q.put(&job{}) {
					t.Fatalf("refused after %d", put)
				}
			}
		}
		fill(1)
		state("one", 1, 0)
		fill(tokensEach)
		state("enough for one", 1, tokensEach)
		fill(1)
		state("enough for two", 2, tokensEach)
		fill(100)
		state("many", verifiers, put-verifiers)
		close(release)
		state("at the end", 0, 0)
		for j, n := range taken {
			if n != 1 {
				t.Errorf("%p was taken %d times", j, n)
			}
		}
		if len(taken) != put {
			t.Errorf("%d of %d were taken", len(taken), put)
		}
		close(stop)
		all.Wait()
	})
}

// The order is that of arrival, also when the slice is moved to its beginning; the
// limit holds, except for a token that has waited before.
func TestTokenQueueOrder(t *testing.T) {
	const most = 3000
	q := newTokenQueue(most, 1)
	jobs := make([]*job, 5*most)
	for i := range jobs {
		jobs[i] = &job{}
	}
	put, taken := 0, 0
	for taken < len(jobs) {
		for put < len(jobs) && q.put(jobs[put]) {
			put++
		}
		if n := q.len(); n != min(most, len(jobs)-taken) {
			t.Fatalf("%d wait", n)
		}
		for range min(most/3, q.len()) {
			if j, ok := q.next(); !ok || j != jobs[taken] {
				t.Fatalf("token %d is another one", taken)
			}
			taken++
		}
		if len(q.jobs) > 3*most {
			t.Fatalf("%d places for %d tokens", len(q.jobs), q.len())
		}
		if slices.ContainsFunc(q.jobs[:q.head], func(j *job) bool { return j != nil }) {
			t.Fatal("a token that was taken is kept in memory")
		}
	}
	q = newTokenQueue(1, 1)
	again := &job{again: true}
	if !q.put(jobs[0]) || q.put(jobs[1]) || !q.put(again) {
		t.Error("the limit does not hold")
	}
	if left := q.close(); len(left) != 2 || left[1] != again {
		t.Errorf("%d tokens are left", len(left))
	}
	if q.put(again) || q.len() != 0 {
		t.Error("a closed queue takes tokens")
	}
	q = newTokenQueue(2, 1)
	q.put(jobs[0])
	q.put(jobs[1])
	if j, ok := q.next(); !ok || j != jobs[0] {
		t.Error("the first token is another one")
	}
	if left := q.close(); len(left) != 1 || left[0] != jobs[1] {
		t.Errorf("close returns %v, want the token that was not taken", left)
	}
}
