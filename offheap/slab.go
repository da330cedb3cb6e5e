package offheap

import (
	"fmt"
	"math/bits"
	"os"
	"unsafe"
)

// Slab keeps records of one size outside the Go heap. A record is named by its slot,
// a number from 0.
//
// The address space for all records is reserved when the slab is made. So the
// address of a record is base + slot*stride and never changes, growing copies
// nothing, and a slot can be kept where a pointer cannot (in an epoll event, in
// another record, in a session id).
//
// The lowest free slot is used first. So after a peak the live records move to the
// low slots as clients come and go, whole pages at the high end become empty, and
// Trim gives them back to the kernel. With a LIFO list of free slots the remaining
// records would stay spread over all pages.
//
// A record has no generation number. Memory that was given back to the kernel is
// zero when it is used again, so a generation in the record would start from zero
// again, and a stale event could match it. The user of the slab takes generations
// from a counter and writes them into new records.
//
// A Slab belongs to one goroutine.
type Slab struct {
	base   unsafe.Pointer
	stride uintptr // bytes from one record to the next
	bits   bitmap
	max    uint32
	live   int

	// Memory is given back in blocks. A block is the shortest sequence of slots that
	// fills whole pages and whole words of the bitmap.
	blockShift uint8    // log2 of the slots in a block
	idle       []uint64 // a bit for each block without live records whose pages may be resident
	idles      int      // bits set in idle
	used       []uint64 // a bit for each block whose pages may be resident; owner counts these

	dirty  bool // Free does not clear records: the user overwrites what it reads
	owner  *Owner
	held   int // bytes that owner counts
	region region
}

// MaxRecords is the largest number of records in a slab.
const MaxRecords = int(noSlot)

// trimBytes is how many bytes one Trim gives back at most. The kernel takes about
// 200 µs for these 1,024 pages, less than a chunk of fan-out.
const trimBytes = 4 << 20

// NewSlab reserves room for max records of stride bytes. stride is a multiple of 4
// from 8 to 2^20, max is 1 to MaxRecords. It returns an error for other values, and
// an *AddressSpaceError if the kernel refuses. Memory is used when records are
// written.
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

// slabSpan returns the bytes that max records need, in whole blocks.
func slabSpan(stride, max int) (int, error) {
	if stride < 8 || stride%4 != 0 || stride > 1<<20 {
		return 0, fmt.Errorf("offheap: slab stride %d: must be a multiple of 4 from 8 to %d", stride, 1<<20)
	}
	if max < 1 || max > MaxRecords {
		return 0, fmt.Errorf("offheap: slab of %d records: must be 1 to %d", max, MaxRecords)
	}
	return roundUp(max, 1<<blockShift(stride)) * stride, nil
}

// blockShift returns log2 of the slots in a block: the smallest power of two, at
// least 64, for which the records fill whole pages.
func blockShift(stride int) uint8 {
	shift := bits.TrailingZeros(uint(os.Getpagesize())) - bits.TrailingZeros(uint(stride))
	if shift < 6 {
		shift = 6
	}
	return uint8(shift)
}

// init makes the slab in memory of slabSpan zero bytes at base, which is
// page-aligned. With it several slabs can share a region.
func (s *Slab) init(owner *Owner, base unsafe.Pointer, stride, max int) {
	*s = Slab{owner: owner, base: base, stride: uintptr(stride), max: uint32(max), blockShift: blockShift(stride)}
	s.bits.init(max)
}

// Alloc takes the lowest free slot. Its record is zero. ok is false if max records
// are live.
func (s *Slab) Alloc() (slot uint32, ok bool) {
	slot = s.bits.lowestFree()
	if slot >= s.max {
		return 0, false
	}
	s.take(slot)
	return slot, true
}

// AllocAt takes the given slot. It is for state from another process whose slots
// are known to clients already. It returns false if the slot is live or not below
// max.
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

// block returns the size of a block in bytes.
func (s *Slab) block() int { return int(s.stride) << s.blockShift }

// count adds n bytes to what the owner counts; n may be negative.
func (s *Slab) count(n int) {
	s.held += n
	s.owner.Add(n)
}

// Free gives a slot back. It does nothing if the slot is not live.
//
// Free clears the record, and not Alloc: now the record is in the cache, pages that
// were never used or that Trim gave back are zero already, and a wrong read finds
// zeros and not the data of another client.
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

// Ptr returns the address of a record. It does not check that slot is below max. The
// address never changes, and the record is valid while the slot is live.
func (s *Slab) Ptr(slot uint32) unsafe.Pointer {
	return unsafe.Add(s.base, uintptr(slot)*s.stride)
}

// Live says whether a slot is in use. slot may be any number.
func (s *Slab) Live(slot uint32) bool { return s.bits.has(slot) }

// Len returns the number of live records.
func (s *Slab) Len() int { return s.live }

// Max returns how many records may be live at a time.
func (s *Slab) Max() int { return int(s.max) }

// Stride returns the bytes from one record to the next.
func (s *Slab) Stride() int { return int(s.stride) }

// Next returns the lowest live slot that is not below from. ok is false if there is
// none. A walk that continues with Next(slot+1) sees each record that stays live
// during the walk, even if others are allocated or freed between the calls.
func (s *Slab) Next(from uint32) (slot uint32, ok bool) { return s.bits.next(from) }

// Trim gives memory of blocks without live records back to the kernel, and returns
// how many bytes. It keeps the lowest such block, so that a client that comes and
// goes at the edge of a block does not cost a page fault each time. One call gives
// back about 4 MiB at most: call it regularly, and again soon if the result is not 0.
func (s *Slab) Trim() int {
	released := 0
	block := s.block()
	at, ok := nextBit(s.idle, 0) // the block that is kept
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

// Close unmaps the records. The slab must not be used any more.
func (s *Slab) Close() {
	if s.owner != nil {
		s.count(-s.held)
	}
	s.region.free()
	*s = Slab{}
}

// nextBit returns the lowest set bit that is not below from.
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
