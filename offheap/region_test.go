package offheap

import (
	"errors"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// resident returns how many bytes from p to p+n are in memory (man 2 mincore).
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

func (r *region) resident(t testing.TB) int { return resident(t, r.base, r.size) }

func newRegion(t testing.TB, bytes int) *region {
	t.Helper()
	r := new(region)
	if err := r.reserve(new(Owner), bytes); err != nil {
		t.Fatal(err)
	}
	return r
}

// mapped says whether there is a mapping at p.
func mapped(p unsafe.Pointer) bool {
	var in [1]byte
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(p), 1, uintptr(unsafe.Pointer(&in[0])))
	return errno != unix.ENOMEM
}

func TestRegionTouchesNothingUntilWritten(t *testing.T) {
	page := os.Getpagesize()
	r := newRegion(t, 1<<34)
	defer r.free()
	if got := r.resident(t); got != 0 {
		t.Fatalf("fresh region has %d resident bytes", got)
	}
	b := r.bytes()
	if len(b) != 1<<34 || cap(b) != len(b) {
		t.Fatalf("len %d cap %d", len(b), cap(b))
	}
	b[0], b[len(b)-1] = 1, 1
	// The first touch must not make a huge page resident.
	if got := r.resident(t); got != 2*page {
		t.Fatalf("two touched pages, %d resident bytes", got)
	}
}

func TestRegionErrors(t *testing.T) {
	for _, n := range []int{0, -1, 1 << 60} {
		if err := new(region).reserve(new(Owner), n); err == nil {
			t.Errorf("a region of %d bytes", n)
		}
	}
	// A request for more than the free address space is refused by the kernel, and
	// nothing panics.
	var all []region
	defer func() {
		for i := range all {
			all[i].free()
		}
	}()
	for range 64 {
		var r region
		if err := r.reserve(&Owner{name: "tests"}, maxRegionBytes); err != nil {
			var none *AddressSpaceError
			if !errors.As(err, &none) || none.Owner != "tests" || none.Want != maxRegionBytes || !errors.Is(err, unix.ENOMEM) {
				t.Errorf("the error is %v", err)
			}
			return
		}
		all = append(all, r)
	}
	t.Error("64 regions of 64 TiB fit")
}

func TestRegionFreeTwice(t *testing.T) {
	r := newRegion(t, 1)
	base := r.base
	r.free()
	if mapped(base) {
		t.Error("still mapped after Free")
	}
	r.free()
	if len(r.bytes()) != 0 {
		t.Error("bytes after Free")
	}
}
