package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// kind says what a frame holds. Its numbers are part of the protocol.
type kind uint8

const (
	// Control connection.
	kindHello       kind = 1  // successor: hello
	kindRefusal     kind = 2  // old: Refusal
	kindInheritance kind = 3  // old: Inheritance, with descriptors
	kindReady       kind = 4  // successor: everything is open
	kindHeritage    kind = 5  // old: sections of the node, with descriptors
	kindPrepared    kind = 6  // successor: it has them
	kindCommit      kind = 7  // old: serve
	kindCommitted   kind = 8  // successor: it serves
	kindAbort       kind = 9  // either: why; the old process goes on
	kindJoin        kind = 10 // successor: token, topic
	kindJoined      kind = 11 // old: token
	kindLeave       kind = 12 // successor: topic
	kindPublish     kind = 13 // successor: token, wait, message
	kindPublished   kind = 14 // old: token, error
	kindOverlap     kind = 15 // old: join the bus beside me; a token
	kindOverlaps    kind = 16 // successor: it has

	// Streams of shards.
	kindBatch    kind = 32 // number, sessions, state; with descriptors
	kindMessage  kind = 33 // a message that sessions before it in the stream are to get
	kindImported kind = 34 // the number of a batch that is served
	kindSent     kind = 35 // the numbers of messages that were sent
	kindEnded    kind = 36 // connections that have ended
	kindReturn   kind = 37 // give everything back
	kindReturned kind = 38 // everything was given back
	kindFence    kind = 39 // no message comes behind it: the old process delivers nothing any more

	// belfry restart.
	kindRestart  kind = 64 // Request
	kindProgress kind = 65 // Progress
	kindDone     kind = 66 // Result

	kindDescriptors kind = 127 // descriptors of the next frame that did not fit
)

// frame is one unit of the protocol: kind (1 byte), number of descriptors (2 bytes,
// big endian), length of the payload (4 bytes), payload.
type frame struct {
	kind    kind
	payload []byte // the receiver's own
	fds     []int  // the receiver's own: it closes them
}

const (
	headSize   = 7
	maxPayload = 1 << 30
	// maxFDs is how many descriptors go with one sendmsg: the kernel takes up to 253
	// (SCM_MAX_FD, man 7 unix).
	maxFDs = 250
	// maxFDsOfFrame bounds the descriptors of one frame: one listener for each shard
	// and port.
	maxFDsOfFrame = 1 << 15
	// sendTime bounds one frame's way into the socket. A peer that reads nothing for as
	// long is taken for dead.
	sendTime = 10 * time.Second
)

// conn carries frames over a unix stream socket. One goroutine at a time may read;
// any may write.
type conn struct {
	sock *net.UnixConn

	// Owned by the reader.
	in  []byte // received, not yet read
	oob []byte
	fds []int // received, not yet given to a frame

	mu  sync.Mutex // of writes
	out []byte
}

func newConn(sock *net.UnixConn) *conn {
	return &conn{sock: sock, oob: make([]byte, unix.CmsgSpace(4*253))}
}

// connOf makes a conn of a descriptor, which it owns from then on, also if there is an
// error.
func connOf(fd int) (*conn, error) {
	f := fileOf(fd, "handover")
	c, err := net.FileConn(f) // a copy
	_ = f.Close()
	if err != nil {
		return nil, err
	}
	sock, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, errors.New("handover: not a unix socket")
	}
	return newConn(sock), nil
}

// close ends the connection. Descriptors that were received and not read are closed by
// the reader, when its read fails.
func (c *conn) close() { _ = c.sock.Close() }

