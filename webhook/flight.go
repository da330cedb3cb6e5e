package webhook

import "sync"

// flight counts the calls that are not answered yet, and bounds them.
type flight struct {
	maxCalls int
	maxBytes int64

	mu    sync.Mutex // guards what follows
	calls int
	bytes int64
}

// enter takes a place for a call, or returns false. A call that is longer than
// maxBytes has a place if it is alone.
func (f *flight) enter(n int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls >= f.maxCalls || f.calls > 0 && f.bytes+n > f.maxBytes {
		return false
	}
	f.calls++
	f.bytes += n
	return true
}

func (f *flight) leave(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls--
	f.bytes -= n
}

func (f *flight) load() (calls int, bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls, f.bytes
}
