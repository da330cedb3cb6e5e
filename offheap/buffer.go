package offheap

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Buffers makes byte buffers for one goroutine. From mappedBuffer bytes on each
// is a mapping of its own outside the Go heap: growing it copies nothing, and it
// is the kernel's again the moment it is freed. On the Go heap the same bytes
// would stay until the next collection and weigh up to four times as much by
// then (GOGC). The zero value makes all of them on the heap.
type Buffers struct {
	owner  *Owner
	most   int // mappings
	mapped int
}

// mappedBuffer is the size in bytes from which on a buffer is a mapping.
const mappedBuffer = 16 << 10

// NewBuffers returns Buffers that keep at most so many mappings at a time and
// make all further buffers on the Go heap: the kernel allows a process 65,530
// mappings (vm.max_map_count).
func NewBuffers(owner *Owner, most int) Buffers { return Buffers{owner: owner, most: most} }

// BufferSize returns the capacity of a buffer that is made for n bytes.
func BufferSize(n int) int {
	if n >= mappedBuffer {
		return roundUp(n, 4096)
	}
	return n
}

// Grow returns a buffer with the content of b and a capacity of BufferSize(n),
// which is above b's. mapped is what Grow said of b, false if b is nil, and is
// returned for the new one. b is gone.
func (m *Buffers) Grow(b []byte, mapped bool, n int) (_ []byte, nowMapped bool) {
	size := BufferSize(n)
	if size < mappedBuffer || !mapped && m.mapped >= m.most {
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

// Free gives a buffer back. Nothing may point into it any more.
func (m *Buffers) Free(b []byte, mapped bool) {
	if mapped {
		// Fails only for arguments that are not a mapping of ours.
		_ = unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(b)), uintptr(cap(b)))
		m.mapped--
		m.owner.Add(-cap(b))
	}
}
