package offheap

import (
	"fmt"
	"math/bits"
	"unsafe"
)

// Table maps 32-bit hashes to 32-bit values, outside the Go heap: the index
// over records that hold the keys themselves (a user's record has the uid). A
// look-up walks the values that were stored under a hash, and the caller
// compares keys:
//
//	for p := t.Probe(h); p.Next(); {
//		if string(strs.Get(records.At(p.Val()).uid)) == uid { … }
//	}
//
// It is open addressing with linear probing over entries of eight bytes, at
// most 80 % full, so a look-up that finds nothing reads two cache lines on
// average. An entry goes home to the upper bits of its mixed hash, which has
// two uses: hashes of a shard agree in some of their bits and the mixing makes
// up for it, and doubling keeps the order of entries, so that a rehash reads
// and writes memory from front to back.
//
// Growing and shrinking never stop the world. While a rehash is under way
// there are two arrays, and each Insert and Delete (and Trim) carries at most
// rehashStep slots over. The new array is filled and the old one returned to
// the kernel page by page in step, so that a doubling takes at no time more
// than the 20 bytes an entry that it ends with.
//
// Equal pairs may be stored more than once. All entries of equal hash lie in
// one run, so a caller whose keys come from clients must seed its hash.
//
// A Table is owned by one goroutine.
type Table struct {
	cur   tableHalf
	old   tableHalf // is being emptied into cur; mask 0 when there is no rehash
	from  uint32    // old: where the rehash began, the slot after an empty one
	moved uint32    // old: slots from there on that have been emptied
	freed uint32    // old: up to here whole chunks have been given back
	n     int
	limit int // slots
	owner *Owner
	held  int   // bytes counted by owner
	none  entry // stands for the array of an empty table; never written
}

// entry is one slot of a table.
type entry struct {
	hash uint32
	// val is the value + 1. Zero marks an empty slot, whatever the hash, so
	// fresh pages are an empty table; the value 2^32-1 cannot be stored.
	val uint32
}

// tableHalf is one array of entries.
type tableHalf struct {
	base  unsafe.Pointer
	mask  uint32 // slots - 1, slots being a power of two
	shift uint32 // 32 - log2(slots)
}

const (
	entrySize   = 8
	tableMin    = 512     // slots, one page of 4 KiB
	tableMax    = 1 << 30 // slots
	rehashStep  = 64      // slots an operation carries over at most
	trimStep    = 16384   // slots that Trim does
	rehashFreed = 8192    // old slots (64 KiB) that are given back at once
)

// NewTable returns an empty table, which has no memory yet.
func NewTable(owner *Owner) *Table {
	t := new(Table)
	t.init(owner)
	return t
}

func (t *Table) init(owner *Owner) {
	*t = Table{limit: tableMax, owner: owner}
	t.cur = tableHalf{base: unsafe.Pointer(&t.none), shift: 31}
}

func (h *tableHalf) at(i uint32) *entry {
	return (*entry)(unsafe.Add(h.base, uintptr(i&h.mask)*entrySize))
}

// home is Fibonacci hashing (Knuth, TAOCP 6.4). Its result is below the number
// of slots; for the empty table's single slot the mask in at does that.
func (h *tableHalf) home(hash uint32) uint32 { return hash * 0x9E3779B1 >> h.shift }

func (h *tableHalf) slots() int { return int(h.mask) + 1 }

// Probe is a walk over the values stored under one hash. It is valid until the
// table's next Insert, Delete or Trim; Replace does not disturb it.
type Probe struct {
	tableHalf
	rest  tableHalf // the old array, walked after the current one; mask 0: none, or done
	i     uint32
	start uint32 // in rest
	hash  uint32
	val   uint32
}

// Probe begins a walk; call Next before the first Val.
func (t *Table) Probe(hash uint32) Probe {
	return Probe{tableHalf: t.cur, rest: t.old, i: t.cur.home(hash), start: t.start(hash), hash: hash}
}

// Next goes on to the next value and reports whether there is one.
func (p *Probe) Next() bool {
	for {
		e := p.at(p.i)
		p.i++
		if e.val == 0 {
			if p.rest.mask == 0 {
				return false
			}
			p.tableHalf, p.i, p.rest.mask = p.rest, p.start, 0
		} else if e.hash == p.hash {
			p.val = e.val
			return true
		}
	}
}

// Val returns the value that Next went to.
func (p *Probe) Val() uint32 { return p.val - 1 }

// start returns where in the old array a hash's run begins now. The rehash
// empties slots in cyclic order from t.from on; a home among those has its
// remaining entries, if any, right after the last one emptied, since the run
// was whole when the rehash came by. The slot before t.from is empty and
// stays so, hence no run crosses it. Without a rehash the result has no
// meaning.
func (t *Table) start(hash uint32) uint32 {
	home := t.old.home(hash)
	if (home-t.from)&t.old.mask < t.moved {
		return t.from + t.moved
	}
	return home
}

// Len returns the number of entries.
func (t *Table) Len() int { return t.n }

// Insert adds an entry; val is below 2^32-1. It fails only when there is no
// memory to grow into, and the table is then as it was.
func (t *Table) Insert(hash, val uint32) error {
	if val == ^uint32(0) {
		return fmt.Errorf("offheap: table value %d: must be below it", val)
	}
	t.rehash(rehashStep)
	if slots := t.cur.slots(); t.n >= slots/5*4 && t.old.mask == 0 {
		if err := t.resize(max(2*slots, tableMin)); err != nil && (t.cur.mask == 0 || t.n >= slots-slots/16) {
			return err
		}
	}
	t.put(entry{hash, val + 1})
	t.n++
	return nil
}

