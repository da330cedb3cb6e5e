package session

import (
	"encoding/binary"

	"github.com/minio/highwayhash"

	"belfry/offheap"
	"belfry/ws"
)

// halfOpen are the connections of a shard whose request head was not complete
// after the first read. Those whose head came with the accept, which
// TCP_DEFER_ACCEPT makes the rule, are never in here and cost nothing; the
// others are found by their address, oldest first.
type halfOpen struct {
	table     *offheap.Table // by hash of the address: index in addresses
	all       *offheap.Records[halfConn]
	addresses *offheap.Records[halfAddress]
	key       *[32]byte // of the hash: addresses come from clients
}

// halfConn is one half-open connection. No Go pointers.
type halfConn struct {
	slot    uint32
	address uint32 // index of its address in halfOpen.from, + 1; 0: no limit counts it
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

// oldest returns the slot of an address' oldest half-open connection, and how
// many it has.
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

// OnHalfOpen implements poller.Watcher: a connection whose request was not all
// there at once has to wait, and so do those who wait with it.
func (h *shard) OnHalfOpen(slot uint32) {
	switch rec := h.rec(slot); {
	case rec.state != stateHead && rec.state != stateProxy:
	case h.srv.conns.Load() > h.opt.maxConns():
		h.refuseAndClose(slot, h.fullOfConnections())
	default:
		h.ps.SetTimer(slot, h.ps.Now()+ticks(h.opt.UpgradeTime))
		h.addHalfOpen(slot, rec)
	}
}

// addHalfOpen counts a connection as half-open. An address that already has half
// of the shard's places loses its oldest connection: a client that opens
// connections and sends nothing takes places from itself only. The bound is
// the shard's and not the node's: that needs no lock, and the kernel spreads
// the connections of an address evenly over the shards.
func (h *shard) addHalfOpen(slot uint32, rec *record) {
	key := h.keyOf(h.remote(slot))
	if oldest, n := h.halfOpen.oldest(key); n >= h.maxHalfOpen() {
		h.counters.limit(limitPending)
		h.refuseAndClose(oldest, &ws.Refusal{Status: 429, Cause: CauseHalfOpen, RetryAfter: h.opt.RetryAfter,
			Detail: "this address has too many connections without a complete request (upgrade.max_pending); its oldest one was closed"})
	}
	if h.srv.pending.Add(1) <= int64(h.opt.MaxPending) {
		if index, ok := h.halfOpen.put(slot, key); ok {
			rec.side = index + 1
			h.counters.halfOpened.Add(1)
			return
		}
	}
	h.srv.pending.Add(-1)
	h.counters.limit(limitPending)
	h.refuseAndClose(slot, ws.Unavailable("too many connections have not sent a complete request (upgrade.max_pending)", h.opt.RetryAfter).WithCause(CauseHalfOpen))
}

// dropHalfOpen stops counting a connection as half-open, if it is.
func (h *shard) dropHalfOpen(rec *record) {
	if rec.side != 0 && (rec.state == stateHead || rec.state == stateProxy) {
		h.halfOpen.drop(rec.side - 1)
		rec.side = 0
		h.srv.pending.Add(-1)
	}
}

// maxHalfOpen returns how many half-open connections of one address the shard
// keeps.
func (h *shard) maxHalfOpen() int { return max(1, h.opt.MaxPending/(2*len(h.srv.shards))) }

// maxConns is how many connections the node keeps, those that are ending
// included: descriptors are what it guards.
func (o *Options) maxConns() int64 { return int64(o.MaxSessions + o.MaxPending) }

func (h *shard) fullOfConnections() *ws.Refusal {
	h.counters.limit(limitSessions)
	return ws.Unavailable("this server has reached its limit of connections (max_connections)", h.opt.RetryAfter).WithCause(CauseSessions)
}

// refuseAndClose refuses a connection and closes it at once. Waiting for the client to
// close would keep the place that the refusal is to free.
func (h *shard) refuseAndClose(slot uint32, r *ws.Refusal) {
	h.refuse(slot, r)
	h.ps.Close(slot)
}
