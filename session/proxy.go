package session

import (
	"fmt"
	"net/netip"

	"belfry/ws"
)

// ProxyOptions say what is believed about the address of a client that comes
// through a proxy.
type ProxyOptions struct {
	// Trusted are the networks of proxies that are believed. Limits on
	// addresses do not count the proxies themselves.
	Trusted []netip.Prefix
	Header  ws.ForwardHeader // in which they name the client; the other one is not looked at
}

// BehindProxy is the State of a poller.Endpoint at which every connection
// begins with a header of the PROXY protocol.
type BehindProxy struct{}

// arrived is the first look at a new connection. Its address is counted if it
// is known already.
func (h *shard) arrived(slot uint32, rec *record, state any) {
	if _, ok := state.(BehindProxy); ok {
		rec.state = stateProxy
		if len(h.opt.Proxy.Trusted) > 0 {
			if peer := h.ps.RemoteAddr(slot).Addr(); !h.opt.trusts(peer) {
				h.refuse(slot, ws.Forbidden(fmt.Sprintf("%v may not tell where its clients come from at this address: it is not in proxy.trusted, and the address is in proxy.protocol", peer)).WithCause(CauseProxy))
			}
		}
		return
	}
	if h.opt.limitsAddresses() {
		if refusal := h.checkAddress(slot, h.ps.RemoteAddr(slot), false); refusal != nil {
			h.refuse(slot, refusal)
		}
	}
}

// readProxy reads the PROXY header that a connection begins with, and the
// request behind it.
func (h *shard) readProxy(slot uint32, p []byte) int {
	src, n, err := ws.ParsePROXY(p)
	if err != nil {
		h.refuse(slot, ws.BadRequest(ws.PROXYProblem(err, p)).WithCause(CauseProxy))
		return len(p)
	}
	if n == 0 {
		return 0
	}
	rec := h.rec(slot)
	waited := rec.side != 0
	h.dropHalfOpen(rec)
	rec.state = stateHead
	told := src.IsValid()
	if !told {
		src = h.ps.RemoteAddr(slot)
	}
	if told || h.opt.limitsAddresses() {
		if refusal := h.checkAddress(slot, src, told); refusal != nil {
			h.refuse(slot, refusal)
			return len(p)
		}
	}
	if n < len(p) {
		if m := h.readHead(slot, p[n:]); m > 0 {
			return n + m // and the slot may be another's
		}
	}
	if waited {
		h.addHalfOpen(slot, rec) // again, by the client's address and not the proxy's
	}
	return n
}

// forwarded takes the client's address from the header of a proxy that is
// believed. Whether the peer is one is only looked at if the header is there,
// so that requests without it cost no system call.
func (h *shard) forwarded(slot uint32, r *ws.Request) *ws.Refusal {
	if len(h.opt.Proxy.Trusted) == 0 || r.Header(h.opt.Proxy.Header.String()) == nil {
		return nil
	}
	peer := h.remote(slot)
	if !h.opt.trusts(peer.Addr()) {
		return nil
	}
	client, ok := ws.ForwardedClient(r, h.opt.Proxy.Header, h.opt.trusts, peer)
	if !ok {
		h.counters.unreadable.Add(1)
		return nil
	}
	if client == peer {
		return nil
	}
	return h.checkAddress(slot, client, true)
}
