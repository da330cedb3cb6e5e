package bridge

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// poll says which directions have something to read, by an epoll instance (man 7
// epoll). So an idle connection has no goroutine. With a goroutine that waits in
// Read for each direction it had two, with 4 KiB of stack each.
//
// Events are edge-triggered: a direction reads until EAGAIN before it is idle.
type poll struct {
	file   *os.File // Go's poller waits for the instance: that wait takes no thread
	fd     int      // of file, until close
	raw    syscall.RawConn
	events [128]unix.EpollEvent // of run

	mu sync.Mutex // guards by. Before the lock of workers
	by map[int32]*direction
}

func newPoll() (*poll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("bridge: epoll: %w", err)
	}
	_ = unix.SetNonblock(fd, true) // a sign for os.NewFile: it gives the descriptor to Go's poller
	p := &poll{file: os.NewFile(uintptr(fd), "epoll"), fd: fd, by: map[int32]*direction{}}
	p.raw, _ = p.file.SyscallConn() // fails only for a nil file
	return p, nil
}

// run wakes directions until close.
func (p *poll) run() {
	for p.raw.Read(p.wake) == nil {
	}
}

// wake wakes the directions that have events. It returns false if none has.
func (p *poll) wake(epoll uintptr) bool {
	n, err := unix.EpollWait(int(epoll), p.events[:], 0)
	if n <= 0 {
		return err == unix.EINTR
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events[:n] {
		// The descriptor may have been closed since, and be another connection's now:
		// to be woken without need harms nobody.
		if d := p.by[e.Fd]; d != nil {
			d.wake()
		}
	}
	return true
}

// add watches the socket that a direction reads.
func (p *poll) add(socket syscall.RawConn, d *direction) error {
	var failed error
	err := socket.Control(func(fd uintptr) {
		d.fd = int32(fd)
		p.mu.Lock()
		p.by[d.fd] = d
		p.mu.Unlock()
		failed = unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, int(fd),
			&unix.EpollEvent{Fd: d.fd, Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET})
	})
	if err == nil {
		err = failed
	}
	return err
}

// remove forgets a direction. The kernel does so when the socket is closed.
func (p *poll) remove(d *direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by[d.fd] == d {
		delete(p.by, d.fd)
	}
}

func (p *poll) close() { _ = p.file.Close() }
