package poller

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// socketPair returns both ends of a stream. The first holds no more than a
// few KiB of what the second does not read.
func socketPair(t testing.TB) (ours int, peer int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		// The kernel doubles it and raises it to its minimum (man 7 socket).
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1); err != nil {
			t.Fatal(err)
		}
	}
	return fds[0], fds[1]
}

// pair adopts one end of a stream and returns the other, which nobody reads,
// and the connection's ID. The rig's open hook must be reportID.
func (r *rig) pair(shard int) (net.Conn, ID) {
	r.t.Helper()
	ours, peer := socketPair(r.t)
	c := fileConn(r.t, peer)
	return c, r.adopt(shard, Socket{FD: ours})
}

func (r *rig) adopt(shard int, sock Socket) ID {
	r.t.Helper()
	id := make(chan ID, 1)
	sock.State = id
	// A piece of mail gives its place back a moment after it was seen.
	err := r.Adopt(shard, sock)
	for ; err == ErrMailboxFull; err = r.Adopt(shard, sock) {
		runtime.Gosched()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	select {
	case got := <-id:
		return got
	case <-time.After(time.Minute):
		r.t.Fatal("adopted socket was not opened")
		return 0
	}
}

func reportID(s *Shard, slot uint32, state any) {
	if c, ok := state.(chan ID); ok {
		c <- s.ID(slot)
	}
}

// backlogRig has one shard on which tests run functions, and which closes
// nothing by itself.
func backlogRig(t testing.TB, o Options) *rig {
	o.Shards = 1
	return newRig(t, o, func(h *echoHandler) {
		h.mail = runMail
		h.open = reportID
	})
}

// numbered makes a frame that begins with its number and ends with a newline.
func numbered(n, size int, key uint64) *Frame {
	head := fmt.Sprintf("%08d ", n)
	return NewFrame([]byte(head+strings.Repeat("x", size-len(head)-1)+"\n"), key)
}

// sendUntil sends numbered frames, from the given number on, until one gives
// the result, and returns that one's number.
func (r *rig) sendUntil(id ID, from, size int, want SendResult) (n int) {
	r.t.Helper()
	var got SendResult
	r.on(0, func(s *Shard) {
		for n = from; n < from+100000; n++ {
			if got = s.sendNow(id.Slot(), Shared(NewFrames(numbered(n, size, 0))), Data); got == want || got > want {
				return
			}
		}
	})
	if got != want {
		r.t.Fatalf("frame %d: result %d, want %d", n, got, want)
	}
	return n
}

// sendNow sends a payload that must not be staged, and returns what became of
// it. The handler is not told.
func (s *Shard) sendNow(slot uint32, p Payload, class Class) SendResult {
	s.Submit()
	return s.sender.sendNow(slot, s.at(slot), p, class)
}

// backlogOf returns how much waits to be sent to a connection.
func (s *Shard) backlogOf(slot uint32) (frames, bytes int) {
	if q := s.sender.backlogs.of(s.at(slot)); q != nil {
		return q.n, q.bytes
	}
	return 0, 0
}

func (r *rig) backlog(id ID) (frames, bytes int) {
	r.on(int(0), func(s *Shard) { frames, bytes = s.backlogOf(id.Slot()) })
	return frames, bytes
}

// lines reads n lines, of which each must be whole.
func lines(t *testing.T, c io.Reader, n int) []string {
	t.Helper()
	r := bufio.NewReader(c)
	var got []string
	for range n {
		l, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %d lines of %d: %q, %v", len(got), n, l, err)
		}
		got = append(got, strings.TrimRight(l, "x\n"))
	}
	return got
}

// waitsFor returns the events that a shard's epoll set waits for on a
// descriptor.
func waitsFor(t *testing.T, epfd, fd int) uint32 {
	t.Helper()
	events, ok := watched(t, epfd, fd)
	if !ok {
		t.Fatalf("descriptor %d is not in the set", fd)
	}
	return events
}

// watched says whether a descriptor is in an epoll set, and for which events
// (man 5 proc, fdinfo of an epoll descriptor).
func watched(t *testing.T, epfd, fd int) (events uint32, ok bool) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", epfd))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(string(b), "\n") {
		var tfd int
		if n, _ := fmt.Sscanf(l, "tfd: %d events: %x", &tfd, &events); n == 2 && tfd == fd {
			return events, true
		}
	}
	return 0, false
}
