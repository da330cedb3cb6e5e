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
	done    bool       // a job has ended since startMore was last called
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
// shards waiting. Therefore only the first startAtOnce workers start at once. While
// jobs wait, further ones follow every startEvery, one for each startShare that run;
// if no job has ended meanwhile, after patience of these intervals.
const (
	startAtOnce = 4
	startEvery  = time.Millisecond
	startShare  = 256
	patience    = 5
)

// grow is a goroutine that starts workers until there are enough.
func (q *hookQueue) grow() {
	tick := time.NewTicker(startEvery)
	defer tick.Stop()
	for waited := 1; ; waited++ {
		<-tick.C
		started, enough := q.startMore(waited >= patience)
		switch {
		case enough:
			return
		case started:
			waited = 0
		}
	}
}

// startMore starts a few workers if a job has ended since the last call, or if it
// must. No more are needed if there are enough.
func (q *hookQueue) startMore(must bool) (started, enough bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.jobs) == 0 || q.running >= q.workers {
		q.growing = false
		return false, true
	}
	if !q.done && !must {
		return false, false
	}
	q.done = false
	for range min(max(1, q.running/startShare), q.workers-q.running) {
		q.running++
		q.group.Go(q.work)
	}
	return true, false
}

// work is a goroutine of the queue. It ends when no job waits.
func (q *hookQueue) work() {
	for job := q.next(false); job != nil; job = q.next(true) {
		job()
	}
}

// next returns a job for a worker, nil if none waits. done says that the worker has
// done one.
func (q *hookQueue) next(done bool) (job func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.done = q.done || done
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
