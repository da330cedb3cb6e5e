package auth

import (
	"sync"
	"time"
)

// hookQueue runs jobs on at most so many goroutines. It starts them when there is
// work and ends them when there is none, so that it costs nothing while nobody
// connects. Jobs that wait are bounded in bytes.
type hookQueue struct {
	workers  int
	maxBytes int64

	mu      sync.Mutex // guards what follows
	jobs    []func()   // that no goroutine has taken yet
	running int        // goroutines that work
	growing bool       // grow runs
	bytes   int64      // reserved
	full    uint64     // how often reserve has failed
	closed  bool
	group   sync.WaitGroup
}

// jobBytes is about what a job takes beside its texts: the job, its place in the
// queue, and the session's own state while it waits.
const jobBytes = 512

// reserve takes room for a job with texts of n bytes, or returns false. It never
// waits. release gives the room back.
func (q *hookQueue) reserve(n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.bytes+int64(n)+jobBytes > q.maxBytes {
		q.full++
		return false
	}
	q.bytes += int64(n) + jobBytes
	return true
}

// reserveMore takes n bytes more for a job with a reservation, or returns false. release
// gives back both.
func (q *hookQueue) reserveMore(n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes+int64(n) > q.maxBytes {
		q.full++
		return false
	}
	q.bytes += int64(n)
	return true
}

func (q *hookQueue) release(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= int64(n) + jobBytes
}

// add runs a job whose room is reserved. It never waits.
func (q *hookQueue) add(job func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		go job() // it does not call the webhook any more
		return
	}
	q.jobs = append(q.jobs, job)
	switch {
	case q.running < min(q.workers, startAtOnce):
		q.running++
		q.group.Go(q.work)
	case q.running < q.workers && !q.growing:
		q.growing = true
		q.group.Go(q.grow)
	}
}

// A backend that hangs gets a call of each worker, on a connection of its own, which
// takes some 0.2 ms of a processor. Hundreds of them at the same moment would keep
// shards waiting. Therefore only the first startAtOnce workers start at once; while
// jobs wait, further ones follow every startEvery, one for each startShare that run.
const (
	startAtOnce = 16
	startEvery  = time.Millisecond
	startShare  = 256
)

// grow is a goroutine that starts workers until there are enough.
func (q *hookQueue) grow() {
	tick := time.NewTicker(startEvery)
	defer tick.Stop()
	for range tick.C {
		if !q.startMore() {
			return
		}
	}
}

// startMore starts a few workers, or returns false if no more are needed.
func (q *hookQueue) startMore() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for range max(1, q.running/startShare) {
		if q.closed || len(q.jobs) == 0 || q.running >= q.workers {
			q.growing = false
			return false
		}
		q.running++
		q.group.Go(q.work)
	}
	return true
}

// work is a goroutine of the queue. It ends when no job waits.
func (q *hookQueue) work() {
	for {
		job := q.next()
		if job == nil {
			return
		}
		job()
	}
}

func (q *hookQueue) next() (job func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.jobs) == 0 {
		q.jobs = nil // gives back what a storm has grown
		q.running--
		return nil
	}
	job, q.jobs[0] = q.jobs[0], nil
	q.jobs = q.jobs[1:]
	return job
}

// close refuses further jobs and waits for those that were added. add may still be
// called for jobs that were reserved before.
func (q *hookQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.group.Wait()
}

// load returns how many jobs wait, the bytes reserved, and how often there was no
// room.
func (q *hookQueue) load() (waiting int, bytes int64, full uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.jobs), q.bytes, q.full
}
