package offheap

import (
	"fmt"
	"math/bits"
	"os"
	"unsafe"
)

// Slab hands out fixed-size records by number from memory outside the Go heap.
//
// The range for all records that may ever exist is reserved when the slab is
// made, so a record's address is base + slot*stride for its whole life,
// growing copies nothing, and a slot number can be kept where a pointer cannot
// (in an epoll event, in another record, in a session id).
//
// The lowest free slot is always given first. After a burst the live records
// then drift to the low end as clients come and go, whole pages at the high
// end fall empty, and Trim returns them to the kernel. A free list in LIFO
// order would scatter the survivors over every page for good.
//
// Records carry no generation number by design. Memory that went back to the
// kernel comes back as zeros, so a generation kept in a record would start
// again from zero and a stale event could match it. The owner draws
// generations from a counter of its own and writes one into each new record.
//
// A Slab is owned by one goroutine.
type Slab struct {
	base   unsafe.Pointer
	stride uintptr // bytes from one record to the next
	bits   bitmap
	max    uint32
	live   int

	// A block is the shortest run of slots that is both whole pages and whole
	// words of the bitmap: the unit of returning memory.
	blockShift uint8    // log2 of the slots in a block
	idle       []uint64 // a bit a block: nothing lives in it, its pages may be resident
	idles      int      // bits set in idle
	used       []uint64 // a bit a block: its pages may be resident, and are counted

	dirty  bool // records keep their content: the user overwrites what it uses
	owner  *Owner
	held   int // bytes counted by owner
	region region
}

// MaxRecords is the largest number of records in a slab.
const MaxRecords = int(noSlot)

// trimBytes bounds what one Trim returns: zapping 1,024 pages takes the kernel
// about 200 µs, the length of a fan-out's chunk.
const trimBytes = 4 << 20

// NewSlab reserves room for max records of stride bytes. stride is a multiple
// of 4 from 8 to 2^20; max is 1 to MaxRecords. Nothing is resident until records
// are written. It fails for other values, and with an *AddressSpaceError.
func NewSlab(owner *Owner, stride, max int) (*Slab, error) {
	s := new(Slab)
	if err := s.reserve(owner, stride, max); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Slab) reserve(owner *Owner, stride, max int) error {
	span, err := slabSpan(stride, max)
	if err != nil {
		return err
	}
	var r region
	if err := r.reserve(owner, span); err != nil {
		return err
	}
	s.init(owner, r.base, stride, max)
	s.region = r
	return nil
}

// slabSpan returns the bytes that max records need, whole blocks.
func slabSpan(stride, max int) (int, error) {
	if stride < 8 || stride%4 != 0 || stride > 1<<20 {
		return 0, fmt.Errorf("offheap: slab stride %d: must be a multiple of 4 from 8 to %d", stride, 1<<20)
	}
	if max < 1 || max > MaxRecords {
		return 0, fmt.Errorf("offheap: slab of %d records: must be 1 to %d", max, MaxRecords)
	}
	return roundUp(max, 1<<blockShift(stride)) * stride, nil
}

// blockShift returns log2 of the slots in a block: the smallest power of two,
// at least a bitmap word of 64, whose bytes are a multiple of the page size.
func blockShift(stride int) uint8 {
	shift := bits.TrailingZeros(uint(os.Getpagesize())) - bits.TrailingZeros(uint(stride))
	if shift < 6 {
		shift = 6
	}
	return uint8(shift)
}

// init builds the slab over zeroed memory of slabSpan bytes at base, which is
// page-aligned. Several slabs may share one region that way.
func (s *Slab) init(owner *Owner, base unsafe.Pointer, stride, max int) {
	*s = Slab{owner: owner, base: base, stride: uintptr(stride), max: uint32(max), blockShift: blockShift(stride)}
	s.bits.init(max)
}

// Alloc takes the lowest free slot. Its record is all zeros. ok is false when
// max records are live.
func (s *Slab) Alloc() (slot uint32, ok bool) {
	slot = s.bits.lowestFree()
	if slot >= s.max {
		return 0, false
	}
	s.take(slot)
	return slot, true
}

// AllocAt takes one particular slot, for state restored from another process
// whose slot numbers are already known outside. It reports false when the slot
// is live or not below max.
func (s *Slab) AllocAt(slot uint32) bool {
	if slot >= s.max || s.bits.has(slot) {
		return false
	}
	s.take(slot)
	return true
}

