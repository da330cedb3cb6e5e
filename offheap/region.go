package offheap

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// region is one anonymous private mapping outside the Go heap. The collector
// neither scans it nor counts it for its next cycle.
//
// The whole range is reserved at once, and the kernel supplies a page of zeros when
// it is first touched. So a region can be as large as the worst case needs and
// costs only address space. Growing copies nothing, and pointers into the region
// stay valid until free.
//
// Transparent huge pages are switched off for the range: with them one touched byte
// would make 2 MiB resident, and a single live record would keep 2 MiB. Without
// them more TLB entries are needed (a 4 KiB page holds about thirty connection
// records). A fan-out reads records in the order of their addresses, which hides
// that cost.
//
// The mapping has MAP_NORESERVE. A host with vm.overcommit_memory=2 counts it
// nevertheless, and then reserve can fail with ENOMEM.
//
// A region does not count its bytes: the container that uses it knows which bytes
// are in use. A region belongs to one goroutine.
type region struct {
	base unsafe.Pointer // page-aligned; nil after free
	size int            // bytes, a multiple of the page size
}

// maxRegionBytes is half of the user address space of amd64 and arm64 with 48-bit
// addresses. A larger request is an error of calculation.
const maxRegionBytes = 1 << 46

// errNoOwner is returned for memory without an owner, which the metrics would not
// show.
var errNoOwner = errors.New("offheap: memory without an owner")

// reserve maps bytes, rounded up to whole pages. Their content is zero. If the kernel
// refuses, it returns an *AddressSpaceError.
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
	// EINVAL means that the kernel has no transparent huge pages.
	_ = unix.Madvise(r.bytes(), unix.MADV_NOHUGEPAGE)
	return nil
}

// AddressSpaceError says that the kernel refused to reserve address space.
type AddressSpaceError struct {
	Owner string // name of the memory's owner
	Want  int64  // bytes
	Err   error  // of mmap(2)
}

func (e *AddressSpaceError) Error() string {
	return fmt.Sprintf("offheap: reserve %d bytes of address space for %s: %v", e.Want, e.Owner, e.Err)
}

// Unwrap returns the error of mmap(2).
func (e *AddressSpaceError) Unwrap() error { return e.Err }

// bytes returns the whole range, which is valid until free. Reading a page that was
// never written maps the kernel's shared zero page and costs no memory.
func (r *region) bytes() []byte {
	return unsafe.Slice((*byte)(r.base), r.size)
}

// free unmaps the range. Pointers and slices into it must not be used any more.
// Calling it again does nothing.
func (r *region) free() {
	if r.base == nil {
		return
	}
	// It fails only for an address that is no mapping of this package.
	_ = unix.MunmapPtr(r.base, uintptr(r.size))
	*r = region{}
}

// dontNeed gives the pages from p to p+n back to the kernel. Both are page-aligned.
// It uses MADV_DONTNEED, which acts at once. With MADV_FREE the RSS, which
// operators watch, would stay until the host is short of memory.
func dontNeed(p unsafe.Pointer, n int) bool {
	return unix.Madvise(unsafe.Slice((*byte)(p), n), unix.MADV_DONTNEED) == nil
}

// roundUp returns the smallest multiple of unit that is not below n. unit is a power
// of two.
func roundUp(n, unit int) int {
	return (n + unit - 1) &^ (unit - 1)
}
