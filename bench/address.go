package bench

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// family is the address family of an address, AF_INET or AF_INET6. An IPv4
// address mapped into IPv6 has neither, because it would need sockets of both
// families.
func family(a netip.Addr) (int, error) {
	switch {
	case a.Is4():
		return unix.AF_INET, nil
	case a.Is6() && !a.Is4In6() && a.Zone() == "":
		return unix.AF_INET6, nil
	}
	return 0, fmt.Errorf("%v is not an IPv4 address, or an IPv6 address without a zone", a)
}

// sockaddr returns a in the form of the kernel.
func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
