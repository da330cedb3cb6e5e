// Package floor is the baseline of the figures: a server that does as little as
// possible to push to WebSockets. It accepts, answers 101, keeps the
// descriptors, and on command writes the same bytes to each of them with
// write(2). It keeps no tables, reads nothing after the request, sends no pings
// and does not notice clients that leave.
//
// It is as fast as possible: one SO_REUSEPORT listener and one thread for each
// shard, TCP_DEFER_ACCEPT so that a connection is accepted with its request
// (without readiness events), a 101 computed beforehand for the one key of the
// generator, raw system calls, no garbage collection.
package floor

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"belfry/bench"
)

// Floor is a running floor server.
type Floor struct {
	addr    netip.AddrPort
	clock   bench.Clock
	shards  []*shard
	senders []*sender
	frame   []byte // scratch of Send
	payload []byte // scratch of Send
	closing atomic.Bool
	done    sync.WaitGroup // the accepting threads
}

// shard is one accepting thread.
type shard struct {
	listener int
	mu       sync.Mutex // guards fds
	fds      []int32
}

var response = []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: " + bench.Accept + "\r\n\r\n")

// Listen starts threads accepting threads on addr, an IPv4 address whose port
// may be 0. Close releases everything.
func Listen(addr netip.AddrPort, threads int) (*Floor, error) {
	if threads < 1 || threads > 256 {
		return nil, fmt.Errorf("threads: %d; allowed are 1 to 256", threads)
	}
	f := &Floor{addr: addr, clock: bench.NewClock()}
	for range threads {
		fd, err := f.listen()
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("listen %s: %w", f.addr, err)
		}
		f.shards = append(f.shards, &shard{listener: fd})
	}
	for _, s := range f.shards {
		f.done.Add(1)
		go f.accept(s)
	}
	for range threads {
		f.senders = append(f.senders, startSender())
	}
	return f, nil
}

// Addr returns the address with the port that was given.
func (f *Floor) Addr() netip.AddrPort { return f.addr }

// listen makes one listener. Connections inherit its socket options.
func (f *Floor) listen() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	timeout := unix.Timeval{Sec: 1}
	sent := unix.Timeval{Sec: 5}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 5),
		// A client that sends half a request, or stops reading, blocks a thread
		// only for this time.
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &sent),
	)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(f.addr.Port()), Addr: f.addr.Addr().As4()})
	}
	if err == nil {
		err = unix.Listen(fd, 4096)
	}
	if err == nil && f.addr.Port() == 0 {
		var name unix.Sockaddr
		if name, err = unix.Getsockname(fd); err == nil {
			f.addr = netip.AddrPortFrom(f.addr.Addr(), uint16(name.(*unix.SockaddrInet4).Port))
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// accept is a shard's thread.
func (f *Floor) accept(s *shard) {
	defer f.done.Done()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	head := make([]byte, 4096)
	for !f.closing.Load() {
		fd, _, e := syscall.Syscall6(unix.SYS_ACCEPT4, uintptr(s.listener), 0, 0, unix.SOCK_CLOEXEC, 0, 0)
		if e != 0 {
			if e != unix.EAGAIN && e != unix.EINTR && e != unix.ECONNABORTED {
				return // Close has shut down the listener, or there are no descriptors left: clients notice it
			}
			continue
		}
		s.answer(int32(fd), head)
	}
}

// answer reads the request and answers it. It adds the descriptor to the list
// first, so that a client that has its 101 gets every later message.
func (s *shard) answer(fd int32, head []byte) {
	got := 0
	for {
		n, _, e := syscall.Syscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&head[got])), uintptr(len(head)-got))
		if e != 0 || n == 0 {
			unix.Close(int(fd))
			return
		}
		got += int(n)
		if bytes.HasSuffix(head[:got], []byte("\r\n\r\n")) {
			break
		}
		if got == len(head) {
			unix.Close(int(fd))
			return
		}
	}
	s.mu.Lock()
	s.fds = append(s.fds, fd)
	s.mu.Unlock()
	rawWrite(fd, response)
}

// Count returns the number of connections.
func (f *Floor) Count() int {
	n := 0
	for _, s := range f.shards {
		s.mu.Lock()
		n += len(s.fds)
		s.mu.Unlock()
	}
	return n
}

// Drop closes every connection.
func (f *Floor) Drop() {
	for _, s := range f.shards {
		s.mu.Lock()
		for _, fd := range s.fds {
			unix.Close(int(fd))
		}
		s.fds = nil
		s.mu.Unlock()
	}
}

// Close ends every thread and closes everything.
func (f *Floor) Close() {
	f.closing.Store(true)
	for _, s := range f.shards {
		_ = unix.Shutdown(s.listener, unix.SHUT_RDWR) // wakes accept4
	}
	f.done.Wait()
	f.Drop()
	for _, s := range f.shards {
		unix.Close(s.listener)
	}
	for _, s := range f.senders {
		close(s.jobs)
	}
	f.senders = nil
}

func rawWrite(fd int32, p []byte) bool {
	n, _, e := syscall.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return e == 0 && int(n) == len(p)
}
