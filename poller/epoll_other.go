//go:build !amd64

package poller

// epollEvent is struct epoll_event where it is not packed.
type epollEvent struct {
	events uint32
	_      uint32
	data   uint64
}

func (e *epollEvent) key() uint64       { return e.data }
func (e *epollEvent) setKey(key uint64) { e.data = key }
