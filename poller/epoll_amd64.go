package poller

import "unsafe"

// epollEvent is struct epoll_event, which x86-64 packs to 12 bytes (man 2
// epoll_ctl, sys/epoll.h).
type epollEvent struct {
	events uint32
	data   [8]byte
}

func (e *epollEvent) key() uint64       { return *(*uint64)(unsafe.Pointer(&e.data)) }
func (e *epollEvent) setKey(key uint64) { *(*uint64)(unsafe.Pointer(&e.data)) = key }
