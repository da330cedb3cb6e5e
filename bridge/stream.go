package bridge

import (
	"cmp"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errAgain is returned to crypto/tls when no bytes are there. It says that it is
// temporary, so that the tls.Conn keeps what it has and can be read again.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "no bytes yet" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// Limits of what waits for a client.
const (
	// maxOwed bounds the bytes of TLS that a socket did not take, in bytes. It is
	// more than a record, and than all certificates of a handshake. Beyond it a
	// client demands answers to its key updates and reads none.
	maxOwed = 256 << 10
	// patience is how long a socket may take nothing before the shard's end is
	// looked at.
	patience = time.Second
	// drainTime is how long a client may take for each record that a shard has sent
	// before it closed its end.
	drainTime = 5 * time.Second
)

// errUnread ends a connection that does not read.
var errUnread = errors.New("the client does not read")

// stream is the client's socket as crypto/tls sees it. Its Write never waits, and
// its Read waits only during the handshake. So a goroutine that is inside crypto/tls
// may have a place in the gate and the locks of the tls.Conn.
type stream struct {
	*net.TCPConn
	raw    syscall.RawConn
	gate   gate
	shakes gate // of handshakes
	open   bool // after the handshake

	drain time.Duration // drainTime

	// Of the goroutine that reads.
	ahead   []byte  // received, and not taken by crypto/tls
	buf     *[]byte // that ahead lies in, nil if it is not a pooled one
	end     error   // of the last fetch
	receive func(fd uintptr)

	mu   sync.Mutex // guards the fields below, and the order of what is sent
	owed []byte     // of TLS that the socket did not take
	now  []byte     // of send: what the socket has not taken
	err  error      // of the last send
	send func(fd uintptr)
	more func(fd uintptr) bool
}

func (s *stream) init(tcp *net.TCPConn, all, shakes gate) {
	s.TCPConn, s.gate, s.shakes = tcp, all, shakes
	s.raw, _ = tcp.SyscallConn()                                      // fails only for a nil connection
	s.receive, s.send, s.more = s.receiveOnce, s.sendOnce, s.sendOwed // made once, so that calls do not allocate
}

// enter takes a place in the gate. In the handshake it takes one among handshakes
// before.
func (s *stream) enter() {
	if !s.open {
		s.shakes.enter()
	}
	s.gate.enter()
}

func (s *stream) leave() {
	s.gate.leave()
	if !s.open {
		s.shakes.leave()
	}
}

// Read implements net.Conn for crypto/tls. The caller has a place in the gate.
func (s *stream) Read(p []byte) (n int, err error) {
	if len(s.ahead) == 0 {
		if s.open {
			return 0, errAgain
		}
		s.leave()
		defer s.enter()
		if err = s.flush(nil); err == nil {
			n, err = s.TCPConn.Read(p)
		}
		return n, err
	}
	n = copy(p, s.ahead)
	if s.ahead = s.ahead[n:]; len(s.ahead) == 0 {
		s.dropAhead()
	}
	return n, nil
}

func (s *stream) dropAhead() {
	giveBuffer(s.buf)
	s.ahead, s.buf = nil, nil
}

// fetch receives what the client has sent, which Read then returns. It does not wait:
// errAgain says that nothing is there. It holds a buffer only while bytes are in it.
func (s *stream) fetch() error {
	if err := s.raw.Control(s.receive); err != nil {
		return err
	}
	return s.end
}

func (s *stream) receiveOnce(fd uintptr) {
	buf := takeBuffer(smallBuffer)
	n, err := ignoringEINTR(unix.Read, fd, *buf)
	if n > 0 {
		s.buf, s.ahead, s.end = buf, (*buf)[:n], nil
		return
	}
	giveBuffer(buf)
	s.end = endOf(err)
}

// endOf is the error after a read(2) without bytes.
func endOf(err error) error {
	switch err {
	case nil:
		return io.EOF
	case unix.EAGAIN:
		return errAgain
	}
	return err
}

// Write implements net.Conn for crypto/tls. What the socket does not take at once is
// owed, and flush sends it.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = p
	if len(s.owed) == 0 {
		if err := s.raw.Control(s.send); err != nil {
			s.err = err
		}
	}
	rest := s.now
	s.now = nil
	switch {
	case s.err != nil:
		return len(p) - len(rest), s.err
	case len(s.owed)+len(rest) > maxOwed:
		return len(p) - len(rest), errUnread
	}
	s.owed = append(s.owed, rest...)
	return len(p), nil
}

// sendOnce sends what the socket takes of now. The caller has mu.
func (s *stream) sendOnce(fd uintptr) {
	for len(s.now) > 0 {
		n, err := ignoringEINTR(sendBytes, fd, s.now)
		if err != nil {
			if err != unix.EAGAIN {
				s.err = err
			}
			return
		}
		s.now = s.now[n:]
	}
}

func sendBytes(fd int, p []byte) (int, error) {
	return unix.SendmsgN(fd, p, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// flush sends what is owed. It waits for the client to read; the caller must not
// have a place in the gate. One goroutine at a time may call it. p is the pair with
// the shard: it is looked at while the client does not read, so that a connection
// ends that the shard has closed. During the handshake p is nil, and the socket's
// deadline ends the wait.
func (s *stream) flush(p *pair) error {
	if !s.owes() {
		return nil
	}
	var closed time.Time // when the shard was seen to have closed its end
	for {
		if p != nil {
			_ = s.TCPConn.SetWriteDeadline(time.Now().Add(patience))
		}
		err := s.raw.Write(s.more)
		switch {
		case p == nil:
			return cmp.Or(err, s.failure())
		case !errors.Is(err, os.ErrDeadlineExceeded):
			_ = s.TCPConn.SetWriteDeadline(time.Time{})
			return cmp.Or(err, s.failure())
		case !p.hungUp():
		case closed.IsZero():
			closed = time.Now()
		case time.Since(closed) > s.drain:
			return errUnread
		}
	}
}

func (s *stream) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *stream) owes() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.owed) > 0
}

// sendOwed sends a part of what is owed. It returns true when nothing is owed any
// more, or when the socket has failed.
func (s *stream) sendOwed(fd uintptr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.owed
	s.sendOnce(fd)
	s.owed, s.now = s.now, nil
	if s.err != nil || len(s.owed) == 0 {
		s.owed = nil
		return true
	}
	return false
}

// SetWriteDeadline does nothing: crypto/tls calls it before it sends a close_notify,
// and Write never waits.
func (s *stream) SetWriteDeadline(time.Time) error { return nil }
