//go:build linux

// Package linux is there on Linux alone. Its folder's name is what a build for
// another system says: epoll, io_uring and the rest of the poller are Linux's.
package linux
