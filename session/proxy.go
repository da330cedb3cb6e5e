package session

import (
	"errors"
	"fmt"
	"net/netip"

	"belfry/ws"
)

// ProxyOptions say which proxies are believed about the addresses of their
// clients.
type ProxyOptions struct {
	// Trusted are the networks of proxies that are believed. Limits on
	// addresses do not count the proxies themselves.
	Trusted []netip.Prefix
	Header  ws.ForwardHeader // in which they name the client; the other one is ignored
}

// BehindProxy is the State of a poller.PortRange where every connection starts with
// a header of the PROXY protocol.
type BehindProxy struct{}

// arrived is called for a new connection. It counts the client's address, unless a
// PROXY header has to name it first.
func (u *upgrader) arrived(slot uint32, rec *record, state any) {
	a, adopted := state.(Admission)
	late := a.late
	if limit := u.srv.connectRate.Load(); limit != nil && !a.charged {
		late = !limit.take(u.srv.clock())
	}
	if late {
		rec.flags |= flagLate // it is refused when it sends its request, see tooFast
	}
	if adopted {
		u.arrivedBy(slot, a)
		return
	}
	if _, ok := state.(BehindProxy); ok {
		rec.state = stateProxy
		if len(u.opt.Proxy.Trusted) > 0 {
			if peer := u.ps.RemoteAddr(slot).Addr(); !u.opt.trusts(peer) {
				u.refuser.refuse(slot, ws.Forbidden(fmt.Sprintf("%v may not tell where its clients come from at this address: it is not in proxy.trusted, and the address is in proxy.protocol", peer)).WithCause(CauseProxy))
			}
		}
		return
	}
	if u.opt.limitsAddresses() {
		if refusal := u.remotes.check(slot, u.ps.RemoteAddr(slot), false, chargeAll); refusal != nil {
			u.refuser.refuse(slot, refusal)
		}
	}
}

// readProxy reads the PROXY header of a connection, and the request after it. It
// returns how many bytes are consumed.
func (u *upgrader) readProxy(slot uint32, p []byte) int {
	src, n, err := ws.ParsePROXY(p)
	if err != nil {
		u.refuser.refuse(slot, ws.BadRequest(proxyDetail(err)).WithCause(CauseProxy))
		return len(p)
	}
	if n == 0 {
		return 0
	}
	rec := u.rec(slot)
	waited := rec.side != 0
	u.halfOpen.leave(rec)
	rec.state = stateHead
	told := src.IsValid()
	if !told {
		src = u.ps.RemoteAddr(slot)
	}
	if told || u.opt.limitsAddresses() {
		if refusal := u.remotes.check(slot, src, told, chargeAll); refusal != nil {
			u.refuser.refuse(slot, refusal)
			return len(p)
		}
	}
	if n < len(p) {
		if m := u.readHead(slot, p[n:]); m > 0 {
			return n + m // the slot may belong to another connection now
		}
	}
	if waited {
		u.addHalfOpen(slot, rec) // again, by the client's address and not the proxy's
	}
	return n
}

// proxyDetail explains an error of ws.ParsePROXY to the operator of the proxy.
func proxyDetail(err error) string {
	none, ok := errors.AsType[*ws.NoPROXYError](err)
	if !ok {
		return err.Error()
	}
	return "a connection to this address begins with a PROXY protocol header (proxy.protocol), this one with " + none.Received +
		": let the proxy send the header (haproxy: send-proxy-v2, nginx: proxy_protocol on), or take the address out of proxy.protocol"
}

// forwarded takes the client's address from the header of a trusted proxy, and
// returns a refusal if a limit on addresses is reached. The peer's address is
// looked at only if the request has the header, so that other requests cost no
// system call.
func (u *upgrader) forwarded(slot uint32, r *ws.Request) *ws.Refusal {
	if len(u.opt.Proxy.Trusted) == 0 || r.Header(u.opt.Proxy.Header.String()) == nil {
		return nil
	}
	peer := u.remotes.of(slot)
	if !u.opt.trusts(peer.Addr()) {
		return nil
	}
	client, ok := ws.ForwardedClient(r, u.opt.Proxy.Header, u.opt.trusts, peer)
	if !ok {
		u.counters.unreadable.Add(1)
		return nil
	}
	if client == peer {
		return nil
	}
	return u.remotes.check(slot, client, true, chargeAll)
}