// write sends a frame. The descriptors stay the caller's.
func (c *conn) write(k kind, payload []byte, fds ...int) error {
	if len(payload) > maxPayload || len(fds) > maxFDsOfFrame {
		return fmt.Errorf("handover: %d bytes with %d descriptors; allowed are %d and %d", len(payload), len(fds), maxPayload, maxFDsOfFrame)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.sock.SetWriteDeadline(time.Now().Add(sendTime))
	for len(fds) > maxFDs {
		if err := c.send(kindDescriptors, nil, 0, fds[:maxFDs]); err != nil {
			return err
		}
		fds = fds[maxFDs:]
	}
	return c.send(k, payload, len(fds), fds)
}

func (c *conn) send(k kind, payload []byte, count int, fds []int) error {
	if k == kindDescriptors {
		count = len(fds)
	}
	c.out = append(c.out[:0], byte(k))
	c.out = binary.BigEndian.AppendUint16(c.out, uint16(count))
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(len(payload)))
	c.out = append(c.out, payload...)
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	err := c.sendAll(c.out, rights)
	if cap(c.out) > 1<<20 {
		c.out = nil
	}
	return err
}

// sendAll writes p, and the descriptors with its first byte. If too many descriptors of
// this user are on their way (ETOOMANYREFS), it waits until the peer has read some.
func (c *conn) sendAll(p, rights []byte) error {
	for give := time.Now().Add(sendTime); len(p) > 0; {
		n, _, err := c.sock.WriteMsgUnix(p, rights, nil)
		if errors.Is(err, syscall.ETOOMANYREFS) && time.Now().Before(give) {
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		if n > 0 {
			rights = nil
		}
		p = p[n:]
	}
	return nil
}

// errLost says that the kernel had no room for descriptors that were sent.
var errLost = errors.New("handover: descriptors were lost: the limit of open files (RLIMIT_NOFILE) is too low for both processes' share")

// read returns the next frame. It returns io.EOF when the peer has closed the
// connection between two frames.
func (c *conn) read() (f frame, err error) {
	for {
		if err := c.fill(headSize); err != nil {
			return f, c.drop(err)
		}
		count, size := int(binary.BigEndian.Uint16(c.in[1:])), int(binary.BigEndian.Uint32(c.in[3:]))
		if size > maxPayload {
			return f, c.drop(fmt.Errorf("handover: a frame of %d bytes", size))
		}
		if err := c.fill(headSize + size); err != nil {
			return f, c.drop(err)
		}
		f.kind = kind(c.in[0])
		f.payload = append([]byte(nil), c.in[headSize:headSize+size]...)
		c.in = c.in[headSize+size:]
		if len(c.fds) < len(f.fds)+count {
			return f, c.drop(errLost)
		}
		if f.kind == kindDescriptors {
			f.fds = c.fds[:len(f.fds)+count] // grows until the frame that they belong to
			continue
		}
		total := len(f.fds) + count
		f.fds = append([]int(nil), c.fds[:total]...)
		c.fds = append(c.fds[:0], c.fds[total:]...)
		return f, nil
	}
}

// drop closes descriptors that no frame has got.
func (c *conn) drop(err error) error {
	CloseAll(c.fds)
	c.fds = nil
	return err
}

// fill receives until n bytes are there.
func (c *conn) fill(n int) error {
	if cap(c.in) < n {
		grown := make([]byte, len(c.in), max(n, 64<<10))
		copy(grown, c.in)
		c.in = grown
	}
	for len(c.in) < n {
		k, oobn, flags, _, err := c.sock.ReadMsgUnix(c.in[len(c.in):cap(c.in)], c.oob) // close-on-exec
		if oobn > 0 {
			got, perr := rightsIn(c.oob[:oobn])
			c.fds = append(c.fds, got...)
			if perr != nil {
				return perr
			}
		}
		if flags&unix.MSG_CTRUNC != 0 {
			return errLost
		}
		if k == 0 && (err == nil || errors.Is(err, io.EOF)) {
			if len(c.in) > 0 {
				return io.ErrUnexpectedEOF
			}
			return io.EOF
		}
		if err != nil {
			return err
		}
		c.in = c.in[:len(c.in)+k]
	}
	return nil
}

func rightsIn(oob []byte) (fds []int, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		if got, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds, nil
}

// CloseAll closes descriptors.
func CloseAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
