package push

import (
	"context"
	"net"
	"net/http"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// clientGone checks, when asked, whether a client has closed its connection.
//
// net/http watches for that all the time: while a handler runs and the request was
// read to its end, a goroutine reads one byte ahead. A deadline wakes it before the
// answer is sent. This takes 8 % of the processor time of a push. A push only needs
// to know whether its client has gone away during a wait. So conn.Read returns
// without a byte from the read of that goroutine, and the contexts of requests do
// not end when their clients go away.
type clientGone struct {
	raw  syscall.RawConn
	gone func() bool // reports whether the client has gone away; made once, so that passing it on does not allocate
	look func(fd uintptr)
	left bool // result of look
}

func (p *clientGone) init(c *net.TCPConn) {
	p.raw, _ = c.SyscallConn() // fails only for a nil connection
	p.look = func(fd uintptr) {
		var next byte
		n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&next)), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
		p.left = e == 0 && n == 0 || e != 0 && e != syscall.EAGAIN && e != syscall.EINTR
	}
	p.gone = func() bool { return p.raw.Control(p.look) != nil || p.left }
}

// lookForEnd is look for a connection with TLS, where a close_notify comes before
// FIN, so that there is something to read from a client that has gone away.
func (p *clientGone) lookForEnd(fd uintptr) {
	set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(set, 0)
	p.left = err == nil && n > 0 && set[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}

// whileThere returns a context that ends when the client of r goes away, and a
// function that reports whether it has gone away. For a connection of this package
// only the function works; the goroutine that serves may call it. For another
// connection the context works, because net/http watches the client, and the
// function is nil.
func (c *conn) whileThere(r *http.Request) (context.Context, func() bool) {
	if c == nil {
		return r.Context(), nil
	}
	return context.Background(), c.client.gone
}
