package offheap

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// region is one anonymous private mapping outside the Go heap: the collector
// neither scans it nor counts it towards its next cycle.
//
// The whole range is reserved at once and the kernel supplies a zeroed page
// when one is first touched. So a region may be as large as the worst case
// asks for and costs address space only. Growth copies nothing, and pointers
// into the region stay valid until free.
//
// Transparent huge pages are switched off for the range: with them one touched
// byte makes 2 MiB resident, and a single live record keeps 2 MiB from being
// returned. The price is TLB reach (a 4 KiB page holds some thirty connection
// records); a fan-out walks records in address order, which hides it.
//
// The reservation is MAP_NORESERVE. A host with vm.overcommit_memory=2 counts
// it all the same, and reserve can then fail with ENOMEM.
//
// A region does not count its bytes: the container on top of it knows which of
// them are in use. A region is owned by one goroutine.
type region struct {
	base unsafe.Pointer // page-aligned; nil after free
	size int            // bytes, a multiple of the page size
}

// maxRegionBytes is half of the user address space of amd64 and arm64 with
// 48-bit addresses: larger requests are mistakes in arithmetic.
const maxRegionBytes = 1 << 46

// errNoOwner is returned where memory was to have no owner: the metrics would
// not show it.
var errNoOwner = errors.New("offheap: memory without an owner")

// reserve maps bytes, rounded up to whole pages. The content reads as zero
// until written.
func (r *region) reserve(owner *Owner, bytes int) error {
	if owner == nil {
		return errNoOwner
	}
	if bytes < 1 || bytes > maxRegionBytes {
		return fmt.Errorf("offheap: region of %d bytes: must be 1 to %d", bytes, maxRegionBytes)
	}
	size := roundUp(bytes, os.Getpagesize())
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return &AddressSpaceError{Owner: owner.name, Want: int64(size), Err: err}
	}
	*r = region{base: p, size: size}
	// EINVAL here means a kernel without transparent huge pages, which is
	// what is being asked for.
	_ = unix.Madvise(r.bytes(), unix.MADV_NOHUGEPAGE)
	return nil
}

// AddressSpaceError says that the kernel refused to reserve address space.
type AddressSpaceError struct {
	Owner string // name of the owner that wanted it
	Want  int64  // bytes that were wanted
	Err   error  // of mmap(2)
}

func (e *AddressSpaceError) Error() string {
	return fmt.Sprintf("offheap: reserve %d bytes of address space for %s: %v", e.Want, e.Owner, e.Err)
}

// Unwrap returns the error of mmap(2).
func (e *AddressSpaceError) Unwrap() error { return e.Err }

// bytes is the whole range, valid until free. Reading a page that was never
// written maps the kernel's shared zero page and costs no memory.
func (r *region) bytes() []byte {
	return unsafe.Slice((*byte)(r.base), r.size)
}

// free unmaps the range; every pointer and slice into it is dead afterwards.
// Calling it again does nothing.
func (r *region) free() {
	if r.base == nil {
		return
	}
	// Fails only for arguments that are not a mapping of ours.
	_ = unix.MunmapPtr(r.base, uintptr(r.size))
	*r = region{}
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
