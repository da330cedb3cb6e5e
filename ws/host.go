package ws

import (
	"bytes"
	"net/netip"
	"strings"
	"unsafe"
)

// ValidHost says whether hostport, which must not be empty, is what a Host may
// hold; see isHost. It allocates nothing for a valid one.
func ValidHost(hostport string) bool {
	return isHost(unsafe.Slice(unsafe.StringData(hostport), len(hostport))) // isHost only reads
}

// isHost says whether p is a host with an optional port, as Host and request
// targets have it (RFC 9110 §7.2, RFC 3986 §3.2): a name or an address, IPv6
// in brackets and without a zone, and a port that may be empty. A host that is
// empty has to be refused (RFC 9110 §4.2.1).
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

// splitPort splits host[:port]. A colon without a port after it gives an empty
// port, as RFC 3986 §3.2.3 has it.
func splitPort(p []byte) (host, port []byte) {
	colon := bytes.LastIndexByte(p, ':')
	if colon < 0 || bytes.IndexByte(p[colon:], ']') >= 0 {
		return p, nil
	}
	return p[:colon], p[colon+1:]
}

// isPort says whether p is empty or the number of a port, however many zeros
// it begins with.
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
	// The string is not kept, and IPv6 hosts shall not cost an allocation.
	addr, err := netip.ParseAddr(unsafe.String(&p[0], len(p)))
	return err == nil && addr.Is6() && addr.Zone() == ""
}

// The bytes of a registered name (RFC 3986 §3.2.2) but "%", as bits: those
// below 64 and those from 64 to 127.
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

// IsLoopback says whether host, without a port and without brackets, can only
// mean this machine. A name other than localhost could be pointed anywhere.
func IsLoopback(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Zone() == "" && ip.Unmap().IsLoopback()
}
