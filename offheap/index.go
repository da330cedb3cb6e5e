package offheap

// Index keeps the few things that only some connections have at a time, and
// names each by a number above 0, which fits into a record without pointers.
//
// The lowest free number is always given first, as slots are in a Slab and for
// the same reason: after a crowd has left, what remains drifts to the low end
// and the memory behind it can go.
type Index[T any] struct {
	items []T // up to the highest number in use, or one that was
	taken bitmap
	n     int
}

// indexKeep is how many places an Index keeps however few are used.
const indexKeep = 1024

// Put stores v and returns its number.
func (x *Index[T]) Put(v T) uint32 {
	if x.taken.depth == 0 {
		x.taken.init(MaxRecords)
	}
	i := x.taken.lowestFree()
	x.taken.set(i)
	x.n++
	if int(i) == len(x.items) {
		x.items = append(x.items, v)
	} else {
		x.items[i] = v
	}
	return i + 1
}

// Get and Set read and replace what number i stands for.
func (x *Index[T]) Get(i uint32) T    { return x.items[i-1] }
func (x *Index[T]) Set(i uint32, v T) { x.items[i-1] = v }

// Len returns how many things are kept.
func (x *Index[T]) Len() int { return x.n }

// Drop forgets number i. Memory goes when the highest number in use is far
// below what there is room for.
func (x *Index[T]) Drop(i uint32) {
	var zero T
	x.items[i-1] = zero
	x.taken.clear(i - 1)
	x.n--
	if int(i) < len(x.items) {
		return // not the last: what is behind it stays
	}
	last, ok := x.taken.highest()
	if !ok {
		x.items = x.items[:0]
	} else {
		x.items = x.items[:last+1]
	}
	if room := cap(x.items); room > indexKeep && len(x.items) < room/4 {
		x.items = append(make([]T, 0, max(indexKeep, 2*len(x.items))), x.items...)
	}
}
