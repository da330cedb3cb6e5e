package push

import (
	"net/http"
	"sync"
	"time"
)

const (
	// maxPendingAnswers bounds the bytes of answers that wait for the client.
	// Simple clients read no answers until they have sent the whole batch.
	// There is room for more than the 10,000 lines that MaxBatchLines allows
	// by default. If the limit is reached, the batch is not read until the
	// client reads.
	maxPendingAnswers = 1 << 20
	// answersPerWrite is the number of bytes from which answers are written
	// although more lines are available.
	answersPerWrite = 16 << 10
)

// answers writes the answers of a batch on its own goroutine. If the goroutine
// that reads the batch wrote them, it could deadlock with a client that does not
// read while it sends.
type answers struct {
	w       http.ResponseWriter // used by the goroutine, and by others after it has ended
	rc      *http.ResponseController
	timeout time.Duration
	done    chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex // guards the rest
	changed sync.Cond
	pending []byte
	flushed bool // pending must be written
	closed  bool // nothing will be added
	err     error
}

// newAnswers starts the goroutine; close ends it.
func newAnswers(w http.ResponseWriter, rc *http.ResponseController, timeout time.Duration) *answers {
	a := &answers{w: w, rc: rc, timeout: timeout, done: make(chan struct{})}
	a.changed.L = &a.mu
	go a.write()
	return a
}

// add calls f to append an answer. It waits while too much is pending. It returns
// the error of an earlier write.
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

// flush makes the goroutine write everything that was added. It does not wait.
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

// write runs on the goroutine. It ends after an error, which every later add
// returns.
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
