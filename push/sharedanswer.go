package push

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// sharedAnswer renders an answer that many may ask for at the same time. Those who
// ask while it is being rendered wait for the next rendering and share it, so
// that nobody is refused however many ask. While somebody reads a rendering
// slowly it is also given to those who come within sharedAge: what slow readers
// make the server hold grows with time, not with their number.
type sharedAnswer struct {
	render func() (*rendering, error)

	renderMu sync.Mutex // held while rendering

	mu   sync.Mutex // guards the rest
	last *rendering
	next *rendering // what those who come now wait for
}

// sharedAge is how old a rendering may be.
const sharedAge = time.Second

// rendering is an answer, never changed once done is closed.
type rendering struct {
	status int
	header http.Header
	body   []byte
	err    error

	done    chan struct{}
	begun   time.Time
	readers int // by how many; guarded by shared.mu
}

// get returns a rendering, which release gives back when it has been written.
func (s *sharedAnswer) get() *rendering {
	s.mu.Lock()
	if last := s.last; last != nil && last.readers > 0 && time.Since(last.begun) < sharedAge {
		last.readers++
		s.mu.Unlock()
		return last
	}
	r := s.next
	first := r == nil
	if first {
		r = &rendering{done: make(chan struct{})}
		s.next = r
	}
	r.readers++
	s.mu.Unlock()
	if first {
		s.fill(r)
	}
	<-r.done
	return r
}

// fill renders r. A panic is everybody's error who waits for it.
func (s *sharedAnswer) fill(r *rendering) {
	s.renderMu.Lock()
	defer s.renderMu.Unlock()
	s.mu.Lock()
	s.next = nil // who comes from now on may want what is newer
	s.mu.Unlock()
	defer close(r.done)
	defer func() {
		if v := recover(); v != nil {
			r.err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	r.begun = time.Now()
	got, err := s.render()
	r.status, r.header, r.body, r.err = got.status, got.header, got.body, err
	s.mu.Lock()
	s.last = r
	s.mu.Unlock()
}

func (s *sharedAnswer) release(r *rendering) {
	s.mu.Lock()
	if r.readers--; r.readers == 0 && s.last == r {
		s.last = nil
	}
	s.mu.Unlock()
}