func (s *Slab) take(slot uint32) {
	s.live++
	if !s.bits.set(slot) {
		return
	}
	b := slot >> s.blockShift
	if i := b >> 6; i < uint32(len(s.idle)) && s.idle[i]>>(b&63)&1 != 0 {
		s.idle[i] &^= 1 << (b & 63)
		s.idles--
	}
	s.used = reach(s.used, b>>6)
	if s.used[b>>6]>>(b&63)&1 == 0 {
		s.used[b>>6] |= 1 << (b & 63)
		s.count(s.block())
	}
}

// block returns the bytes of a block.
func (s *Slab) block() int { return int(s.stride) << s.blockShift }

// count tells the owner of n more bytes.
func (s *Slab) count(n int) {
	s.held += n
	s.owner.Add(n)
}

// Free gives a slot back. Nothing happens when it is not live.
//
// The record is cleared here and not in Alloc: its lines are in the cache now,
// pages that were never used or that Trim returned are zero without anybody's
// work, and a stale reader finds zeros instead of a dead client's data.
func (s *Slab) Free(slot uint32) {
	if !s.bits.has(slot) {
		return
	}
	if !s.dirty {
		clear(unsafe.Slice((*byte)(s.Ptr(slot)), s.stride))
	}
	s.live--
	if !s.bits.clear(slot) {
		return
	}
	b := slot >> s.blockShift
	words := uint32(1) << (s.blockShift - 6)
	if s.bits.empty(b*words, words) {
		s.idle = reach(s.idle, b>>6)
		s.idle[b>>6] |= 1 << (b & 63)
		s.idles++
	}
}

// Ptr returns the address of a record. It does not check: slot must be below
// max, and what it points to means something only while the slot is live. The
// pointer is stable until Close.
func (s *Slab) Ptr(slot uint32) unsafe.Pointer {
	return unsafe.Add(s.base, uintptr(slot)*s.stride)
}

// Live reports whether a slot is in use; any number may be asked about.
func (s *Slab) Live(slot uint32) bool { return s.bits.has(slot) }

// Len returns the number of live records.
func (s *Slab) Len() int { return s.live }

// Max returns the number of records there is room for.
func (s *Slab) Max() int { return int(s.max) }

// Stride returns the bytes from one record to the next.
func (s *Slab) Stride() int { return int(s.stride) }

// High returns one past the highest live slot, 0 when none is live.
func (s *Slab) High() uint32 {
	if top, ok := s.bits.highest(); ok {
		return top + 1
	}
	return 0
}

// Next returns the lowest live slot ≥ from. A cursor that goes on with
// Next(slot+1) sees every record that stays live throughout, whatever is
// allocated or freed between the calls.
func (s *Slab) Next(from uint32) (slot uint32, ok bool) { return s.bits.next(from) }

// Trim returns memory of blocks in which nothing lives to the kernel and
// reports how many bytes. The lowest such block is kept, so that a client that
// comes and goes at a block's edge does not cost a page fault each time. A
// call's work is bounded (4 MiB): call it from a periodic tick, and again soon
// when it returned something.
func (s *Slab) Trim() int {
	released := 0
	block := s.block()
	at, ok := nextBit(s.idle, 0) // the one to keep
	for ok && s.idles > 1 && released < trimBytes {
		first, more := nextBit(s.idle, at+1)
		if !more {
			break
		}
		end := first
		for size := released; end>>6 < uint32(len(s.idle)) && s.idle[end>>6]>>(end&63)&1 != 0 && size < trimBytes; size += block {
			end++
		}
		n := int(end-first) * block
		gone := dontNeed(unsafe.Add(s.base, int(first)*block), n)
		for b := first; b < end; b++ {
			s.idle[b>>6] &^= 1 << (b & 63)
			s.idles--
			if gone {
				s.used[b>>6] &^= 1 << (b & 63)
			}
		}
		if gone {
			released += n
			s.count(-n)
		}
		at = end
	}
	return released
}

// Close unmaps the records. The slab is empty and unusable afterwards.
func (s *Slab) Close() {
	if s.owner != nil {
		s.count(-s.held)
	}
	s.region.free()
	*s = Slab{}
}

// nextBit returns the first set bit ≥ from.
func nextBit(words []uint64, from uint32) (uint32, bool) {
	for i := from >> 6; i < uint32(len(words)); i++ {
		w := words[i]
		if i == from>>6 {
			w = w >> (from & 63) << (from & 63)
		}
		if w != 0 {
			return i<<6 | uint32(bits.TrailingZeros64(w)), true
		}
	}
	return 0, false
}
