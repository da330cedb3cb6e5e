package offheap

import (
	"fmt"
	"math/bits"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Vec is the header of a growable vector of uint32, such as the members of a
// topic. It has no Go pointers and can live in a slab's record; zeroed, it is
// the empty vector, which has no storage. Its owner hands it to the Vecs that
// it grew in. A header may be moved, but not copied: only one of the copies
// would learn where the storage goes.
type Vec struct {
	off int64  // storage, bytes from Vecs.base
	n   uint32 // entries
	cap uint32 // entries there is room for, a power of two or 0
}

// Len returns the number of entries.
func (v *Vec) Len() int { return int(v.n) }

const (
	vecMin     = 4   // entries of the smallest class
	vecSmall   = 512 // entries of the largest class; above it a vector has a mapping of its own
	vecClasses = 8   // 4, 8 … 512
	vecMax     = 1 << 29
	vecSpare   = 16 // of a class, for vectors that are between two of them
)

// Vecs holds the storage of vectors, outside the Go heap. Up to 512 entries it
// comes from slabs in powers of two. Above that a vector has a mapping of its
// own: the kernel grows it by moving page tables (mremap) where a slice would
// copy, and what is reserved beyond the last entry costs nothing until it is
// touched. Capacity halves when less than a quarter of it is used.
//
// A Vecs is owned by one goroutine.
type Vecs struct {
	base   unsafe.Pointer // of region; every vector's storage is found from here
	slabs  [vecClasses]Slab
	owner  *Owner
	region region
	mapped int // bytes of the mappings of large vectors, which count in full
}

// NewVecs reserves room for max vectors, 1 to 2^28, that have so many entries
// together. A vector has a quarter of its capacity at least, so that of the
// larger classes fewer can be in use than there are vectors. It fails for other
// values, and with an *AddressSpaceError.
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

// Slice returns the entries, borrowed until the vector's next Append,
// SwapRemove or Free. They may be written.
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

// Append adds an entry at the end. When there is no memory it fails and the
// vector is as it was.
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

// SwapRemove takes entry i out and puts the last entry in its place. ok says
// that there was another one to put there, moved what it is: its owner now
// finds it at i. An i beyond the end changes nothing.
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
		// Without memory for the smaller storage the larger one serves on.
		_ = a.resize(v, v.cap/2)
	}
	return moved, ok
}

// Free gives the storage back and leaves the empty vector.
func (a *Vecs) Free(v *Vec) {
	a.drop(*v)
	*v = Vec{}
}

// resize gives a vector room for c entries, a power of two that is ≥ v.n.
func (a *Vecs) resize(v *Vec, c uint32) error {
	to, err := a.storage(v, c)
	if err != nil {
		return err
	}
	a.drop(*v)
	v.off, v.cap = offset(a.base, to), c
	return nil
}

// storage provides room for c entries that begins with those of v. When it is
// v's own storage that moved, v has none any more.
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

// drop gives back the storage that a header describes.
func (a *Vecs) drop(v Vec) {
	switch {
	case v.cap == 0:
	case v.cap <= vecSmall:
		s := a.class(v.cap)
		s.Free(uint32(offset(s.base, unsafe.Pointer(a.at(&v, 0))) / int64(s.stride)))
	default:
		// Fails only for arguments that are not a mapping of ours.
		_ = unix.MunmapPtr(unsafe.Pointer(a.at(&v, 0)), uintptr(v.cap)*4)
		a.count(-int(v.cap) * 4)
	}
}

// count tells the owner of n more bytes of mappings.
func (a *Vecs) count(n int) {
	a.mapped += n
	a.owner.Add(n)
}

// class returns the slab for storage of c entries.
func (a *Vecs) class(c uint32) *Slab {
	return &a.slabs[bits.TrailingZeros32(c/vecMin)]
}

// offset returns how far to is from base, which may be in another mapping.
func offset(base, to unsafe.Pointer) int64 { return int64(uintptr(to) - uintptr(base)) }

// Len returns the number of vectors that have storage in the slabs.
func (a *Vecs) Len() int {
	n := 0
	for i := range a.slabs {
		n += a.slabs[i].live
	}
	return n
}

// Mapped returns the address space that larger vectors have to themselves, in
// bytes. What of it was never written is not resident.
func (a *Vecs) Mapped() int { return a.mapped }

// Trim returns memory that holds no vectors to the kernel, as Slab.Trim does,
// and reports how many bytes.
func (a *Vecs) Trim() int { return trim(a.slabs[:]) }

// Close unmaps the storage of vectors up to 512 entries; larger ones must have
// been freed. The Vecs is unusable afterwards.
func (a *Vecs) Close() {
	closeAll(a.slabs[:])
	a.region.free()
	*a = Vecs{}
}
