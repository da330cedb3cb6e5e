package million

import (
	"fmt"
	"net"
	"net/netip"
)

// loopback is where every server listens.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// ports returns loopback ports from a number upwards. They are below the
// ephemeral range: a port chosen by bind(2) could be used by a connection of
// another node before its own node listens on it.
type ports struct {
	next, end int
}

// take returns n ports that are not in use.
func (p *ports) take(n int) ([]netip.AddrPort, error) {
	addrs := make([]netip.AddrPort, 0, n)
	for ; len(addrs) < n; p.next++ {
		if p.next >= p.end {
			return nil, fmt.Errorf("no free port of %s is left below %d, where ephemeral ports begin: use a lower --first-port", loopback, p.end)
		}
		addr := netip.AddrPortFrom(loopback, uint16(p.next))
		l, err := net.Listen("tcp4", addr.String())
		if err != nil {
			continue // in use
		}
		l.Close()
		addrs = append(addrs, addr)
	}
	return addrs, nil
}
