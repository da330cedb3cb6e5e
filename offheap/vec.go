package offheap

import (
	"fmt"
	"math/bits"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Vec is the header of a growable vector of uint32, for example the members of a
// topic. It has no Go pointers, so it may be part of a record. A zero Vec is the
// empty vector, which has no storage. A Vec must always be used with the same Vecs.
// It may be moved, but not copied: the other copy would not notice when the storage
// moves.
type Vec struct {
	off int64  // of the storage: bytes from Vecs.base
	n   uint32 // entries
	cap uint32 // capacity in entries, a power of two or 0
}

// Len returns the number of entries.
func (v *Vec) Len() int { return int(v.n) }

const (
	vecMin     = 4   // entries of the smallest class
	vecSmall   = 512 // entries of the largest class; a larger vector has a mapping of its own
	vecClasses = 8   // 4, 8 … 512
	vecMax     = 1 << 29
	vecSpare   = 16 // additional vectors of a class: a vector that grows takes room in two
)

// Vecs keeps the storage of vectors outside the Go heap. The storage of a vector of
// up to 512 entries is a record in a slab; their sizes are powers of two. A larger
// vector has a mapping of its own: the kernel grows it with mremap, without copying,
// and capacity beyond the last entry costs nothing until it is used. The capacity
// is halved when less than a quarter of it is used.
//
// A Vecs belongs to one goroutine.
type Vecs struct {
	base   unsafe.Pointer // of region; Vec.off counts from here
	slabs  [vecClasses]Slab
	owner  *Owner
	region region
	mapped int // bytes of the mappings of large vectors, counted completely
}

// NewVecs reserves room for max vectors, 1 to 2^28. entries is the number of entries
// of all vectors together, 1 or more. (A vector uses at least a quarter of its capacity,
// so fewer vectors of the larger classes are possible.) It returns an error for
// other values, and an *AddressSpaceError if the kernel refuses.
func NewVecs(owner *Owner, max, entries int) (*Vecs, error) {
	if max < 1 || max > 1<<28 || entries < 1 {
		return nil, fmt.Errorf("offheap: room for %d vectors of %d entries: must be 1 to %d, of 1 or more", max, entries, 1<<28)
	}
	a := &Vecs{owner: owner}
	room := func(class int) int { return min(max, entries*4/(vecMin<<class)+vecSpare) }
	if err := carve(owner, &a.region, a.slabs[:], room, func(class int) int { return vecMin * 4 << class }); err != nil {
		return nil, err
	}
	a.base = a.region.base
	return a, nil
}

// Slice returns the entries. They may be changed. The slice is valid until the
// vector's next Append, SwapRemove or Free.
func (a *Vecs) Slice(v *Vec) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Add(a.base, v.off)), v.n)
}

// Get returns entry i, which must be below v.Len().
func (a *Vecs) Get(v *Vec, i int) uint32 { return *a.at(v, uint32(i)) }

// Set changes entry i, which must be below v.Len().
func (a *Vecs) Set(v *Vec, i int, x uint32) { *a.at(v, uint32(i)) = x }

func (a *Vecs) at(v *Vec, i uint32) *uint32 {
	return (*uint32)(unsafe.Add(a.base, v.off+int64(i)*4))
}

// Append adds an entry at the end. If there is no memory, it returns an error and
// the vector is unchanged.
func (a *Vecs) Append(v *Vec, x uint32) error {
	if v.n == v.cap {
		if err := a.resize(v, max(2*v.cap, vecMin)); err != nil {
			return err
		}
	}
	*a.at(v, v.n) = x
	v.n++
	return nil
}

