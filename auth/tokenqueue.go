package auth

import (
	"slices"
	"sync"
)

// tokensEach is how many tokens may wait for each verifier that is awake, before
// another one is woken. To wake a goroutine costs as much as to check an HMAC, and
// verifiers that work on few tokens each take the processors from the shards.
const tokensEach = 8

// tokenQueue has the tokens that wait for a verifier, oldest first. All fields but
// work belong to whoever holds mu.
type tokenQueue struct {
	most int           // tokens
	work chan struct{} // one for each verifier that was woken; has room for all

	mu     sync.Mutex
	jobs   []*job
	head   int // the oldest is jobs[head]
	asleep int // verifiers
	awake  int
	closed bool
}

func newTokenQueue(most, verifiers int) *tokenQueue {
	return &tokenQueue{most: most, work: make(chan struct{}, verifiers)}
}

// put appends a token, and wakes a verifier if those that are awake have enough to
// do. It never waits. It returns false if the queue is full or closed. A token that
// has waited before has its place, and is refused only when the queue is closed.
func (q *tokenQueue) put(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.jobs)-q.head >= q.most && !j.again {
		return false
	}
	q.jobs = append(q.jobs, j)
	if q.asleep > 0 && len(q.jobs)-q.head > tokensEach*q.awake {
		q.asleep--
		q.awake++
		q.work <- struct{}{}
	}
	return true
}

// take returns the oldest token. If there is none it calls idle, waits, and returns
// false when stop is closed. The caller counts as awake from its first call on.
func (q *tokenQueue) take(stop <-chan struct{}, idle func()) (*job, bool) {
	for {
		if j, ok := q.next(); ok {
			return j, true
		}
		idle()
		select {
		case <-q.work:
		case <-stop:
			return nil, false
		}
	}
}

// next takes the oldest token. If there is none, the caller counts as asleep: it must
// wait for work.
func (q *tokenQueue) next() (*job, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head == len(q.jobs) {
		q.asleep++
		q.awake--
		return nil, false
	}
	j := q.jobs[q.head]
	q.jobs[q.head] = nil
	q.head++
	if q.head == len(q.jobs) {
		q.jobs, q.head = q.jobs[:0], 0
	} else if q.head >= 1024 && q.head > len(q.jobs)/2 {
		q.jobs, q.head = slices.Delete(q.jobs, 0, q.head), 0
	}
	return j, true
}

// close makes put refuse, and returns the tokens that wait.
func (q *tokenQueue) close() []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	left := q.jobs[q.head:]
	q.jobs, q.head = nil, 0
	return left
}

func (q *tokenQueue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.jobs) - q.head
}
