package offheap

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Buffers makes byte buffers for one goroutine. A buffer of 16 KiB or more is a
// mapping of its own outside the Go heap: growing it copies nothing, and the kernel
// gets the memory back as soon as it is freed. On the Go heap the memory would stay
// until the next collection, and because of GOGC the heap could take up to four
// times as much until then. The zero value makes all buffers on the Go heap.
type Buffers struct {
	owner     *Owner
	maxMapped int // mappings allowed
	mapped    int // mappings in use
}

// mappedBuffer is the size in bytes from which on a buffer is a mapping.
const mappedBuffer = 16 << 10

// NewBuffers returns Buffers that have at most maxMapped mappings at a time. Further
// buffers are made on the Go heap: the kernel allows a process 65,530 mappings
// (vm.max_map_count).
func NewBuffers(owner *Owner, maxMapped int) Buffers {
	return Buffers{owner: owner, maxMapped: maxMapped}
}

// BufferSize returns the capacity in bytes of a buffer that is made for n bytes.
func BufferSize(n int) int {
	if n >= mappedBuffer {
		return roundUp(n, 4096)
	}
	return n
}

// Grow returns a buffer with the content of b and the capacity BufferSize(n), which
// must be larger than that of b. mapped is what Grow returned with b, or false if b
// is nil. nowMapped belongs to the new buffer and is for the next Grow or Free. b
// must not be used any more.
func (m *Buffers) Grow(b []byte, mapped bool, n int) (_ []byte, nowMapped bool) {
	size := BufferSize(n)
	if size < mappedBuffer || !mapped && m.mapped >= m.maxMapped {
		return append(make([]byte, 0, size), b...), false
	}
	if mapped {
		p, err := unix.MremapPtr(unsafe.Pointer(unsafe.SliceData(b)), uintptr(cap(b)), nil, uintptr(size), unix.MREMAP_MAYMOVE)
		if err == nil {
			m.owner.Add(size - cap(b))
			return unsafe.Slice((*byte)(p), size)[:len(b)], true
		}
		heap := append(make([]byte, 0, size), b...)
		m.Free(b, true)
		return heap, false
	}
	var r region
	if r.reserve(m.owner, size) != nil {
		return append(make([]byte, 0, size), b...), false
	}
	m.mapped++
	m.owner.Add(r.size)
	return append(r.bytes()[:0], b...), true
}

// Free gives a buffer back. mapped is what Grow returned with it. No pointer or
// slice into it may be used any more.
func (m *Buffers) Free(b []byte, mapped bool) {
	if mapped {
		// It fails only for an address that is no mapping of this package.
		_ = unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(b)), uintptr(cap(b)))
		m.mapped--
		m.owner.Add(-cap(b))
	}
}
