package bridge

import "sync"

// workers are the goroutines that run the directions with something to do, in the
// order in which these were woken. They are few (Options.Workers), so their stacks
// are: what crypto/tls needs of a stack is not needed once for each connection.
type workers struct {
	all sync.WaitGroup

	mu          sync.Mutex // guards the fields below
	more        sync.Cond
	first, last *direction // the queue
	closed      bool
}

func newWorkers() *workers {
	w := &workers{}
	w.more.L = &w.mu
	return w
}

// start starts a worker.
func (w *workers) start() { w.all.Go(w.work) }

// work runs directions until close, or until one has made it wait for a socket:
// detach has started another worker then.
func (w *workers) work() {
	for d := w.next(); d != nil; d = w.next() {
		if d.run() {
			return
		}
	}
}

// add puts a direction at the end of the queue. It must not be in the queue.
func (w *workers) add(d *direction) {
	w.mu.Lock()
	if w.last == nil {
		w.first = d
	} else {
		w.last.next = d
	}
	w.last = d
	w.mu.Unlock()
	w.more.Signal()
}

// next waits for a direction; nil: after close.
func (w *workers) next() *direction {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.first == nil && !w.closed {
		w.more.Wait()
	}
	d := w.first
	if d == nil {
		return nil
	}
	if w.first, d.next = d.next, nil; w.first == nil {
		w.last = nil
	}
	return d
}

// close ends the workers when the queue is empty, and waits for that.
func (w *workers) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.more.Broadcast()
	w.all.Wait()
}
