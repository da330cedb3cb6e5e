package poller

import "sync/atomic"

// ring is a bounded queue for many producers and one consumer without locks
// (D. Vyukov's bounded queue). Each cell has a sequence number that says when it
// may be written or read, so producers compete for one counter only.
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

// newRing makes a ring for at least n items. It has at least two cells: with one,
// the sequence numbers for reading and for the next writing would be equal.
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
		switch seq := c.seq.Load(); {
		case seq == pos:
			if r.tail.CompareAndSwap(pos, pos+1) {
				c.mail = m
				c.seq.Store(pos + 1)
				return true
			}
			pos = r.tail.Load()
		case seq < pos:
			return false
		default:
			pos = r.tail.Load()
		}
	}
}

// pop takes the oldest item. ok is false if the ring is empty. Consumer only.
func (r *ring) pop() (m Mail, ok bool) {
	c := &r.cells[r.head&r.mask]
	if c.seq.Load() != r.head+1 {
		return Mail{}, false
	}
	m = c.mail
	c.mail = Mail{}
	c.seq.Store(r.head + r.mask + 1)
	r.head++
	return m, true
}
