package poller

import "belfry/offheap"

// account says how many bytes of Options.InboundBytes one connection holds:
// unread bytes and what the handler charges to it. It exists only while the
// connection holds some.
type account struct {
	id      ID
	bytes   int    // everything that is charged, accountSize included
	unread  []byte // received and not consumed by the handler; charged by its capacity
	paused  bool   // reading was paused while the account existed
	resumed uint32 // tick of the last Resume, if paused

	class      int      // sizeClass(bytes)
	prev, next *account // in the list of the class, oldest first
}

// accountSize is charged for an account itself, in bytes: a million connections
// that hold one byte each use more memory than that.
const accountSize = 128

// freeAccounts is how many accounts are kept to be used again.
const freeAccounts = 256

// accounts are the accounts of a shard. They belong to the shard's goroutine,
// except for node and classes.top.
type accounts struct {
	conns    *conns
	counters *Counters
	node     *nodeInput
	reclaim  func(slot uint32) // has the handler give up what it charged to a connection

	index   offheap.Index[*account] // by conn.account
	classes accountClasses
	free    []*account
	spare   [][]byte // buffers of minUnread bytes, to be used again
}

// of returns the account of a connection, nil if it holds nothing.
func (x *accounts) of(c *conn) *account {
	if c.account == 0 {
		return nil
	}
	return x.index.Get(c.account)
}

// open makes an account for bytes that the node counts already.
func (x *accounts) open(id ID, c *conn, bytes int) *account {
	var a *account
	if n := len(x.free); n > 0 {
		a = x.free[n-1]
		x.free = x.free[:n-1]
	} else {
		a = new(account)
	}
	a.id, a.bytes = id, bytes
	c.account = x.index.Put(a)
	x.classes.enter(a)
	return a
}

// close gives up everything that a connection holds.
func (x *accounts) close(c *conn) {
	a := x.of(c)
	if a == nil {
		return
	}
	x.node.add(-a.bytes)
	x.classes.leave(a)
	x.index.Drop(c.account)
	c.account = 0
	x.freeUnread(a.unread)
	*a = account{}
	if len(x.free) < freeAccounts {
		x.free = append(x.free, a)
	}
}

// charge adds n bytes to the account of a connection. It returns false if the
// node has no room for them and no connection of the shard holds more than this
// one.
func (x *accounts) charge(slot uint32, c *conn, n int) (*account, bool) {
	a := x.of(c)
	if a == nil {
		n += accountSize
		if !x.reserve(nil, n, n) {
			return nil, false
		}
		return x.open(x.conns.id(slot), c, n), true
	}
	if !x.reserve(a, a.bytes+n, n) {
		return nil, false
	}
	x.classes.resize(a, a.bytes+n)
	return a, true
}

// uncharge takes n bytes off an account, and closes it if nothing is left.
func (x *accounts) uncharge(c *conn, a *account, n int) {
	if a.bytes-n == accountSize {
		x.close(c)
		return
	}
	x.node.add(-n)
	x.classes.resize(a, a.bytes-n)
}

// unchargeHandler is uncharge of bytes that the handler had charged. The account
// may have been closed, and another one opened, in the meantime: so it takes off
// no more than the handler holds.
func (x *accounts) unchargeHandler(c *conn, n int) {
	if a := x.of(c); a != nil {
		x.uncharge(c, a, min(n, a.bytes-accountSize-cap(a.unread)))
	}
}

// reserve counts n more bytes for the node. If there is no room, the largest
// accounts of the shard are reclaimed. It returns false if a, which would hold
// size bytes then, is the largest itself. a is nil for a connection without an
// account.
func (x *accounts) reserve(a *account, size, n int) bool {
	for n > 0 {
		held := x.node.held.Load()
		if want := held + int64(n); want > x.node.limit || want > x.node.share() && x.holdsMost(size) {
			if !x.reclaimLargest(a, size) {
				return false
			}
		} else if x.node.held.CompareAndSwap(held, want) {
			return true
		}
	}
	return true
}

// holdsMost says whether no other shard has an account of a higher class than
// this shard has, when one of its connections holds size bytes.
func (x *accounts) holdsMost(size int) bool {
	return x.node.isTop(max(x.classes.top.Load(), int32(sizeClass(size)+1)))
}

// reclaimLargest takes everything from the connection with the largest account,
// other than a.
func (x *accounts) reclaimLargest(a *account, size int) bool {
	victim := x.classes.largest(a, size)
	if victim == nil {
		return false
	}
	x.reclaimFrom(victim.id.Slot())
	return true
}

// reclaimFrom takes everything that a connection holds: what the handler has
// charged, which it is told to give up, and the unread bytes.
func (x *accounts) reclaimFrom(slot uint32) {
	x.counters.Reclaimed.Add(1)
	x.reclaim(slot)
	x.close(x.conns.at(slot)) // and what the handler forgot to uncharge
}
