package poller

import (
	"fmt"
	"unsafe"

	"belfry/offheap"
)

// wheelLink is the part of a record that belongs to a wheel. newWheel gets its
// offset in the record. A zero link is a timer that is not set.
type wheelLink struct {
	// 0: the timer is in no list. Below headMark: slot + 1 of the timer before it.
	// headMark|list: it is the first in that list.
	prev     uint32
	next     uint32 // slot + 1 of the timer after it, 0 at the end
	deadline uint32 // tick
}

const (
	// wheelSpan is the span of the wheel in ticks (512 s in a shard). A timer
	// within it is looked at only once, when it is due.
	wheelSpan = 512
	wheelMask = wheelSpan - 1
	dueList   = wheelSpan // the list that nextDue takes from
	headMark  = 1 << 31   // slots are below 2^30
)

// wheel is a hashed timing wheel (Varghese and Lauck, scheme 6) with one timer for
// each slot of a slab. The links are in the slab's records, so a timer costs 12
// bytes and no allocation. set and cancel take a few writes, however many timers
// there are.
//
// Expiry has two steps, so that many timers at one tick cannot stop a shard:
// advance only moves the time, and nextDue returns one timer at a time. The caller
// may stop and continue later. Timers that are due meanwhile can be set and
// cancelled like others.
//
// A timer beyond the wheel's span stays in its list and is skipped once a round.
// Ticks may wrap: a deadline is in the future if it is less than 2^31 ticks ahead.
//
// A slot's timer must be cancelled before the slot is freed. A wheel belongs to
// the goroutine that owns its slab.
type wheel struct {
	base   unsafe.Pointer // of slot 0's link
	stride uintptr
	heads  []uint32 // by list: slot + 1 of the first timer, 0 if empty
	now    uint32   // tick of the last advance
	tick   uint32   // the lists of ticks up to this one were moved to dueList
	armed  int      // timers that are set
}

// newWheel makes a wheel over the records of s. offset is that of the wheelLink in a
// record (unsafe.Offsetof), a multiple of 4. now is the current tick.
func newWheel(s *offheap.Slab, offset uintptr, now uint32) (*wheel, error) {
	if offset%4 != 0 || offset+unsafe.Sizeof(wheelLink{}) > uintptr(s.Stride()) {
		return nil, fmt.Errorf("poller: wheel link at offset %d: must be a multiple of 4 and end within the record's %d bytes", offset, s.Stride())
	}
	return &wheel{
		base:   unsafe.Add(s.Ptr(0), offset),
		stride: uintptr(s.Stride()),
		heads:  make([]uint32, wheelSpan+1),
		now:    now,
		tick:   now,
	}, nil
}

// start sets the time of a wheel without timers.
func (w *wheel) start(now uint32) { w.now, w.tick = now, now }

func (w *wheel) link(slot uint32) *wheelLink {
	return (*wheelLink)(unsafe.Add(w.base, uintptr(slot)*w.stride))
}

// set sets the timer of a live slot to a tick, and replaces an earlier setting. A
// deadline that is not in the future becomes the next tick. It is never due at
// once, so that a caller of nextDue comes to an end even if it sets timers again.
func (w *wheel) set(slot, deadline uint32) {
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

// cancel cancels the timer of a slot, and returns whether one was set.
func (w *wheel) cancel(slot uint32) bool {
	l := w.link(slot)
	if l.prev == 0 {
		return false
	}
	w.unlink(l)
	return true
}

// deadline returns the tick for which the timer of a slot is set; ok is false if none is.
func (w *wheel) deadline(slot uint32) (tick uint32, ok bool) {
	l := w.link(slot)
	return l.deadline, l.prev != 0
}

// advance moves the time to now. It ignores an earlier tick. Then nextDue returns
// the timers that have become due.
func (w *wheel) advance(now uint32) {
	if int32(now-w.now) <= 0 {
		return
	}
	w.now = now
	if now-w.tick > wheelSpan {
		w.tick = now - wheelSpan // each list once is enough after a stall
	}
}

// nextDue removes one timer that is due and returns its slot. ok is false if no
// timer is due before the next advance. Timers come in the order of their ticks,
// and in any order within a tick.
func (w *wheel) nextDue() (slot uint32, ok bool) {
	for {
		for w.heads[dueList] != 0 {
			slot = w.heads[dueList] - 1
			l := w.link(slot)
			w.unlink(l)
			if int32(l.deadline-w.now) <= 0 {
				return slot, true
			}
			w.push(slot, l) // due in a later round
		}
		if w.tick == w.now {
			return 0, false
		}
		w.tick++
		w.splice(w.tick & wheelMask)
	}
}

// splice moves a list to the due list, which must be empty.
func (w *wheel) splice(list uint32) {
	first := w.heads[list]
	if first == 0 {
		return
	}
	w.heads[list] = 0
	w.heads[dueList] = first
	w.link(first - 1).prev = headMark | dueList
}

// push puts a slot that is in no list at the head of its deadline's list.
func (w *wheel) push(slot uint32, l *wheelLink) {
	list := l.deadline & wheelMask
	first := w.heads[list]
	l.prev, l.next = headMark|list, first
	if first != 0 {
		w.link(first - 1).prev = slot + 1
	}
	w.heads[list] = slot + 1
	w.armed++
}

// unlink removes a slot from its list.
func (w *wheel) unlink(l *wheelLink) {
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
