package push

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// sharedAnswer renders an answer that many clients may request at the same time.
// Requests that come during a rendering wait for the next one and share it, so that
// no request is refused, whatever their number. While a slow client still reads a
// rendering, requests within sharedAge of its beginning get it too. So the memory
// that slow clients make the server hold grows with time, and not with their
// number.
type sharedAnswer struct {
	render func() (*rendering, error)

	renderMu sync.Mutex // held while rendering

	mu   sync.Mutex // guards the rest
	last *rendering // the newest complete rendering, nil without readers
	next *rendering // the rendering for which requests wait, nil for none
}

// sharedAge is the age up to which a rendering is given to further requests.
const sharedAge = time.Second

// rendering is an answer. It does not change after done was closed.
type rendering struct {
	status int
	header http.Header
	body   []byte
	err    error

	done    chan struct{}
	begun   time.Time
	readers int // requests that use it; guarded by sharedAnswer.mu
}

// get returns a rendering. The caller must call release after writing it.
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

// fill renders r. After a panic all requests that wait for r get an error.
func (s *sharedAnswer) fill(r *rendering) {
	s.renderMu.Lock()
	defer s.renderMu.Unlock()
	s.mu.Lock()
	s.next = nil // requests from now on need a newer rendering
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

// release gives back a rendering that get returned.
func (s *sharedAnswer) release(r *rendering) {
	s.mu.Lock()
	if r.readers--; r.readers == 0 && s.last == r {
		s.last = nil
	}
	s.mu.Unlock()
}
