//go:build linux

// Package linux can be built only on Linux. The name of its folder appears in
// the error of a build for another system: epoll, io_uring and the rest of the
// poller need Linux.
package linux
