package poller

import (
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// resident returns how many bytes of [p, p+n) are in memory (man 2 mincore).
func resident(t testing.TB, p unsafe.Pointer, n int) int {
	t.Helper()
	page := os.Getpagesize()
	in := make([]byte, (n+page-1)/page)
	if len(in) == 0 {
		return 0
	}
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(p), uintptr(n), uintptr(unsafe.Pointer(&in[0])))
	if errno != 0 {
		t.Fatalf("mincore: %v", errno)
	}
	bytes := 0
	for _, b := range in {
		bytes += int(b&1) * page
	}
	return bytes
}

func (r *Region) resident(t testing.TB) int { return resident(t, r.base, r.size) }

// mapped reports whether there is a mapping at p.
func mapped(p unsafe.Pointer) bool {
	var in [1]byte
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(p), 1, uintptr(unsafe.Pointer(&in[0])))
	return errno != unix.ENOMEM
}

func TestRegionTouchesNothingUntilWritten(t *testing.T) {
	page := os.Getpagesize()
	r, err := NewRegion(1 << 34)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Free()
	if got := r.resident(t); got != 0 {
		t.Fatalf("fresh region has %d resident bytes", got)
	}
	b := r.Bytes()
	if len(b) != 1<<34 || cap(b) != len(b) {
		t.Fatalf("len %d cap %d", len(b), cap(b))
	}
	b[0], b[len(b)-1] = 1, 1
	// The first touch must not have brought in a huge page.
	if got := r.resident(t); got != 2*page {
		t.Fatalf("two touched pages, %d resident bytes", got)
	}
}

func TestRegionRelease(t *testing.T) {
	page := os.Getpagesize()
	r, err := NewRegion(8*page - 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Free()
	if len(r.Bytes()) != 8*page {
		t.Fatalf("%d bytes, want whole pages", len(r.Bytes()))
	}
	fill := func() {
		for i := range r.Bytes() {
			r.Bytes()[i] = 0xff
		}
	}
	for _, c := range []struct{ off, n, want int }{
		{0, 8 * page, 8 * page},
		{0, 1 << 40, 8 * page},
		{1, 2 * page, page},
		{page, page, page},
		{page + 1, page, 0},
		{0, page - 1, 0},
		{0, 0, 0},
		{0, -5, 0},
		{-1, page, 0},
		{8 * page, page, 0},
		{7 * page, 2 * page, page},
	} {
		fill()
		if got := r.Release(c.off, c.n); got != c.want {
			t.Errorf("Release(%d, %d) = %d, want %d", c.off, c.n, got, c.want)
		}
		if got := 8*page - r.resident(t); got != c.want {
			t.Errorf("Release(%d, %d) gave back %d, want %d", c.off, c.n, got, c.want)
		}
		zeros := strings.Count(string(r.Bytes()), "\x00")
		if zeros != c.want {
			t.Errorf("Release(%d, %d): %d bytes read as zero, want %d", c.off, c.n, zeros, c.want)
		}
	}
}

func TestRegionErrors(t *testing.T) {
	for _, n := range []int{0, -1, 1 << 60} {
		if _, err := NewRegion(n); err == nil {
			t.Errorf("NewRegion(%d) succeeded", n)
		}
	}
	// More than the address space has left: the kernel refuses, nothing panics.
	var all []*Region
	defer func() {
		for _, r := range all {
			r.Free()
		}
	}()
	for range 64 {
		r, err := NewRegion(maxRegionBytes)
		if err != nil {
			return
		}
		all = append(all, r)
	}
	t.Error("64 regions of 64 TiB fit")
}

func TestRegionFreeTwice(t *testing.T) {
	r, err := NewRegion(1)
	if err != nil {
		t.Fatal(err)
	}
	base := r.base
	r.Free()
	if mapped(base) {
		t.Error("still mapped after Free")
	}
	r.Free()
	if len(r.Bytes()) != 0 {
		t.Error("bytes after Free")
	}
}
