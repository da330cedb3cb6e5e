package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
)

// Ports of FreePort. Below firstPort are those of known services.
const (
	firstPort = 12_000
	endPort   = 32_768 // first ephemeral port unless a host was tuned
)

// portsGiven is how many FreePort has tried. Processes begin at different
// ports, so that concurrent processes rarely try the same ones.
var portsGiven atomic.Uint32

// FreePort returns a loopback address with a port that is not in use at the
// moment, another one each time. It is below the ephemeral range: a port that
// bind(2) chose could be taken by any connection before it is listened on.
// Where a host was tuned so that hardly any are below, it may be. Any
// goroutine.
func FreePort() (netip.AddrPort, error) {
	var low, high int
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		_, err = fmt.Sscan(string(text), &low, &high)
	}
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("ip_local_port_range: %w", err)
	}
	begin, end := firstPort, min(low, endPort)
	if end-begin < 1000 { // as scripts/tune.sh leaves it
		begin, end = 1024, firstPort
	}
	for range end - begin {
		n := int(portsGiven.Add(1)) + os.Getpid()*127
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(begin+n%(end-begin)))
		if l, err := net.Listen("tcp4", addr.String()); err == nil {
			l.Close()
			return addr, nil
		}
	}
	return netip.AddrPort{}, errors.New("no loopback port is free")
}
