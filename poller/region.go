package poller

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Region is one anonymous private mapping outside the Go heap: the collector
// neither scans it nor counts it towards its next cycle.
//
// The whole range is reserved at once and the kernel supplies a zeroed page
// when one is first touched. So a Region may be as large as the worst case
// asks for and costs address space only; what lives in it never has to be
// copied in order to grow, and pointers into it stay valid until Free.
//
// Transparent huge pages are switched off for the range: with them one touched
// byte makes 2 MiB resident, and a single live record keeps 2 MiB from being
// returned. The price is TLB reach (a 4 KiB page holds some thirty connection
// records); a fan-out walks records in address order, which hides it.
//
// The reservation is MAP_NORESERVE. A host with vm.overcommit_memory=2 counts
// it all the same, and NewRegion can then fail with ENOMEM.
//
// A Region is owned by one goroutine.
type Region struct {
	base unsafe.Pointer // page-aligned; nil after Free
	size int            // bytes, a multiple of the page size
}

// maxRegionBytes is half of the user address space of amd64 and arm64 with
// 48-bit addresses: larger requests are mistakes in arithmetic.
const maxRegionBytes = 1 << 46

// NewRegion reserves bytes, rounded up to whole pages. The content reads as
// zero until written.
func NewRegion(bytes int) (*Region, error) {
	r := new(Region)
	if err := r.reserve(bytes); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Region) reserve(bytes int) error {
	if bytes < 1 || bytes > maxRegionBytes {
		return fmt.Errorf("poller: region of %d bytes: must be 1 to %d", bytes, maxRegionBytes)
	}
	size := roundUp(bytes, os.Getpagesize())
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return &AddressSpaceError{Want: int64(size), Err: err}
	}
	*r = Region{base: p, size: size}
	// EINVAL here means a kernel without transparent huge pages, which is
	// what is being asked for.
	_ = unix.Madvise(r.Bytes(), unix.MADV_NOHUGEPAGE)
	return nil
}

// AddressSpaceError says that the kernel gave no address space for tables.
type AddressSpaceError struct {
	Want int64 // bytes of the table that found none
	Err  error
}

func (e *AddressSpaceError) Error() string {
	return fmt.Sprintf("poller: reserve %d bytes of address space: %v", e.Want, e.Err)
}
func (e *AddressSpaceError) Unwrap() error { return e.Err }

// Bytes is the whole range, valid until Free. Reading a page that was never
// written maps the kernel's shared zero page and costs no memory.
func (r *Region) Bytes() []byte {
	return unsafe.Slice((*byte)(r.base), r.size)
}

// Release gives the whole pages inside [off, off+n) back to the kernel and
// returns how many bytes that was. They read as zero from then on. Pages that
// lie only partly in the range are left alone.
func (r *Region) Release(off, n int) int {
	if off < 0 || n <= 0 || off >= r.size {
		return 0
	}
	end := r.size
	if n < r.size-off {
		end = off + n
	}
	page := os.Getpagesize()
	first, last := roundUp(off, page), end&^(page-1)
	if first >= last || !dontNeed(unsafe.Add(r.base, first), last-first) {
		return 0
	}
	return last - first
}

// Free unmaps the range; every pointer and slice into it is dead afterwards.
// Calling it again does nothing.
func (r *Region) Free() {
	if r.base == nil {
		return
	}
	// Fails only for arguments that are not a mapping of ours.
	_ = unix.MunmapPtr(r.base, uintptr(r.size))
	*r = Region{}
}

// dontNeed drops the pages of [p, p+n), both page-aligned. MADV_DONTNEED acts
// at once, where MADV_FREE would leave RSS as it is until the host is short of
// memory, and an operator watches RSS.
func dontNeed(p unsafe.Pointer, n int) bool {
	return unix.Madvise(unsafe.Slice((*byte)(p), n), unix.MADV_DONTNEED) == nil
}

// roundUp returns the smallest multiple of unit, a power of two, that is ≥ n.
func roundUp(n, unit int) int {
	return (n + unit - 1) &^ (unit - 1)
}
