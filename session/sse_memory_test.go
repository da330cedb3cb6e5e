package session

import (
	"bytes"
	"fmt"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// An idle session of an event stream takes as much memory as one of a WebSocket:
// what both have is the same record, uid and subscription.
func TestSSEMemory(t *testing.T) {
	n := 4000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n = min(n, (int(limit.Cur)-spareDescriptors)/2)
	webSocket := idleMemory(t, n, "/ws", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n")
	stream := idleMemory(t, n, "/sse", "")
	t.Logf("bytes for each of %d idle sessions: %d of a WebSocket, %d of an event stream", n, webSocket, stream)
	if webSocket < 100 || stream > webSocket+16 {
		t.Errorf("an idle event stream takes %d bytes, a WebSocket %d; allowed are 16 more", stream, webSocket)
	}
}

// idleMemory returns the bytes, on the Go heap and outside it, that each of n
// sessions takes.
func idleMemory(t *testing.T, n int, path, fields string) (each int64) {
	t.Run(path, func(t *testing.T) {
		r := sseRig(t, Options{Poller: onePoller()})
		used := func() (sum int64) {
			for range 3 { // what pools keep lives for two collections
				runtime.GC()
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			sum = int64(m.HeapAlloc)
			for _, b := range r.opt.Poller.Memory.Bytes() {
				sum += b
			}
			return sum
		}
		first := r.idle(t, path, fields, 0) // what the first session brings to the shard stays
		clients := make([]int, n)
		before := used()
		for i := range clients {
			clients[i] = r.idle(t, path, fields, i+1)
		}
		each = (used() - before) / int64(n)
		runtime.KeepAlive(clients)
		for _, fd := range append(clients, first) {
			unix.Close(fd)
		}
		eventually(t, "all gone", func() bool { return r.Stats().Sessions == 0 })
	})
	return each
}

// idle opens a session whose client is a bare descriptor, so that clients take
// nothing of the heap.
func (r *rig) idle(t *testing.T, path, fields string, number int) (fd int) {
	t.Helper()
	at := r.Addrs()[0]
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		t.Fatal(err)
	}
	request := fmt.Appendf(nil, "GET %s?uid=user-%011d&topic=topic-%d HTTP/1.1\r\nHost: x\r\n%s\r\n", path, number, number%100, fields)
	if _, err := unix.Write(fd, request); err != nil {
		t.Fatal(err)
	}
	var head [1 << 10]byte
	if m, err := unix.Read(fd, head[:]); err != nil || !bytes.HasPrefix(head[:m], []byte("HTTP/1.1 101 ")) && !bytes.HasPrefix(head[:m], []byte("HTTP/1.1 200 ")) {
		t.Fatalf("%q, %v", head[:m], err)
	}
	return fd
}
