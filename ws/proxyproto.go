package ws

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
)

// Limits of a PROXY protocol header, in bytes.
const (
	maxProxyV1 = 107     // "PROXY TCP6 …\r\n" at its longest, by the specification
	maxProxyV2 = 8 << 10 // with its TLVs; a client certificate among them fits
	proxyV2Fix = 16      // up to and with the length
)

// errNoProxy says that what was received does not begin like a PROXY header.
var errNoPROXY = errors.New("no PROXY protocol header")

// ParsePROXY reads the header of the PROXY protocol, version 1 or 2, at the
// start of p, which is all that was received so far. n is its length, 0 with a
// nil error if it is not all there yet. src is the client's address, not valid
// if the header does not tell it (LOCAL, UNKNOWN, a unix socket): the socket's
// peer is the client then.
//
// It is written here and not taken from github.com/pires/go-proxyproto, which
// reads from a bufio.Reader: a header that is not all there is the same error
// as a malformed one, so that a reactor could not wait for the rest, and each
// header is garbage of several allocations.
func ParsePROXY(p []byte) (src netip.AddrPort, n int, err error) {
	switch {
	case mayBegin(p, proxyV1):
		return parsePROXYv1(p)
	case mayBegin(p, proxyV2):
		return parsePROXYv2(p)
	}
	return src, 0, errNoPROXY
}

// mayBegin says whether p begins with start, or may do so once it goes on.
func mayBegin(p []byte, start string) bool {
	n := min(len(p), len(start))
	return string(p[:n]) == start[:n]
}

// parsePROXYv1 reads "PROXY TCP4 source destination port port\r\n".
func parsePROXYv1(p []byte) (src netip.AddrPort, n int, err error) {
	within := p[:min(len(p), maxProxyV1)]
	end := bytes.IndexByte(within, '\n')
	switch {
	case end < 0 && len(p) >= maxProxyV1:
		return src, 0, errors.New("the PROXY line is longer than 107 bytes")
	case end < 0:
		return src, 0, nil
	case end == 0 || p[end-1] != '\r':
		return src, 0, errors.New("the PROXY line does not end in CR LF")
	}
	var words [6][]byte
	line := p[:end-1]
	for i := range words {
		words[i], line, _ = bytes.Cut(line, []byte(" "))
	}
	switch string(words[1]) {
	case "UNKNOWN":
		return src, end + 1, nil
	case "TCP4", "TCP6":
	default:
		return src, 0, errors.New("the PROXY line names neither TCP4, TCP6 nor UNKNOWN")
	}
	// Only a line of exactly six words is itself again when they are joined.
	if !bytes.Equal(bytes.Join(words[:], []byte(" ")), p[:end-1]) {
		return src, 0, errors.New("the PROXY line does not have six words with one space between them")
	}
	four := words[1][3] == '4'
	from, ok1 := proxyAddr(words[2], four)
	_, ok2 := proxyAddr(words[3], four)
	if !ok1 || !ok2 {
		return src, 0, errors.New("the PROXY line holds an address that is not of its family")
	}
	port, ok1 := proxyPort(words[4])
	_, ok2 = proxyPort(words[5])
	if !ok1 || !ok2 {
		return src, 0, errors.New("the PROXY line holds a port that is not 0 to 65535")
	}
	return netip.AddrPortFrom(from, port), end + 1, nil
}

func proxyAddr(text []byte, four bool) (netip.Addr, bool) {
	a, err := netip.ParseAddr(string(text))
	return a.Unmap(), err == nil && a.Is4() == four && a.Zone() == ""
}

func proxyPort(text []byte) (uint16, bool) {
	n, err := strconv.ParseUint(string(text), 10, 16)
	return uint16(n), err == nil && isDigit(text[0]) && (text[0] != '0' || len(text) == 1)
}

// parsePROXYv2 reads the binary header. What follows the addresses (TLVs) is
// passed over.
func parsePROXYv2(p []byte) (src netip.AddrPort, n int, err error) {
	if len(p) < proxyV2Fix {
		return src, 0, nil
	}
	command, family := p[12], p[13]
	n = proxyV2Fix + int(binary.BigEndian.Uint16(p[14:]))
	switch {
	case command>>4 != 2:
		return src, 0, errors.New("the PROXY header is of a version other than 1 and 2")
	case command&15 > 1:
		return src, 0, errors.New("the PROXY header's command is neither LOCAL nor PROXY")
	case n > maxProxyV2:
		return src, 0, errors.New("the PROXY header is longer than 8 KiB")
	}
	need := 0
	if command&15 == 1 {
		switch family {
		case 0x00:
		case 0x11:
			need = 12
		case 0x21:
			need = 36
		case 0x31:
			need = 216
		default:
			return src, 0, errors.New("the PROXY header's family is not a stream over IPv4, IPv6 or a unix socket")
		}
	}
	switch {
	case n < proxyV2Fix+need:
		return src, 0, errors.New("the PROXY header is too short for its addresses")
	case len(p) < n:
		return src, 0, nil
	}
	addrs := p[proxyV2Fix:]
	switch need {
	case 12:
		src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(addrs)), binary.BigEndian.Uint16(addrs[8:]))
	case 36:
		src = netip.AddrPortFrom(netip.AddrFrom16([16]byte(addrs)).Unmap(), binary.BigEndian.Uint16(addrs[32:]))
	}
	return src, n, nil
}

// PROXYProblem explains an error of ParsePROXY for p, for the operator of
// the proxy.
func PROXYProblem(err error, p []byte) string {
	if !errors.Is(err, errNoPROXY) {
		return err.Error()
	}
	seen := "something else"
	switch {
	case p[0] == 0x16:
		seen = "TLS"
	case isTokenByte(p[0]):
		seen = "what may be an HTTP request"
	}
	return "a connection to this address begins with a PROXY protocol header (proxy.protocol), this one with " + seen +
		": let the proxy send the header (haproxy: send-proxy-v2, nginx: proxy_protocol on), or take the address out of proxy.protocol"
}
