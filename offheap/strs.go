package offheap

import (
	"errors"
	"fmt"
	"math/bits"
	"unsafe"
)

// Str names a byte string in a Strs. 0 is the empty string, so a zero record has
// empty strings. A Str takes half the space of a pointer and may stand in records,
// which have no pointers.
//
// The upper four bits are the size class, from 1; the other bits are the slot in
// the slab of that class.
type Str uint32

const (
	strShift   = 28
	strMask    = 1<<strShift - 1
	strClasses = 12
	// MaxStr is the longest string that a Strs holds, in bytes.
	MaxStr = 255
)

// ErrTooLong is returned for a string of more than MaxStr bytes.
var ErrTooLong = errors.New("offheap: string is longer than 255 bytes")

// Strs keeps byte strings of at most MaxStr bytes (user ids, topic names) outside
// the Go heap. A string and a byte for its length take a record of 8, 16, … 64, 96,
// 128, 192 or 256 bytes: a user id of 16 bytes takes 24.
//
// Equal strings are stored twice, unless the caller shares them. A Strs belongs to
// one goroutine.
type Strs struct {
	slabs  [1 << (32 - strShift)]Slab // by class; unused classes read as the empty string
	region region
	empty  byte // length of the empty string
}

// NewStrs reserves room for max strings of each size class. max is 1 to 2^28. It
// returns an error for other values, and an *AddressSpaceError if the kernel
// refuses.
func NewStrs(owner *Owner, max int) (*Strs, error) {
	if max < 1 || max > strMask+1 {
		return nil, fmt.Errorf("offheap: room for %d strings: must be 1 to %d", max, strMask+1)
	}
	a := new(Strs)
	err := carve(owner, &a.region, a.slabs[1:1+strClasses], func(int) int { return max }, func(i int) int { return strSize(uint32(i) + 1) })
	if err != nil {
		return nil, err
	}
	for i := range a.slabs {
		if a.slabs[i].max == 0 {
			a.slabs[i].base = unsafe.Pointer(&a.empty)
		}
	}
	return a, nil
}

// carve reserves one region for several slabs, which lie in it one after the other.
// Slab i has room for max(i) records of stride(i) bytes. Freed records are not
// cleared.
func carve(owner *Owner, r *region, slabs []Slab, max, stride func(i int) int) error {
	total := 0
	for i := range slabs {
		n, err := slabSpan(stride(i), max(i))
		if err != nil {
			return err
		}
		total += n
	}
	if err := r.reserve(owner, total); err != nil {
		return err
	}
	at := r.base
	for i := range slabs {
		slabs[i].init(owner, at, stride(i), max(i))
		slabs[i].dirty = true
		n, _ := slabSpan(stride(i), max(i))
		at = unsafe.Add(at, n)
	}
	return nil
}

// strClass returns the class of a string of n bytes. The record also has a byte for
// the length. Above 64 bytes there are two sizes for each power of two.
func strClass(n int) uint32 {
	if n < 64 {
		return uint32(n)/8 + 1
	}
	top := bits.Len(uint(n)) - 1       // 6 or 7
	half := uint32(n) >> (top - 1) & 1 // above one and a half times 2^top
	return uint32(9+2*(top-6)) + half
}

// strSize returns the size in bytes of the records of a class.
func strSize(class uint32) int {
	if class <= 8 {
		return int(class) * 8
	}
	k := class - 9
	return (3 + int(k&1)) << (5 + k>>1)
}

// Put stores a copy of p. It returns ErrTooLong, or another error if there is no
// room for more strings of that size class.
func (a *Strs) Put(p []byte) (Str, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(p) > MaxStr {
		return 0, ErrTooLong
	}
	class := strClass(len(p))
	slab := &a.slabs[class]
	slot, ok := slab.Alloc()
	if !ok {
		return 0, fmt.Errorf("offheap: %d strings of up to %d bytes: full", slab.Len(), slab.stride-1)
	}
	rec := unsafe.Slice((*byte)(slab.Ptr(slot)), len(p)+1)
	rec[0] = byte(len(p))
	copy(rec[1:], p)
	return Str(class<<strShift | slot), nil
}

// Get returns the bytes of a string, none for 0. The string must not have been
// freed. The slice is valid until Free, and must not be changed.
func (a *Strs) Get(s Str) []byte {
	p := a.slabs[s>>strShift].Ptr(uint32(s & strMask))
	return unsafe.Slice((*byte)(unsafe.Add(p, 1)), *(*byte)(p))
}

// Free removes a string. Freeing 0 does nothing.
func (a *Strs) Free(s Str) {
	a.slabs[s>>strShift].Free(uint32(s & strMask))
}

// Len returns the number of strings, without empty ones.
func (a *Strs) Len() int {
	n := 0
	for i := range a.slabs {
		n += a.slabs[i].live
	}
	return n
}

// Trim gives memory without strings back to the kernel, as Slab.Trim does, and
// returns how many bytes.
func (a *Strs) Trim() int { return trim(a.slabs[1 : 1+strClasses]) }

// trim trims slabs until trimBytes were given back.
func trim(slabs []Slab) int {
	released := 0
	for i := range slabs {
		if released < trimBytes {
			released += slabs[i].Trim()
		}
	}
	return released
}

// closeAll closes slabs that share a region. The caller unmaps the region.
func closeAll(slabs []Slab) {
	for i := range slabs {
		slabs[i].Close()
	}
}

// Close unmaps the strings. The Strs must not be used any more.
func (a *Strs) Close() {
	closeAll(a.slabs[:])
	a.region.free()
	*a = Strs{}
}
