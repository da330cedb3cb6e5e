package bridge

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// pairBuffer is the size of the pair's buffers in bytes. Larger ones would hide
// from the shard that a client reads slowly. The kernel doubles the number and
// counts its own overhead, so some 40 short messages fit (man 7 socket).
const pairBuffer = 16 << 10

// pair is the bridge's end of a socketpair(2) whose other end a shard has.
type pair struct {
	file *os.File
	raw  syscall.RawConn

	// Of read. Owned by the goroutine that reads.
	size int     // of the next buffer
	buf  *[]byte // with the bytes read, nil if none
	n    int
	end  error
	once func(fd uintptr) // made once, so that read does not allocate

	// Of write. Owned by the goroutine that writes.
	writer *direction // detached before write waits
	rest   []byte     // not written yet
	err    error
	again  func(fd uintptr) bool
}

// newPair makes a pair. The caller owns the descriptor for the shard.
func newPair() (p *pair, shard int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, fmt.Errorf("socketpair: %w", err)
	}
	for _, fd := range fds {
		for _, opt := range []int{unix.SO_SNDBUF, unix.SO_RCVBUF} {
			if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, pairBuffer); err != nil {
				unix.Close(fds[0])
				unix.Close(fds[1])
				return nil, -1, fmt.Errorf("socket buffer: %w", err)
			}
		}
	}
	p = &pair{file: os.NewFile(uintptr(fds[0]), "pair"), size: smallBuffer}
	p.raw, _ = p.file.SyscallConn() // fails only for a nil file
	p.once, p.again = p.readOnce, p.writeOnce
	return p, fds[1], nil
}

// read returns what the shard has sent, in a buffer that the caller gives back. It
// does not wait: errAgain says that nothing is there. After every other error the
// shard sends nothing more.
func (p *pair) read() (buf *[]byte, n int, err error) {
	if err := p.raw.Control(p.once); err != nil {
		return nil, 0, err
	}
	buf, p.buf = p.buf, nil
	if p.n <= 0 {
		giveBuffer(buf)
		return nil, 0, p.end
	}
	p.size = smallBuffer
	if p.n == len(*buf) {
		p.size = largeBuffer
	}
	return buf, p.n, nil
}

func (p *pair) readOnce(fd uintptr) {
	p.buf = takeBuffer(p.size)
	var err error
	p.n, err = ignoringEINTR(unix.Read, fd, *p.buf)
	p.end = endOf(err)
}

// write writes all of b. It waits while the shard does not read.
func (p *pair) write(b []byte) error {
	p.rest, p.err = b, nil
	err := p.raw.Write(p.again)
	p.rest = nil
	if err == nil {
		err = p.err
	}
	return err
}

func (p *pair) writeOnce(fd uintptr) bool {
	for len(p.rest) > 0 {
		n, err := ignoringEINTR(unix.Write, fd, p.rest)
		if err == unix.EAGAIN {
			p.writer.detach()
			return false
		}
		if p.err = err; err != nil {
			return true
		}
		p.rest = p.rest[n:]
	}
	return true
}

// closeWrite tells the shard that the client sends nothing more.
func (p *pair) closeWrite() {
	_ = p.raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) })
}

// hungUp says whether the shard has closed its end.
func (p *pair) hungUp() (up bool) {
	return p.raw.Control(func(fd uintptr) { up = hungUp(fd) }) != nil || up
}

// awaitHangUp waits until the shard has closed its end. Only the goroutine that
// reads may call it.
func (p *pair) awaitHangUp() { _ = p.raw.Read(hungUp) }

// hungUp asks for POLLHUP: after shutdown(2) of the other side alone, which may
// still read, it is not set.
func hungUp(fd uintptr) bool {
	set := []unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(set, 0)
	return err == nil && n > 0 && set[0].Revents&unix.POLLHUP != 0
}

func (p *pair) close() { _ = p.file.Close() }

// ignoringEINTR calls read(2) or write(2) until no signal interrupts it.
func ignoringEINTR(call func(fd int, p []byte) (int, error), fd uintptr, p []byte) (n int, err error) {
	for {
		if n, err = call(int(fd), p); err != unix.EINTR {
			return n, err
		}
	}
}
