package offheap

import (
	"fmt"
	"math/bits"
	"unsafe"
)

// Table maps 32-bit hashes to 32-bit values, outside the Go heap. It is an index of
// records that have the keys (the record of a user has the uid). A look-up walks
// over the values that are stored with a hash, and the caller compares the keys:
//
//	for p := t.Probe(h); p.Next(); {
//		if string(strs.Get(records.At(p.Val()).uid)) == uid { … }
//	}
//
// It uses open addressing with linear probing. Entries have eight bytes, and at most
// 80 % of the slots are in use, so a look-up that finds nothing reads two cache
// lines on average. The home slot of an entry is the upper bits of its mixed hash.
// The mixing is needed because the hashes of a shard agree in some bits. Taking the
// upper bits keeps the order of entries when the table is doubled, so a rehash
// reads and writes memory from front to back.
//
// Growing and shrinking are done in small steps. During a rehash there are two
// arrays, and each Insert and Delete moves entries of at most rehashStep slots (Trim
// moves more). The pages of the old array are given back to the kernel as the new
// one is filled. So doubling never needs more than the 20 bytes for each entry with
// which it ends.
//
// Equal pairs may be stored more than once. Entries with equal hashes lie in one
// run of used slots, so a caller whose keys come from clients must use a seeded
// hash, or clients could make runs long.
//
// A Table belongs to one goroutine.
type Table struct {
	cur   tableHalf
	old   tableHalf // the array that a rehash empties into cur; mask 0: no rehash
	from  uint32    // slot of old at which the rehash began; the slot before it is empty
	moved uint32    // slots of old from there on that were emptied
	freed uint32    // slot of old up to which memory was given back
	n     int       // entries
	limit int       // slots allowed
	owner *Owner
	held  int   // bytes that owner counts
	none  entry // the array of an empty table; never written
}

// entry is one slot of a table.
type entry struct {
	hash uint32
	// val is the value + 1, or 0 for an empty slot. So new pages are an empty table,
	// and the value 2^32-1 cannot be stored.
	val uint32
}

// tableHalf is one array of entries.
type tableHalf struct {
	base  unsafe.Pointer
	mask  uint32 // slots - 1; the number of slots is a power of two
	shift uint32 // 32 - log2(slots)
}

const (
	entrySize   = 8
	tableMin    = 512     // slots, one page of 4 KiB
	tableMax    = 1 << 30 // slots
	rehashStep  = 64      // old slots that an Insert or Delete empties
	trimStep    = 16384   // old slots that a Trim empties
	rehashFreed = 8192    // old slots (64 KiB) whose memory is given back together
)

// NewTable returns an empty table. It uses no memory before the first Insert.
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

// home returns the home slot of a hash, by Fibonacci hashing (Knuth, TAOCP 6.4). It
// is below the number of slots, except for the empty table, whose single slot is
// found by the mask in at.
func (h *tableHalf) home(hash uint32) uint32 { return hash * 0x9E3779B1 >> h.shift }

func (h *tableHalf) slots() int { return int(h.mask) + 1 }

// Probe is a walk over the values that are stored with one hash. It is valid until
// the table's next Insert, Delete or Trim. Replace is allowed.
type Probe struct {
	tableHalf
	rest  tableHalf // the old array, which is walked second; mask 0: there is none, or it is walked now
	i     uint32
	start uint32 // in rest
	hash  uint32
	val   uint32
}

// Probe begins a walk. Call Next before Val.
func (t *Table) Probe(hash uint32) Probe {
	return Probe{tableHalf: t.cur, rest: t.old, i: t.cur.home(hash), start: t.start(hash), hash: hash}
}

// Next goes to the next value, and returns whether there is one.
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

// Val returns the value to which Next went.
func (p *Probe) Val() uint32 { return p.val - 1 }

// start returns the slot of the old array from which on entries of a hash are found
// now. The rehash empties slots in cyclic order from t.from on. If the home slot was
// emptied already, the remaining entries of its run come directly after the last
// slot that was emptied. The slot before t.from is empty and stays empty, so no run
// crosses it. Without a rehash the result has no meaning.
func (t *Table) start(hash uint32) uint32 {
	home := t.old.home(hash)
	if (home-t.from)&t.old.mask < t.moved {
		return t.from + t.moved
	}
	return home
}

// Len returns the number of entries.
func (t *Table) Len() int { return t.n }

// Insert adds an entry. val is below 2^32-1. It returns an error for another value,
// or if the table is full and there is no memory to grow. The table is unchanged
// then.
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

// put stores an entry. During a rehash it stores it in the old array if its home
// slot there was not emptied yet: in the new array the entry would make a page
// resident too early. It must not take the empty slot before t.from.
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

// Delete removes one entry with the hash and value, and returns whether there was
// one.
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

// Replace changes the value of one entry with the hash and value old to new. It
// returns false if there is none, or if new is 2^32-1.
func (t *Table) Replace(hash, old, new uint32) bool {
	h, i := t.find(hash, old)
	if h == nil || new == ^uint32(0) {
		return false
	}
	h.at(i).val = new + 1
	return true
}

// Trim continues a rehash, for tables that are seldom changed, and begins one if the
// table should shrink. Call it regularly. It takes about 100 µs at most, and returns
// whether there is more to do.
func (t *Table) Trim() bool {
	t.shrink()
	t.rehash(trimStep)
	return t.old.mask != 0
}

// Close unmaps the entries. The table is empty then, and may be used again.
func (t *Table) Close() {
	t.cur.close()
	t.old.close()
	t.hold(0)
	t.init(t.owner)
}

// hold sets how many bytes the owner counts for the table.
func (t *Table) hold(bytes int) {
	if bytes != t.held {
		t.owner.Add(bytes - t.held)
		t.held = bytes
	}
}

// find returns the array and slot of an entry, or nil if there is none.
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

// shrink begins a rehash into half the slots if less than 15 % are in use.
func (t *Table) shrink() {
	if slots := t.cur.slots(); slots > tableMin && t.n < slots/20*3 && t.old.mask == 0 {
		// Without memory for the smaller array the larger one is kept.
		_ = t.resize(slots / 2)
	}
}

// resize begins a rehash. With 64 slots for each operation, the old array is empty
// long before the new one, which then is 40 % or 30 % full, needs another resize.
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

// rehash empties up to n slots of the old array into the new one.
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

// free returns the first empty slot from i on. There always is one, because an array
// is never more than 15/16 full.
func (h *tableHalf) free(i uint32) uint32 {
	for h.at(i).val != 0 {
		i++
	}
	return i
}

// find searches for an entry from slot i to the end of the run.
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

// remove empties slot i and moves later entries of the run back, so that no mark of
// the deletion is needed (Knuth, TAOCP 6.4, algorithm R). An entry may move to the
// empty slot if that is not before its home slot.
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

// close unmaps the array, unless it is that of an empty table.
func (h *tableHalf) close() {
	if h.mask != 0 {
		r := region{base: h.base, size: h.slots() * entrySize}
		r.free()
	}
	*h = tableHalf{}
}