// put stores an entry. During a rehash what would go to a part of the old
// array that has not been reached goes there: into the new array it would
// make a page resident long before its turn. It may not take the empty slot
// that keeps runs from crossing t.from.
func (t *Table) put(e entry) {
	if home := t.old.home(e.hash); t.old.mask != 0 && (home-t.from)&t.old.mask >= t.moved {
		i := t.old.free(home)
		if (i+1-t.from)&t.old.mask != 0 {
			*t.old.at(i) = e
			return
		}
	}
	*t.cur.at(t.cur.free(t.cur.home(e.hash))) = e
}

// Delete removes one entry of that hash and value and reports whether there
// was one.
func (t *Table) Delete(hash, val uint32) bool {
	t.rehash(rehashStep)
	h, i := t.find(hash, val)
	if h == nil {
		return false
	}
	h.remove(i)
	t.n--
	t.shrink()
	return true
}

// Replace gives an entry another value, in place, and reports whether there
// was one. Both values are below 2^32-1.
func (t *Table) Replace(hash, old, new uint32) bool {
	h, i := t.find(hash, old)
	if h == nil || new == ^uint32(0) {
		return false
	}
	h.at(i).val = new + 1
	return true
}

// Trim carries on a rehash that no operation drives any more. Call it from a
// periodic tick; it takes about 100 µs at most and reports whether there is
// more to do.
func (t *Table) Trim() bool {
	t.shrink()
	t.rehash(trimStep)
	return t.old.mask != 0
}

// Close unmaps the entries. The table is empty afterwards and may be used
// again.
func (t *Table) Close() {
	t.cur.close()
	t.old.close()
	t.hold(0)
	t.init(t.owner)
}

// hold tells the owner that the table holds so many bytes now.
func (t *Table) hold(bytes int) {
	if bytes != t.held {
		t.owner.Add(bytes - t.held)
		t.held = bytes
	}
}

// find returns the array and slot of an entry, or nil.
func (t *Table) find(hash, val uint32) (*tableHalf, uint32) {
	if val == ^uint32(0) {
		return nil, 0
	}
	want := entry{hash, val + 1}
	if i, ok := t.cur.find(want, t.cur.home(hash)); ok {
		return &t.cur, i
	}
	if t.old.mask != 0 {
		if i, ok := t.old.find(want, t.start(hash)); ok {
			return &t.old, i
		}
	}
	return nil, 0
}

// shrink begins a rehash into half the slots when 15 % are in use.
func (t *Table) shrink() {
	if slots := t.cur.slots(); slots > tableMin && t.n < slots/20*3 && t.old.mask == 0 {
		// Without memory for the smaller array the larger one serves on.
		_ = t.resize(slots / 2)
	}
}

// resize begins a rehash. At 64 slots an operation the old array is empty long
// before the new one, at 40 % or 30 % by then, can want another.
func (t *Table) resize(slots int) error {
	if slots > t.limit {
		return fmt.Errorf("offheap: table of %d entries: full", t.n)
	}
	var r region
	if err := r.reserve(t.owner, slots*entrySize); err != nil {
		return err
	}
	t.hold(t.held + slots*entrySize)
	h := tableHalf{base: r.base, mask: uint32(slots - 1), shift: 33 - uint32(bits.Len(uint(slots)))}
	if t.cur.mask == 0 {
		t.cur = h
		return nil
	}
	t.old, t.cur = t.cur, h
	t.moved, t.from = 0, 1
	for t.old.at(t.from-1).val != 0 {
		t.from++
	}
	t.freed = uint32(roundUp(int(t.from), rehashFreed))
	return nil
}

// rehash carries up to n slots of the old array over.
func (t *Table) rehash(n uint32) {
	if t.old.mask == 0 {
		return
	}
	for ; n > 0 && t.moved <= t.old.mask; n-- {
		e := t.old.at(t.from + t.moved)
		t.moved++
		if e.val != 0 {
			*t.cur.at(t.cur.free(t.cur.home(e.hash))) = *e
			*e = entry{}
		}
	}
	if t.moved > t.old.mask {
		t.old.close()
		t.hold(t.cur.slots() * entrySize)
		return
	}
	for ; t.from+t.moved >= t.freed+rehashFreed; t.freed += rehashFreed {
		dontNeed(unsafe.Pointer(t.old.at(t.freed)), rehashFreed*entrySize)
		t.hold(t.held - rehashFreed*entrySize)
	}
}

// free returns the first empty slot from i on. There is one: an array is never
// more than 15/16 full.
func (h *tableHalf) free(i uint32) uint32 {
	for h.at(i).val != 0 {
		i++
	}
	return i
}

// find looks for an entry from slot i to the end of the run.
func (h *tableHalf) find(want entry, i uint32) (uint32, bool) {
	for ; ; i++ {
		switch e := h.at(i); {
		case *e == want:
			return i, true
		case e.val == 0:
			return 0, false
		}
	}
}

// remove empties slot i and moves what comes after it in the run back by
// turns, so that no mark of the deletion has to stay (Knuth, TAOCP 6.4,
// algorithm R): an entry may fill the gap if that is not before its home.
func (h *tableHalf) remove(i uint32) {
	for j := i + 1; ; j++ {
		e := h.at(j)
		if e.val == 0 {
			break
		}
		if (j-h.home(e.hash))&h.mask >= j-i {
			*h.at(i) = *e
			i = j
		}
	}
	*h.at(i) = entry{}
}

// close unmaps the array, unless it is the stand-in of an empty table.
func (h *tableHalf) close() {
	if h.mask != 0 {
		r := region{base: h.base, size: h.slots() * entrySize}
		r.free()
	}
	*h = tableHalf{}
}
