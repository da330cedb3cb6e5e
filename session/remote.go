package session

import (
	"encoding/binary"
	"net/netip"

	"belfry/offheap"
	"belfry/ws"
)

// addrKey stands for a ClientPrefix. 0 is no address: a socket pair's, or that
// of a trusted proxy, behind which many clients stand.
type addrKey uint64

// ipv4Key is the upper half of 0:ffff::/32, which is not assigned to anybody.
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
	// 0::/64 is loopback and nothing else that connects. It is not to be 0.
	return max(addrKey(binary.BigEndian.Uint64(b[:8])), 1)
}

// trusts says whether an address is that of a proxy that is believed.
func (o *Options) trusts(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range o.Proxy.Trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// remote is the address of a client, where the socket cannot tell it or will
// not be able to when the connection ends. No Go pointers.
type remote struct {
	addr    [16]byte
	slot    uint32
	port    uint16
	counted bool // in Server.addresses
}

// remotes returns for how many connections an address may have to be kept.
func (o *Options) remotes() int {
	if len(o.Proxy.Trusted) > 0 || o.MaxPerAddress > 0 {
		return o.MaxSessions + o.MaxPending
	}
	for _, e := range o.Poller.Listen {
		if e.State == (BehindProxy{}) {
			return o.MaxSessions + o.MaxPending
		}
	}
	return 1 // not even address space
}

// remotes are the remotes of a shard's connections, by slot. A connection
// without one costs nothing.
type remotes struct {
	table *offheap.Table // by slot
	all   *offheap.Records[remote]
}

func (r *remotes) init(owner *offheap.Owner, max int) (err error) {
	r.table = offheap.NewTable(owner)
	r.all, err = offheap.NewRecords[remote](owner, max)
	return err
}

func (r *remotes) close() {
	r.table.Close()
	r.all.Close()
}

func (r *remotes) trim() {
	r.table.Trim()
	r.all.Trim()
}

// find returns the remote of a slot. The slot is hash and key at once, so the
// first under a hash is the one.
func (r *remotes) find(slot uint32) (at uint32, ok bool) {
	p := r.table.Probe(slot)
	if !p.Next() {
		return 0, false
	}
	return p.Val(), true
}

// put keeps an address for a slot that has none yet. Without memory for it
// the address is not kept: limits then do not count the connection.
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

// take forgets the address of a slot and returns it.
func (r *remotes) take(slot uint32) (a netip.AddrPort, counted bool) {
	at, ok := r.find(slot)
	if !ok {
		return a, false
	}
	kept := *r.all.At(at)
	r.table.Delete(slot, at)
	r.all.Free(at)
	return kept.addrPort(), kept.counted
}

func (r *remote) addrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(r.addr).Unmap(), r.port)
}

// remote returns the address of a connection's client: what a proxy that is
// believed says, else the socket's peer.
func (h *shard) remote(slot uint32) netip.AddrPort {
	if h.rec(slot).flags&flagRemote != 0 {
		if at, ok := h.remotes.find(slot); ok {
			return h.remotes.all.At(at).addrPort()
		}
	}
	return h.ps.RemoteAddr(slot)
}

// keyOf returns what a connection counts under, 0 if nothing limits it.
func (h *shard) keyOf(a netip.AddrPort) addrKey {
	if !a.IsValid() || h.opt.trusts(a.Addr()) {
		return 0
	}
	return keyOf(a.Addr())
}

// checkAddress counts a new connection under its client's address. The address is kept
// if a proxy told it (told), since the socket has the proxy's, and if it was
// counted, since the socket may not have it any more when the connection ends.
// It returns a refusal if a limit is reached.
func (h *shard) checkAddress(slot uint32, a netip.AddrPort, told bool) *ws.Refusal {
	counted := false
	if h.opt.limitsAddresses() {
		if key := h.keyOf(a); key != 0 {
			switch h.srv.addresses.enter(key, h.srv.now()) {
			case tooMany:
				h.counters.limit(limitPerAddress)
				return addressRefusal(h.opt, "this address has as many connections as it may (upgrade.max_per_address)")
			case tooFast:
				h.counters.limit(limitAddressRate)
				return addressRefusal(h.opt, "this address opens connections faster than it may (upgrade.rate_per_address)")
			}
			counted = h.opt.MaxPerAddress > 0
		}
	}
	if told || counted {
		h.keepRemote(slot, a, counted)
	}
	return nil
}

func addressRefusal(o *Options, problem string) *ws.Refusal {
	return &ws.Refusal{Status: 429, Cause: CauseAddress, Detail: problem, RetryAfter: o.RetryAfter}
}

// keepRemote stores the address of a slot instead of what was stored before.
func (h *shard) keepRemote(slot uint32, a netip.AddrPort, counted bool) {
	h.forgetRemote(slot)
	if h.remotes.put(slot, a, counted) {
		h.rec(slot).flags |= flagRemote
	} else if counted {
		h.srv.addresses.leave(h.keyOf(a), h.srv.now())
	}
}

// takeRemote takes the address from a slot that goes to another shard.
func (h *shard) takeRemote(slot uint32) (a netip.AddrPort, counted bool) {
	rec := h.rec(slot)
	if rec.flags&flagRemote == 0 {
		return a, false
	}
	rec.flags &^= flagRemote
	return h.remotes.take(slot)
}

// forgetRemote forgets the address of a connection that ends.
func (h *shard) forgetRemote(slot uint32) {
	if a, counted := h.takeRemote(slot); counted {
		h.srv.addresses.leave(keyOf(a.Addr()), h.srv.now())
	}
}
