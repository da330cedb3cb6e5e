package handover

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// pair returns two connected conns.
func pair(t testing.TB) (a, b *conn) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if a, err = connOf(fds[0]); err != nil {
		t.Fatal(err)
	}
	if b, err = connOf(fds[1]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.close(); b.close() })
	return a, b
}

// openFiles returns how many descriptors this process has.
func openFiles(t testing.TB) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// Descriptors come with their frame, in order, also more than one sendmsg may carry.
func TestFrames(t *testing.T) {
	a, b := pair(t)
	before := openFiles(t)
	var files []int
	for range 600 {
		fd, err := unix.MemfdCreate("frame", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, fd)
	}
	sent := []struct {
		k       kind
		payload []byte
		fds     []int
	}{
		{kindReady, nil, nil},
		{kindBatch, []byte("three"), files[:3]},
		{kindMessage, bytes.Repeat([]byte("m"), 300<<10), nil},
		{kindInheritance, []byte("many"), files[3:]},
		{kindBatch, nil, files[:1]},
	}
	failed := make(chan error, 1)
	go func() {
		for _, f := range sent {
			if err := a.write(f.k, f.payload, f.fds...); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	for i, want := range sent {
		f, err := b.read()
		if err != nil {
			t.Fatal(err)
		}
		if f.kind != want.k || !bytes.Equal(f.payload, want.payload) || len(f.fds) != len(want.fds) {
			t.Fatalf("frame %d: kind %d, %d bytes, %d descriptors", i, f.kind, len(f.payload), len(f.fds))
		}
		for j, fd := range f.fds {
			if !sameFile(t, fd, want.fds[j]) {
				t.Fatalf("frame %d: descriptor %d is another file", i, j)
			}
			if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
				t.Fatal("a descriptor would be inherited by programs that this process starts")
			}
		}
		CloseAll(f.fds)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	CloseAll(files)
	if now := openFiles(t); now != before {
		t.Errorf("%d descriptors, before %d", now, before)
	}
	a.close()
	if _, err := b.read(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

func sameFile(t *testing.T, a, b int) bool {
	var x, y unix.Stat_t
	if err := errors.Join(unix.Fstat(a, &x), unix.Fstat(b, &y)); err != nil {
		t.Fatal(err)
	}
	return x.Ino == y.Ino && x.Dev == y.Dev
}

// A frame may arrive in any pieces; descriptors of a frame that does not come whole are
// closed.
func TestFrameSplit(t *testing.T) {
	whole := []byte{byte(kindEnded), 0, 0, 0, 0, 0, 3, 'a', 'b', 'c'}
	for at := range len(whole) + 1 {
		a, b := pair(t)
		go func() {
			_, _ = a.sock.Write(whole[:at])
			if at < len(whole) {
				_, _ = a.sock.Write(whole[at:])
			}
		}()
		f, err := b.read()
		if err != nil || f.kind != kindEnded || string(f.payload) != "abc" {
			t.Fatalf("split at %d: %+v, %v", at, f, err)
		}
	}
	before := openFiles(t)
	a, b := pair(t)
	if _, _, err := a.sock.WriteMsgUnix([]byte{byte(kindBatch), 0, 2, 0, 0}, unix.UnixRights(0, 1), nil); err != nil {
		t.Fatal(err)
	}
	a.close()
	if _, err := b.read(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a frame: %v", err)
	}
	b.close()
	if now := openFiles(t); now != before {
		t.Errorf("%d descriptors, before %d", now, before)
	}
}

// A frame whose descriptors are missing is an error: they were lost, because there was
// no room for them.
func TestFrameWithoutDescriptors(t *testing.T) {
	a, b := pair(t)
	if _, err := a.sock.Write([]byte{byte(kindBatch), 0, 1, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.read(); !errors.Is(err, errLost) {
		t.Errorf("%v", err)
	}
}

// FuzzFrames: whatever the other process sends, read ends with frames or an error.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{byte(kindReady), 0, 0, 0, 0, 0, 0})
	f.Add([]byte{byte(kindDescriptors), 0, 1, 0, 0, 0, 0})
	f.Add([]byte{byte(kindBatch), 0, 0, 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > 7 && p[3] > 0 { // a large frame: its memory is not what is tested
			p[3], p[4] = 0, 0
		}
		a, b := pair(t)
		go func() { _, _ = a.sock.Write(p); a.close() }()
		total := 0
		for {
			fr, err := b.read()
			if err != nil {
				break
			}
			if total += headSize + len(fr.payload); total > len(p) {
				t.Fatalf("%d bytes of frames in %d", total, len(p))
			}
		}
		a.close()
		b.close()
	})
}