// SwapRemove removes entry i and puts the last entry in its place. If ok is true,
// moved is that entry, which is at i now. If entry i was the last, or i is not below
// v.Len(), ok is false; in the latter case nothing changes.
func (a *Vecs) SwapRemove(v *Vec, i int) (moved uint32, ok bool) {
	if i < 0 || i >= int(v.n) {
		return 0, false
	}
	v.n--
	if uint32(i) != v.n {
		moved, ok = *a.at(v, v.n), true
		*a.at(v, uint32(i)) = moved
	}
	switch {
	case v.n == 0:
		a.Free(v)
	case v.n < v.cap/4:
		// Without memory for the smaller storage the larger one is kept.
		_ = a.resize(v, v.cap/2)
	}
	return moved, ok
}

// Free gives the storage back and makes the vector empty.
func (a *Vecs) Free(v *Vec) {
	a.drop(*v)
	*v = Vec{}
}

// resize gives a vector the capacity c, a power of two that is not below v.n.
func (a *Vecs) resize(v *Vec, c uint32) error {
	to, err := a.storage(v, c)
	if err != nil {
		return err
	}
	a.drop(*v)
	v.off, v.cap = offset(a.base, to), c
	return nil
}

// storage returns storage for c entries that begins with those of v. If it is a
// mapping of v that was resized, v has no storage any more.
func (a *Vecs) storage(v *Vec, c uint32) (to unsafe.Pointer, err error) {
	switch {
	case c > vecMax:
		return nil, fmt.Errorf("offheap: vector of %d entries: full", v.n)
	case c > vecSmall && v.cap > vecSmall:
		to, err = unix.MremapPtr(unsafe.Pointer(a.at(v, 0)), uintptr(v.cap)*4, nil, uintptr(c)*4, unix.MREMAP_MAYMOVE)
		if err != nil {
			return nil, fmt.Errorf("offheap: remap a vector of %d entries to %d: %w", v.n, c, err)
		}
		a.count((int(c) - int(v.cap)) * 4)
		v.cap = 0
		return to, nil
	case c > vecSmall:
		var r region
		if err := r.reserve(a.owner, int(c)*4); err != nil {
			return nil, err
		}
		a.count(int(c) * 4)
		to = r.base
	default:
		s := a.class(c)
		slot, ok := s.Alloc()
		if !ok {
			return nil, fmt.Errorf("offheap: %d vectors of up to %d entries: full", s.Len(), c)
		}
		to = s.Ptr(slot)
	}
	copy(unsafe.Slice((*uint32)(to), c), a.Slice(v))
	return to, nil
}

// drop gives the storage of v back.
func (a *Vecs) drop(v Vec) {
	switch {
	case v.cap == 0:
	case v.cap <= vecSmall:
		s := a.class(v.cap)
		s.Free(uint32(offset(s.base, unsafe.Pointer(a.at(&v, 0))) / int64(s.stride)))
	default:
		// It fails only for an address that is no mapping of this package.
		_ = unix.MunmapPtr(unsafe.Pointer(a.at(&v, 0)), uintptr(v.cap)*4)
		a.count(-int(v.cap) * 4)
	}
}

// count adds n bytes of mappings to what the owner counts; n may be negative.
func (a *Vecs) count(n int) {
	a.mapped += n
	a.owner.Add(n)
}

// class returns the slab for vectors with capacity c.
func (a *Vecs) class(c uint32) *Slab {
	return &a.slabs[bits.TrailingZeros32(c/vecMin)]
}

// offset returns to - base in bytes. They may be in different mappings.
func offset(base, to unsafe.Pointer) int64 { return int64(uintptr(to) - uintptr(base)) }

// Len returns the number of vectors with 1 to 512 entries of capacity.
func (a *Vecs) Len() int {
	n := 0
	for i := range a.slabs {
		n += a.slabs[i].live
	}
	return n
}

// Trim gives memory without vectors back to the kernel, as Slab.Trim does, and
// returns how many bytes.
func (a *Vecs) Trim() int { return trim(a.slabs[:]) }

// Close unmaps the storage of vectors of up to 512 entries. Larger vectors must have
// been freed. The Vecs must not be used any more.
func (a *Vecs) Close() {
	closeAll(a.slabs[:])
	a.region.free()
	*a = Vecs{}
}
