package push

import (
	"net/http"
	"sync"
	"time"
)

const (
	// maxPendingAnswers bounds what waits for a client that sends a batch
	// and reads no answers meanwhile, as simple clients do until they have
	// sent everything. It is room for more than the 10,000 lines that
	// MaxBatchLines allows by default; past it the batch is read no further
	// until the client reads.
	maxPendingAnswers = 1 << 20
	// answersPerWrite is when answers are written although more lines are at
	// hand.
	answersPerWrite = 16 << 10
)

// answers writes the answers of a batch on a goroutine of its own: were it
// the one that reads, a client that does not read while it sends would wait
// for it and it for the client.
type answers struct {
	w       http.ResponseWriter // the goroutine's
	rc      *http.ResponseController
	timeout time.Duration
	done    chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex // guards the rest
	changed sync.Cond
	pending []byte
	flushed bool // pending is to be written
	closed  bool // no more will come
	err     error
}

// newAnswers starts the goroutine; close ends it.
func newAnswers(w http.ResponseWriter, rc *http.ResponseController, timeout time.Duration) *answers {
	a := &answers{w: w, rc: rc, timeout: timeout, done: make(chan struct{})}
	a.changed.L = &a.mu
	go a.write()
	return a
}

// add appends what f appends. It waits while too much is pending and returns
// the error of a write that failed.
func (a *answers) add(f func([]byte) []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.pending) >= maxPendingAnswers && a.err == nil {
		a.changed.Wait()
	}
	if a.err != nil {
		return a.err
	}
	a.pending = f(a.pending)
	if len(a.pending) >= answersPerWrite {
		a.flushed = true
		a.changed.Broadcast()
	}
	return nil
}

// flush has everything written that was added.
func (a *answers) flush() {
	a.mu.Lock()
	if len(a.pending) > 0 {
		a.flushed = true
		a.changed.Broadcast()
	}
	a.mu.Unlock()
}

// close writes what is pending, ends the goroutine and waits for it.
func (a *answers) close() error {
	a.mu.Lock()
	a.closed = true
	a.changed.Broadcast()
	a.mu.Unlock()
	<-a.done
	return a.err
}

// write is the goroutine. An error ends it: every add returns it from then on.
func (a *answers) write() {
	defer close(a.done)
	var out []byte
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		for !a.flushed && !a.closed {
			a.changed.Wait()
		}
		if len(a.pending) == 0 {
			return // only when closed
		}
		out, a.pending, a.flushed = a.pending, out[:0], false
		a.changed.Broadcast()
		a.mu.Unlock()
		_ = a.rc.SetWriteDeadline(time.Now().Add(a.timeout)) // not supported by recorders in tests
		_, err := a.w.Write(out)
		if err == nil {
			err = a.rc.Flush()
		}
		a.mu.Lock()
		if err != nil {
			a.err = err
			a.changed.Broadcast()
			return
		}
	}
}
