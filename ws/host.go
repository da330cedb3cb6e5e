package ws

import (
	"net/netip"
	"strings"
	"unsafe"
)

// ValidHost returns whether hostport, which must not be empty, is a host with an
// optional port as the field Host has it (RFC 9110 §7.2). It does not allocate
// if the host is valid.
func ValidHost(hostport string) bool {
	return isHost(unsafe.Slice(unsafe.StringData(hostport), len(hostport))) // isHost only reads
}

// isHost returns whether p is a host with an optional port, as in the field Host
// and in request targets (RFC 9110 §7.2, RFC 3986 §3.2): a name or an address,
// IPv6 in brackets and without a zone. The port may be empty, the host must not
// be (RFC 9110 §4.2.1).
func isHost(p []byte) bool {
	name, port := splitPort(p)
	if len(name) == 0 || !isPort(port) {
		return false
	}
	if name[0] != '[' {
		return isRegName(name)
	}
	last := len(name) - 1
	return name[last] == ']' && isIPv6(name[1:last])
}

// SplitHost splits the field Host, or the authority of an origin, into host and
// port. The host of an IPv6 address has no brackets. An IPv6 address without
// brackets and port is a host too, because operators write it in lists of hosts.
// The port is "" if there is none. It does not allocate.
func SplitHost(hostport string) (host, port string) {
	if strings.HasPrefix(hostport, "[") || strings.Count(hostport, ":") < 2 {
		host, port = splitPort(hostport)
	} else {
		host = hostport
	}
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	return host, port
}

// splitPort splits host[:port]. The port may be empty after the colon (RFC 3986
// §3.2.3). An IPv6 address has brackets and keeps them.
func splitPort[S string | []byte](p S) (host, port S) {
	for i := len(p) - 1; i >= 0 && p[i] != ']'; i-- {
		if p[i] == ':' {
			return p[:i], p[i+1:]
		}
	}
	return p, port
}

// isPort returns whether p is empty or the number of a port. Leading zeros are
// allowed.
func isPort(p []byte) bool {
	n := 0
	for _, c := range p {
		if !isDigit(c) {
			return false
		}
		if n = n*10 + int(c-'0'); n > 65535 {
			return false
		}
	}
	return true
}

func isIPv6(p []byte) bool {
	if len(p) == 0 {
		return false
	}
	// ParseAddr does not keep the string of an address without a zone. The
	// conversion without a copy saves an allocation.
	addr, err := netip.ParseAddr(unsafe.String(&p[0], len(p)))
	return err == nil && addr.Is6() && addr.Zone() == ""
}

// Bit sets of the bytes in registered names (RFC 3986 §3.2.2) except "%": bytes
// below 64, and bytes from 64 to 127.
const (
	regNameLow = 1<<'!' | 1<<'$' | 1<<'&' | 1<<'\'' | 1<<'(' | 1<<')' | 1<<'*' | 1<<'+' | 1<<',' | 1<<'-' | 1<<'.' | 1<<';' | 1<<'=' |
		(1<<10-1)<<'0'
	regNameHigh = 1<<('_'-64) | 1<<('~'-64) | (1<<26-1)<<('a'-64) | (1<<26-1)<<('A'-64)
)

func isRegName(p []byte) bool {
	for _, c := range p {
		if bits := [4]uint64{regNameLow | 1<<'%', regNameHigh}[c>>6]; bits>>(c&63)&1 == 0 {
			return false
		}
	}
	return checkEscapes(p)
}

// IsLoopback returns whether host, without port and brackets, can only mean this
// machine. Only localhost and loopback addresses do: other names can resolve to
// any address.
func IsLoopback(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Zone() == "" && ip.Unmap().IsLoopback()
}
