package push

import (
	"context"
	"net"
	"net/http"
	"syscall"
	"unsafe"
)

// presence tells whether a client is still there, when that is asked.
//
// net/http watches for it all the time: while a handler runs and the request has
// been read to its end, a goroutine reads one byte ahead, and is woken by a
// deadline before the answer is sent. That costs a push 8 % of its processor
// time, and all that a push wants to know is whether its client has gone away
// while it waited. So conn.Read answers the read of that goroutine at once with
// nothing, and the contexts of requests do not end with their clients.
type presence struct {
	raw  syscall.RawConn
	gone func() bool // made once, so that handing it on costs no allocation
	look func(fd uintptr)
	left bool // what look found
}

func (p *presence) init(c *net.TCPConn) {
	p.raw, _ = c.SyscallConn() // fails only for a nil connection
	p.look = func(fd uintptr) {
		var next byte
		n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&next)), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
		p.left = e == 0 && n == 0 || e != 0 && e != syscall.EAGAIN && e != syscall.EINTR
	}
	p.gone = func() bool { return p.raw.Control(p.look) != nil || p.left }
}

// presence returns what ends when the client of r goes away, and what says
// whether it has. Of a connection that is ours the latter tells, for the
// goroutine that serves; of another one net/http watches the client.
func (c *conn) presence(r *http.Request) (context.Context, func() bool) {
	if c == nil {
		return r.Context(), nil
	}
	return context.Background(), c.client.gone
}
