package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"belfry/ws"
)

// MaxListenPorts bounds the ports of one entry of listen.
const MaxListenPorts = 1024

// ParseListen reads one entry of listen: "host:port" or "host:first-last".
// The host is an IPv4 address, an IPv6 address in brackets, "localhost" (which
// becomes 127.0.0.1) or nothing (every address, IPv4 and IPv6). For one port
// lo and hi are equal; port 0 asks the kernel for a free one.
func ParseListen(text string) (host string, lo, hi int, err error) {
	host, ports, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, 0, fmt.Errorf("%q is not host:port or host:first-last (IPv6 hosts in brackets)", text)
	}
	if host, err = parseHost(host); err != nil {
		return "", 0, 0, fmt.Errorf("%q: %w", text, err)
	}
	first, last, isRange := strings.Cut(ports, "-")
	if !isRange {
		last = first
	}
	lo, errLo := strconv.Atoi(first)
	hi, errHi := strconv.Atoi(last)
	switch {
	case errLo != nil || errHi != nil || lo < 0 || hi > 65535:
		return "", 0, 0, fmt.Errorf("%q: ports are 1 to 65535, or 0 for a free one", text)
	case isRange && (lo == 0 || hi < lo):
		return "", 0, 0, fmt.Errorf("%q: a range of ports is first-last; first is not 0, and last is not below first", text)
	case hi-lo >= MaxListenPorts:
		return "", 0, 0, fmt.Errorf("%q has %d ports; allowed are 1 to %d", text, hi-lo+1, MaxListenPorts)
	}
	return host, lo, hi, nil
}

func parseHost(host string) (string, error) {
	switch host {
	case "":
		return "", nil
	case "localhost":
		return "127.0.0.1", nil
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return "", fmt.Errorf("host %q is not an IP address, localhost, or empty for every address", host)
	}
	return host, nil
}

// Loopback says whether an address host:port can be reached from this machine
// only. Names other than localhost count as reachable from outside.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && ws.IsLoopback(host)
}
