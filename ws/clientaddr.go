package ws

import "net/netip"

// ClientPrefix returns the addresses that limits take for one client: an IPv4
// address, or the /64 that an IPv6 address is in, since a host has a whole /64
// to choose from. The zero Addr gives the zero Prefix.
func ClientPrefix(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	p, _ := a.Prefix(min(a.BitLen(), 64)) // fails for the zero Addr alone
	return p
}
