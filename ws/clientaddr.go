package ws

import "net/netip"

// ClientPrefix returns the addresses that limits count as one client: an IPv4
// address, or the /64 of an IPv6 address, because a host can usually choose its
// address within a /64. The zero Addr gives the zero Prefix.
func ClientPrefix(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	p, _ := a.Prefix(min(a.BitLen(), 64)) // fails only for the zero Addr
	return p
}
