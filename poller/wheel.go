package poller

import (
	"fmt"
	"unsafe"

	"belfry/offheap"
)

// WheelLink is the part of a record that a Wheel owns: put one in the record
// and name its offset to NewWheel. A zeroed link is a timer that is not set.
type WheelLink struct {
	// Where the timer hangs: 0 means in no list; a number below headMark is
	// the neighbour's slot + 1; headMark|list means first of that list.
	prev     uint32
	next     uint32 // slot + 1 of the one after, 0 at the end
	deadline uint32 // tick
}

const (
	// wheelBuckets is the span in ticks (512 s in a shard) within which a
	// timer is looked at once only, when it is due.
	wheelBuckets = 512
	wheelMask    = wheelBuckets - 1
	dueList      = wheelBuckets // the list that NextDue takes from
	headMark     = 1 << 31      // slots are below 2^30
)

// Wheel is a hashed timing wheel (Varghese and Lauck, scheme 6): one deadline a
// slot, in ticks of the caller's choosing. The links live in the caller's
// records, so a timer costs 12 bytes there and no allocation, and Set and
// Cancel are a few writes whatever the number of timers.
//
// Expiry is split so that a stall or a crowd at one tick cannot hold a shard
// up: Advance only moves the time, NextDue hands out one timer at a time, and
// the caller stops when its slice of time is over and goes on later. Timers
// that wait meanwhile can be set and cancelled like any other.
//
// A deadline farther away than the wheel's span stays in its bucket and is
// passed over once a round. Ticks may wrap: a deadline is taken as future when
// it is less than 2^31 ticks ahead.
//
// A slot's timer must be cancelled before the slot is freed. A Wheel is owned
// by the goroutine that owns its slab.
type Wheel struct {
	base   unsafe.Pointer // of slot 0's link
	stride uintptr
	heads  []uint32 // slot + 1 of each list's first; the last list is the due one
	now    uint32   // Advance was told
	tick   uint32   // buckets up to here have been moved to the due list
	armed  int
}

// NewWheel makes a wheel over the records of s, whose WheelLink is at offset in
// each (unsafe.Offsetof). now is the current tick.
func NewWheel(s *offheap.Slab, offset uintptr, now uint32) (*Wheel, error) {
	if offset%4 != 0 || offset+unsafe.Sizeof(WheelLink{}) > uintptr(s.Stride()) {
		return nil, fmt.Errorf("poller: wheel link at offset %d: must be a multiple of 4 and end within the record's %d bytes", offset, s.Stride())
	}
	return &Wheel{
		base:   unsafe.Add(s.Ptr(0), offset),
		stride: uintptr(s.Stride()),
		heads:  make([]uint32, wheelBuckets+1),
		now:    now,
		tick:   now,
	}, nil
}

func (w *Wheel) link(slot uint32) *WheelLink {
	return (*WheelLink)(unsafe.Add(w.base, uintptr(slot)*w.stride))
}

// Set makes a live slot's timer due at a tick, in place of the one it had. A
// deadline that is not in the future is due at the next tick, never in the
// round of NextDue that is under way: a handler that sets its timer again and
// again would keep that one from ending.
func (w *Wheel) Set(slot, deadline uint32) {
	if int32(deadline-w.now) <= 0 {
		deadline = w.now + 1
	}
	l := w.link(slot)
	if l.prev != 0 {
		w.unlink(l)
	}
	l.deadline = deadline
	w.push(slot, l)
}

// Cancel takes a slot's timer off and reports whether there was one.
func (w *Wheel) Cancel(slot uint32) bool {
	l := w.link(slot)
	if l.prev == 0 {
		return false
	}
	w.unlink(l)
	return true
}

// Deadline returns the tick at which a slot's timer is due.
func (w *Wheel) Deadline(slot uint32) (tick uint32, ok bool) {
	l := w.link(slot)
	return l.deadline, l.prev != 0
}

// Len returns the number of timers that are set, those waiting for NextDue
// included.
func (w *Wheel) Len() int { return w.armed }

// Now returns the tick that Advance was last given.
func (w *Wheel) Now() uint32 { return w.now }

// Advance moves the time to now. Time does not go back: an earlier tick is
// ignored. What has become due is then to be had from NextDue.
func (w *Wheel) Advance(now uint32) {
	if int32(now-w.now) <= 0 {
		return
	}
	w.now = now
	if now-w.tick > wheelBuckets {
		w.tick = now - wheelBuckets // each bucket once is enough after a stall
	}
}

// NextDue takes the timer of one slot that is due off the wheel and returns
// the slot; ok is false when nothing is left until the next Advance. Timers
// come in order of their tick, and in no order within one.
func (w *Wheel) NextDue() (slot uint32, ok bool) {
	for {
		for w.heads[dueList] != 0 {
			slot = w.heads[dueList] - 1
			l := w.link(slot)
			w.unlink(l)
			if int32(l.deadline-w.now) <= 0 {
				return slot, true
			}
			w.push(slot, l) // of a later round
		}
		if w.tick == w.now {
			return 0, false
		}
		w.tick++
		w.splice(w.tick & wheelMask)
	}
}

// Pending reports whether NextDue may have more to give before time moves on:
// what a caller asks that stopped early.
func (w *Wheel) Pending() bool { return w.heads[dueList] != 0 || w.tick != w.now }

// splice makes a bucket the due list, which is empty.
func (w *Wheel) splice(bucket uint32) {
	first := w.heads[bucket]
	if first == 0 {
		return
	}
	w.heads[bucket] = 0
	w.heads[dueList] = first
	w.link(first - 1).prev = headMark | dueList
}

// push puts a slot that is in no list first into its deadline's bucket.
func (w *Wheel) push(slot uint32, l *WheelLink) {
	bucket := l.deadline & wheelMask
	first := w.heads[bucket]
	l.prev, l.next = headMark|bucket, first
	if first != 0 {
		w.link(first - 1).prev = slot + 1
	}
	w.heads[bucket] = slot + 1
	w.armed++
}

// unlink takes a slot out of the list it is in.
func (w *Wheel) unlink(l *WheelLink) {
	if l.next != 0 {
		w.link(l.next - 1).prev = l.prev
	}
	if l.prev&headMark != 0 {
		w.heads[l.prev&^headMark] = l.next
	} else {
		w.link(l.prev - 1).next = l.next
	}
	l.prev, l.next = 0, 0
	w.armed--
}
