package session

import (
	"net/netip"

	"belfry/ws"
)

// Admission is a connection that Server.Admit lets in. The zero value with an address is
// one that was not asked about: it is charged when it arrives at its shard.
type Admission struct {
	Remote  netip.AddrPort // the client's address; not valid: not known
	charged bool           // for Options.ConnectRate and Options.RatePerAddress
	late    bool           // beyond Options.ConnectRate: its request is refused unless it is for HealthPath
}

// Admit charges a new connection for Options.RatePerAddress and Options.ConnectRate,
// before anything is spent on it: package bridge asks before a TLS handshake, which costs
// fifteen times as much as to refuse it here. The connection goes to Adopt with the Admission, and is not
// charged again. A refusal was counted; nothing is to be given back after it, nor if the
// connection ends before Adopt. Options.MaxPerAddress counts from Adopt on.
//
// A proxy of Options.Proxy.Trusted is not refused here. No limit on addresses counts it,
// and beyond Options.ConnectRate its request has to be read first: it may be a health
// check, by which a load balancer would take the node for dead.
//
// Any goroutine.
func (s *Server) Admit(remote netip.AddrPort) (Admission, *ws.Refusal) {
	a := Admission{Remote: remote, charged: true}
	key := s.opt.keyOf(remote)
	// The address first: one that is too fast takes nothing from the node's rate.
	if key != 0 && s.opt.RatePerAddress > 0 && s.addresses.enter(key, s.now(), chargeRate) == tooFast {
		s.early[limitAddressRate].Add(1)
		return a, addressRefusal(&s.opt, addressTooFast)
	}
	if limit := s.connectRate.Load(); limit != nil && !limit.take(s.clock()) {
		if a.late = key == 0; !a.late {
			s.early[limitConnectRate].Add(1)
			return a, overRate(&s.opt)
		}
	}
	return a, nil
}
