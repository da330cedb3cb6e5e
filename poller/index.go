package poller

// Index keeps the few things that only some connections have at a time, and
// names each by a number above 0, which fits into a record without pointers.
type Index[T any] struct {
	items []T
	free  []uint32
}

// Put stores v and returns its number.
func (x *Index[T]) Put(v T) uint32 {
	if n := len(x.free); n > 0 {
		i := x.free[n-1]
		x.free = x.free[:n-1]
		x.items[i-1] = v
		return i
	}
	x.items = append(x.items, v)
	return uint32(len(x.items))
}

// Get and Set read and replace what number i stands for.
func (x *Index[T]) Get(i uint32) T    { return x.items[i-1] }
func (x *Index[T]) Set(i uint32, v T) { x.items[i-1] = v }

// Len returns how many things are kept.
func (x *Index[T]) Len() int { return len(x.items) - len(x.free) }

// Drop forgets number i. When the last is gone the memory goes too.
func (x *Index[T]) Drop(i uint32) {
	var zero T
	x.items[i-1] = zero
	x.free = append(x.free, i)
	if len(x.free) == len(x.items) {
		x.items, x.free = x.items[:0], x.free[:0]
		if cap(x.items) > 1024 {
			x.items, x.free = nil, nil
		}
	}
}
