package offheap

// Index keeps Go values that only some connections have at a time. It gives each a
// number above 0, which can stand in a record that has no pointers. The zero value
// is ready to use.
//
// The lowest free number is used first, as in a Slab: after many values were
// dropped, the remaining ones move to the low numbers over time, and the memory
// behind them can be given back.
//
// The values are on the Go heap. An Index belongs to one goroutine.
type Index[T any] struct {
	items []T // by number - 1
	taken bitmap
	n     int // values
}

// indexKeep is the capacity below which an Index does not give memory back.
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

// Get returns the value with number i, which must be in use.
func (x *Index[T]) Get(i uint32) T { return x.items[i-1] }

// Set replaces the value with number i, which must be in use.
func (x *Index[T]) Set(i uint32, v T) { x.items[i-1] = v }

// Len returns the number of values.
func (x *Index[T]) Len() int { return x.n }

// Drop removes the value with number i, which must be in use. It gives memory back
// when the highest number in use is less than a quarter of the capacity.
func (x *Index[T]) Drop(i uint32) {
	var zero T
	x.items[i-1] = zero
	x.taken.clear(i - 1)
	x.n--
	if int(i) < len(x.items) {
		return // a higher number may be in use
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
