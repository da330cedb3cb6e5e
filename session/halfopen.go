package session

import (
	"encoding/binary"

	"github.com/minio/highwayhash"

	"belfry/offheap"
	"belfry/ws"
)

// halfOpen are the connections of a shard whose request head was not complete
// after the first read. With TCP_DEFER_ACCEPT the head usually arrives with the
// accept; such connections are never in here and cost nothing. The others are
// found by their address, the oldest first. Owned by the shard.
type halfOpen struct {
	env
	table     *offheap.Table // by hash of the address: index in addresses
	all       *offheap.Records[halfConn]
	addresses *offheap.Records[halfAddress]
	key       *[32]byte // of the hash: addresses come from clients
}

// halfConn is one half-open connection. No Go pointers.
type halfConn struct {
	slot    uint32
	address uint32 // index in halfOpen.addresses, + 1; 0: no limit counts it
	next    uint32 // the next younger one of the address, index + 1
	prev    uint32
}

// halfAddress is an address with half-open connections. No Go pointers.
type halfAddress struct {
	key    addrKey
	hash   uint32
	n      uint32
	oldest uint32 // index + 1
	newest uint32
}

func (t *halfOpen) init(o *Options) (err error) {
	t.key = &o.Key
	owner := o.Poller.Memory.Owner("half_open")
	t.table = offheap.NewTable(owner)
	if t.all, err = offheap.NewRecords[halfConn](owner, o.MaxPending); err != nil {
		return err
	}
	t.addresses, err = offheap.NewRecords[halfAddress](owner, o.MaxPending)
	return err
}

func (t *halfOpen) close() {
	t.table.Close()
	t.all.Close()
	t.addresses.Close()
}

func (t *halfOpen) trim() {
	t.table.Trim()
	t.all.Trim()
	t.addresses.Trim()
}

func (t *halfOpen) find(key addrKey) (at, hash uint32, ok bool) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(key))
	hash = uint32(highwayhash.Sum64(b[:], t.key[:]))
	for p := t.table.Probe(hash); p.Next(); {
		if t.addresses.At(p.Val()).key == key {
			return p.Val(), hash, true
		}
	}
	return 0, hash, false
}

// oldest returns the slot of the oldest half-open connection of an address, and
// how many such connections the address has.
func (t *halfOpen) oldest(key addrKey) (slot uint32, n int) {
	if key == 0 {
		return 0, 0
	}
	at, _, ok := t.find(key)
	if !ok {
		return 0, 0
	}
	a := t.addresses.At(at)
	return t.all.At(a.oldest - 1).slot, int(a.n)
}

// put adds a connection as the newest of its address, and returns its index.
func (t *halfOpen) put(slot uint32, key addrKey) (index uint32, ok bool) {
	if index, ok = t.all.Alloc(); !ok {
		return 0, false
	}
	*t.all.At(index) = halfConn{slot: slot}
	if key == 0 {
		return index, true
	}
	at, hash, ok := t.find(key)
	if !ok {
		if at, ok = t.addresses.Alloc(); !ok {
			t.all.Free(index)
			return 0, false
		}
		if err := t.table.Insert(hash, at); err != nil {
			t.addresses.Free(at)
			t.all.Free(index)
			return 0, false
		}
		*t.addresses.At(at) = halfAddress{key: key, hash: hash}
	}
	c, a := t.all.At(index), t.addresses.At(at)
	c.address, c.prev = at+1, a.newest
	if a.newest != 0 {
		t.all.At(a.newest - 1).next = index + 1
	} else {
		a.oldest = index + 1
	}
	a.newest = index + 1
	a.n++
	return index, true
}

// drop forgets a connection.
func (t *halfOpen) drop(index uint32) {
	c := *t.all.At(index)
	t.all.Free(index)
	if c.address == 0 {
		return
	}
	a := t.addresses.At(c.address - 1)
	if c.prev != 0 {
		t.all.At(c.prev - 1).next = c.next
	} else {
		a.oldest = c.next
	}
	if c.next != 0 {
		t.all.At(c.next - 1).prev = c.prev
	} else {
		a.newest = c.prev
	}
	if a.n--; a.n == 0 {
		t.table.Delete(a.hash, c.address-1)
		t.addresses.Free(c.address - 1)
	}
}

// leave stops counting a connection as half-open, if it is counted.
func (t *halfOpen) leave(rec *record) {
	if rec.side != 0 && (rec.state == stateHead || rec.state == stateProxy) {
		t.drop(rec.side - 1)
		rec.side = 0
		t.srv.pending.Add(-1)
	}
}

// perAddress returns how many half-open connections of one address the shard
// keeps. The bound is the shard's and not the node's: so it needs no lock, and the
// kernel spreads the connections of an address evenly over the shards.
func (t *halfOpen) perAddress() int { return max(1, t.opt.MaxPending/(2*len(t.srv.shards))) }

// halfOpened is called for each new connection that stays in this shard, after its
// first read. It counts the connection if its request is not complete.
func (u *upgrader) halfOpened(slot uint32, rec *record) {
	switch {
	case rec.state != stateHead && rec.state != stateProxy:
	case u.srv.conns.Load() > u.opt.maxConns():
		u.refuser.refuseAndClose(slot, u.refuser.fullOfConnections())
	default:
		u.ps.SetTimer(slot, u.ps.Now()+ticks(u.opt.UpgradeTime))
		u.addHalfOpen(slot, rec)
	}
}

// addHalfOpen counts a connection as half-open. An address that already has half
// of the shard's places loses its oldest connection. So a client that opens
// connections and sends nothing takes places from itself only.
func (u *upgrader) addHalfOpen(slot uint32, rec *record) {
	key := u.opt.keyOf(u.remotes.of(slot))
	if oldest, n := u.halfOpen.oldest(key); n >= u.halfOpen.perAddress() {
		u.counters.limit(limitPending)
		u.refuser.refuseAndClose(oldest, &ws.Refusal{Status: 429, Cause: CauseHalfOpen, RetryAfter: u.opt.RetryAfter,
			Detail: "this address has too many connections without a complete request (upgrade.max_pending); its oldest one was closed"})
	}
	if u.srv.pending.Add(1) <= int64(u.opt.MaxPending) {
		if index, ok := u.halfOpen.put(slot, key); ok {
			rec.side = index + 1
			u.counters.halfOpened.Add(1)
			return
		}
	}
	u.srv.pending.Add(-1)
	u.counters.limit(limitPending)
	u.refuser.refuseAndClose(slot, ws.Unavailable("too many connections have not sent a complete request (upgrade.max_pending)", u.opt.RetryAfter).WithCause(CauseHalfOpen))
}

// maxConns is how many connections the node keeps, those that are ending
// included: it guards the limit of open files.
func (o *Options) maxConns() int64 { return int64(o.MaxSessions + o.MaxPending) }
