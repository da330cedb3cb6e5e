package poller

import "sync/atomic"

// ring is a bounded queue for many producers and one consumer without locks
// (D. Vyukov's bounded queue): each cell carries the turn at which it may be
// written or read, so producers only meet at one counter.
type ring struct {
	mask  uint64
	cells []ringCell
	_     [64]byte
	tail  atomic.Uint64 // next to write; shared by producers
	_     [64]byte
	head  uint64 // next to read; owned by the consumer
}

type ringCell struct {
	seq  atomic.Uint64
	mail Mail
}

// newRing makes a ring for at least n items. It has two cells or more: with
// one, the turn at which it may be read would be the one at which it may be
// written again.
func newRing(n int) *ring {
	size := 2
	for size < n {
		size <<= 1
	}
	r := &ring{mask: uint64(size - 1), cells: make([]ringCell, size)}
	for i := range r.cells {
		r.cells[i].seq.Store(uint64(i))
	}
	return r
}

// push appends m, or returns false if the ring is full. Any goroutine.
func (r *ring) push(m Mail) bool {
	pos := r.tail.Load()
	for {
		c := &r.cells[pos&r.mask]
		switch turn := c.seq.Load(); {
		case turn == pos:
			if r.tail.CompareAndSwap(pos, pos+1) {
				c.mail = m
				c.seq.Store(pos + 1)
				return true
			}
			pos = r.tail.Load()
		case turn < pos:
			return false
		default:
			pos = r.tail.Load()
		}
	}
}

// pop takes the oldest item. Consumer only.
func (r *ring) pop() (Mail, bool) {
	c := &r.cells[r.head&r.mask]
	if c.seq.Load() != r.head+1 {
		return Mail{}, false
	}
	m := c.mail
	c.mail = Mail{}
	c.seq.Store(r.head + r.mask + 1)
	r.head++
	return m, true
}
