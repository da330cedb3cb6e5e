package poller

import (
	"math/bits"
	"sync/atomic"
)

// sizeClasses is the number of size classes: one for each bit of a size.
const sizeClasses = 64

// sizeClass returns the class of a size in bytes, which is at least 1: log2,
// rounded down.
func sizeClass(bytes int) int { return bits.Len64(uint64(bytes)) - 1 }

// accountClasses are the accounts of a shard in lists by size class, so that
// one of the largest is found without a walk.
type accountClasses struct {
	first [sizeClasses]*account
	last  [sizeClasses]*account
	used  uint64 // a bit for each class that has an account

	top atomic.Int32 // 1 + the highest class in use, 0 if none is; other shards read it
}

func (x *accountClasses) enter(a *account) {
	a.class = sizeClass(a.bytes)
	a.prev, a.next = x.last[a.class], nil
	if a.prev == nil {
		x.first[a.class] = a
	} else {
		a.prev.next = a
	}
	x.last[a.class] = a
	x.used |= 1 << a.class
	x.publishTop()
}

func (x *accountClasses) leave(a *account) {
	if a.prev == nil {
		x.first[a.class] = a.next
	} else {
		a.prev.next = a.next
	}
	if a.next == nil {
		x.last[a.class] = a.prev
	} else {
		a.next.prev = a.prev
	}
	a.prev, a.next = nil, nil
	if x.first[a.class] == nil {
		x.used &^= 1 << a.class
		x.publishTop()
	}
}

func (x *accountClasses) publishTop() {
	if top := int32(bits.Len64(x.used)); x.top.Load() != top {
		x.top.Store(top)
	}
}

// resize changes the bytes of an account, and its list if the class is another.
func (x *accountClasses) resize(a *account, bytes int) {
	a.bytes = bytes
	if sizeClass(bytes) != a.class {
		x.leave(a)
		x.enter(a)
	}
}

// largest returns an account of the highest class in use, other than but. It
// returns nil if there is none, or if but, which wants to hold size bytes, is of
// a higher class then.
func (x *accountClasses) largest(but *account, size int) *account {
	top := bits.Len64(x.used) - 1
	if top < 0 || sizeClass(size) > top {
		return nil
	}
	if a := x.first[top]; a != but {
		return a
	}
	return but.next
}
