package poller

import (
	"math/bits"
	"sync/atomic"

	"belfry/offheap"
)

// An account says what one connection holds of Options.InboundBytes: bytes that
// were received and not consumed, and what the handler charges it for. It
// exists only while something is held.
type account struct {
	id      ID
	bytes   int    // all that is charged, accountSize included
	unread  []byte // received, not consumed by the handler; charged by its capacity
	paused  bool   // reading was paused while the account existed
	resumed uint32 // tick of the last Resume, if paused

	class      int
	prev, next *account // of the same class, the one that is in it longest first
}

// accountSize is charged for an account itself: a million connections that hold
// one byte each hold more than that.
const accountSize = 128

// accountClasses is one more than the highest class: the bits of a size.
const accountClasses = 64

// sizeClass returns the class of a size: log2, rounded down.
func sizeClass(bytes int) int { return bits.Len64(uint64(bytes)) - 1 }

// accounts are those of a shard, in lists by size class, so that one of those
// that hold most is found without a walk.
type accounts struct {
	index offheap.Index[*account]
	first [accountClasses]*account
	last  [accountClasses]*account
	used  uint64 // a bit for each class in which there is an account
	free  []*account

	top atomic.Int32 // 1 + the highest class in use; other shards read it
}

// freeAccounts is how many accounts are kept to be used again.
const freeAccounts = 256

func (x *accounts) enter(a *account) {
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

func (x *accounts) leave(a *account) {
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

func (x *accounts) publishTop() {
	if top := int32(bits.Len64(x.used)); x.top.Load() != top {
		x.top.Store(top)
	}
}

// resize changes what a holds and, where that is another class, its list.
func (x *accounts) resize(a *account, bytes int) {
	a.bytes = bytes
	if sizeClass(bytes) != a.class {
		x.leave(a)
		x.enter(a)
	}
}

// largest returns an account of the highest class in use that is not but, nil
// if but is alone there or size, which but wants to hold, is of a higher class.
func (x *accounts) largest(but *account, size int) *account {
	top := bits.Len64(x.used) - 1
	if top < 0 || sizeClass(size) > top {
		return nil
	}
	if a := x.first[top]; a != but {
		return a
	}
	return but.next
}

// account returns what c holds, nil if it holds nothing.
func (s *Shard) account(c *conn) *account {
	if c.account == 0 {
		return nil
	}
	return s.accounts.index.Get(c.account)
}

// openAccount makes an account that is counted already, with the bytes in it.
func (s *Shard) openAccount(slot uint32, c *conn, bytes int) *account {
	var a *account
	if n := len(s.accounts.free); n > 0 {
		a = s.accounts.free[n-1]
		s.accounts.free = s.accounts.free[:n-1]
	} else {
		a = new(account)
	}
	a.id, a.bytes = s.ID(slot), bytes
	c.account = s.accounts.index.Put(a)
	s.accounts.enter(a)
	return a
}

// closeAccount gives up all that c holds.
func (s *Shard) closeAccount(c *conn) {
	a := s.account(c)
	if a == nil {
		return
	}
	s.loop.inbound.Add(-int64(a.bytes))
	s.accounts.leave(a)
	s.accounts.index.Drop(c.account)
	c.account = 0
	s.freeUnread(a.unread)
	*a = account{}
	if len(s.accounts.free) < freeAccounts {
		s.accounts.free = append(s.accounts.free, a)
	}
}

// Charge counts n bytes that the handler wants to hold of what a connection
// sends. It returns false if there is no room (Options.InboundBytes) and no
// connection of the shard that holds more, which would give way (Reclaimer).
func (s *Shard) Charge(slot uint32, n int) bool {
	_, ok := s.charge(slot, s.at(slot), n)
	return ok
}

func (s *Shard) charge(slot uint32, c *conn, n int) (*account, bool) {
	a := s.account(c)
	if a == nil {
		n += accountSize
		if !s.reserve(nil, n, n) {
			return nil, false
		}
		return s.openAccount(slot, c, n), true
	}
	if !s.reserve(a, a.bytes+n, n) {
		return nil, false
	}
	s.accounts.resize(a, a.bytes+n)
	return a, true
}

// Uncharge takes back what was charged.
func (s *Shard) Uncharge(slot uint32, n int) {
	c := s.at(slot)
	if a := s.account(c); a != nil {
		// Not more than the handler holds: the account may have been closed,
		// and opened anew, since.
		s.uncharge(c, a, min(n, a.bytes-accountSize-cap(a.unread)))
	}
}

func (s *Shard) uncharge(c *conn, a *account, n int) {
	if a.bytes-n == accountSize {
		s.closeAccount(c)
		return
	}
	s.loop.inbound.Add(-int64(n))
	s.accounts.resize(a, a.bytes-n)
}

// ChargeNode counts n bytes that came from a connection, which has size bytes of
// that kind with them, and that do not go when it ends. It returns false as
// Charge does. UnchargeNode takes them back; any goroutine.
func (s *Shard) ChargeNode(slot uint32, size, n int) bool {
	return s.reserve(s.account(s.at(slot)), size, n)
}

// UnchargeNode is the reverse of ChargeNode. Any goroutine.
func (s *Shard) UnchargeNode(n int) { s.loop.inbound.Add(-int64(n)) }
