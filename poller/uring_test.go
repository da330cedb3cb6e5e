package poller

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"belfry/offheap"
)

func needUring(t *testing.T) {
	t.Helper()
	u, err := newUring(new(offheap.Owner), stageSends)
	if err != nil {
		t.Skip(err)
	}
	u.close()
}

// The results are those of send(2).
func TestUringResults(t *testing.T) {
	u := testUring(t)
	full, _ := socketPair(t)
	for {
		if _, e := sysSend(int32(full), bytes.Repeat([]byte("x"), 1000)); e == unix.EAGAIN {
			break
		}
	}
	broken, peer := socketPair(t)
	unix.Close(peer)
	for round := range 9 { // 4 entries: the indexes wrap
		fine, reader := socketPair(t)
		text := []byte(fmt.Sprintf("round %d", round))
		for i, fd := range []int{fine, full, broken, 1 << 20} {
			u.prepare(i, int32(fd), text)
		}
		got := make([]int32, 4)
		if taken, e := u.submit(got); taken != 4 || e != 0 {
			t.Fatalf("%d taken, %v", taken, e)
		}
		want := []int32{int32(len(text)), -int32(unix.EAGAIN), -int32(unix.EPIPE), -int32(unix.EBADF)}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("round %d: %v, want %v", round, got, want)
		}
		buf := make([]byte, 100)
		if n, err := unix.Read(reader, buf); err != nil || !strings.HasPrefix(string(buf[:n]), string(text)) {
			t.Errorf("read %q, %v", buf[:max(n, 0)], err)
		}
		unix.Close(fine)
		unix.Close(reader)
	}
}

// testUring makes a ring on the test's own thread.
func testUring(t *testing.T) *uring {
	t.Helper()
	needUring(t)
	runtime.LockOSThread()
	u, err := newUring(new(offheap.Owner), 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		u.close()
		runtime.UnlockOSThread()
	})
	return u
}

// A send that the kernel did not take does not come with a later batch.
func TestUringWithdraws(t *testing.T) {
	u := testUring(t)
	ours, peer := socketPair(t)
	u.prepare(0, int32(ours), []byte("a"))
	fd := u.fd
	u.fd = -1
	got := make([]int32, 1)
	if taken, e := u.submit(got); taken != 0 || e != unix.EBADF {
		t.Fatalf("%d taken, %v", taken, e)
	}
	u.fd = fd
	u.prepare(0, int32(ours), []byte("b"))
	if taken, e := u.submit(got); taken != 1 || e != 0 || got[0] != 1 {
		t.Fatalf("%d taken, %v, %v", taken, e, got)
	}
	buf := make([]byte, 10)
	if n, _ := unix.Read(peer, buf); string(buf[:n]) != "b" {
		t.Errorf("read %q, want \"b\"", buf[:n])
	}
}
