package session

import (
	"encoding/binary"
	"net/netip"

	"belfry/offheap"
	"belfry/ws"
)

// addrKey stands for a ws.ClientPrefix. 0 is no address: that of a socket pair, or
// of a trusted proxy, which has many clients.
type addrKey uint64

// ipv4Key is in 0:ffff::/32, which is not assigned.
const ipv4Key = 0xffff << 32

func keyOf(a netip.Addr) addrKey {
	switch a = ws.ClientPrefix(a).Addr(); {
	case !a.IsValid():
		return 0
	case a.Is4():
		b := a.As4()
		return ipv4Key | addrKey(binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16()
	// Of 0::/64 only loopback connects. Its key must not be 0.
	return max(addrKey(binary.BigEndian.Uint64(b[:8])), 1)
}

// trusts says whether an address belongs to a trusted proxy.
func (o *Options) trusts(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range o.Proxy.Trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// remote is the address of a client, if the socket does not have it, or may not have
// it any more when the connection ends. No Go pointers.
type remote struct {
	addr    [16]byte
	slot    uint32
	port    uint16
	counted bool // in Server.addresses
}

// remotes returns the number of connections whose address may have to be kept.
func (o *Options) remotes() int {
	if len(o.Proxy.Trusted) > 0 || o.MaxPerAddress > 0 || o.Adopts {
		return o.MaxSessions + o.MaxPending
	}
	for _, e := range o.Poller.Listen {
		if e.State == (BehindProxy{}) {
			return o.MaxSessions + o.MaxPending
		}
	}
	return 1 // none is kept, so no address space is needed
}

// remotes are the addresses of a shard's clients that are kept, by slot. A
// connection whose address the socket tells costs nothing here. Owned by the
// shard.
type remotes struct {
	env
	table *offheap.Table // by slot
	all   *offheap.Records[remote]
}

func (r *remotes) init(e *env) (err error) {
	owner := e.opt.Poller.Memory.Owner("remotes")
	r.env, r.table = *e, offheap.NewTable(owner)
	r.all, err = offheap.NewRecords[remote](owner, e.opt.remotes())
	return err
}

func (r *remotes) close() {
	r.table.Close()
	r.all.Close()
}

// trim gives memory back that is not used any more.
func (r *remotes) trim() {
	r.table.Trim()
	r.all.Trim()
}

// find returns the index of a slot's remote. The slot is hash and key at once,
// so the first one under a hash is the right one.
func (r *remotes) find(slot uint32) (at uint32, ok bool) {
	p := r.table.Probe(slot)
	if !p.Next() {
		return 0, false
	}
	return p.Val(), true
}

func (r *remote) addrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(r.addr).Unmap(), r.port)
}

// of returns the address of a connection's client: what a trusted proxy says,
// else the socket's peer.
func (r *remotes) of(slot uint32) netip.AddrPort {
	if r.rec(slot).flags&flagRemote != 0 {
		if at, ok := r.find(slot); ok {
			return r.all.At(at).addrPort()
		}
	}
	return r.ps.RemoteAddr(slot)
}

// keyOf returns what an address counts under, 0 if nothing limits it.
func (o *Options) keyOf(a netip.AddrPort) addrKey {
	if !a.IsValid() || o.trusts(a.Addr()) {
		return 0
	}
	return keyOf(a.Addr())
}

// check charges a new connection to its client's address, and returns a refusal if a
// limit is reached. The address is kept if a proxy told it (told),
// since the socket has the proxy's, and if it was counted, since the socket may
// not have it any more when the connection ends.
func (r *remotes) check(slot uint32, a netip.AddrPort, told bool, what charge) *ws.Refusal {
	counted := false
	if r.opt.limitsAddresses() {
		if key := r.opt.keyOf(a); key != 0 {
			switch r.srv.addresses.enter(key, r.srv.now(), what) {
			case tooMany:
				r.counters.limit(limitPerAddress)
				return addressRefusal(r.opt, "this address has as many connections as it may (upgrade.max_per_address)")
			case tooFast:
				r.counters.limit(limitAddressRate)
				return addressRefusal(r.opt, addressTooFast)
			}
			counted = r.opt.MaxPerAddress > 0
		}
	}
	if told || counted {
		r.keep(slot, a, counted)
	}
	return nil
}

const addressTooFast = "this address opens connections faster than it may (upgrade.rate_per_address)"

func addressRefusal(o *Options, detail string) *ws.Refusal {
	return &ws.Refusal{Status: 429, Cause: CauseAddress, Detail: detail, RetryAfter: o.RetryAfter}
}

// arrived counts the address of a connection that was counted in another process.
func (r *remotes) arrived(it *handed) {
	if it.marks&markCounted == 0 {
		return
	}
	if r.opt.MaxPerAddress > 0 {
		r.srv.addresses.add(keyOf(it.remote.Addr()), r.srv.now())
	} else {
		it.marks &^= markCounted // there was a limit
	}
}

// keep stores the address of a slot instead of what was stored before. Without
// memory for it the address is not kept, and limits do not count the connection.
func (r *remotes) keep(slot uint32, a netip.AddrPort, counted bool) {
	r.forget(slot)
	if r.put(slot, a, counted) {
		r.rec(slot).flags |= flagRemote
	} else if counted {
		r.srv.addresses.leave(r.opt.keyOf(a), r.srv.now())
	}
}

func (r *remotes) put(slot uint32, a netip.AddrPort, counted bool) bool {
	at, ok := r.all.Alloc()
	if !ok {
		return false
	}
	if err := r.table.Insert(slot, at); err != nil {
		r.all.Free(at)
		return false
	}
	*r.all.At(at) = remote{addr: a.Addr().As16(), slot: slot, port: a.Port(), counted: counted}
	return true
}

// take returns the address of a slot, if one is kept, and forgets it. It stays
// counted: the connection goes to another shard.
func (r *remotes) take(slot uint32) (a netip.AddrPort, counted bool) {
	rec := r.rec(slot)
	if rec.flags&flagRemote == 0 {
		return a, false
	}
	rec.flags &^= flagRemote
	at, ok := r.find(slot)
	if !ok {
		return a, false
	}
	kept := *r.all.At(at)
	r.table.Delete(slot, at)
	r.all.Free(at)
	return kept.addrPort(), kept.counted
}

// forget forgets the address of a connection that ends, and stops counting it.
func (r *remotes) forget(slot uint32) {
	if a, counted := r.take(slot); counted {
		r.srv.addresses.leave(keyOf(a.Addr()), r.srv.now())
	}
}
