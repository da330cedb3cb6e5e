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
	maxProxyV1 = 107     // the longest "PROXY TCP6 …\r\n" of the specification
	maxProxyV2 = 8 << 10 // with TLVs; a client certificate fits
	proxyV2Fix = 16      // the fixed part, which ends with the length
)

// NoPROXYError is the error of ParsePROXY for a connection that begins with
// something else than a header of the PROXY protocol.
type NoPROXYError struct {
	// Received describes the first bytes: "TLS", "something else", …
	Received string
}

func (e *NoPROXYError) Error() string { return "no PROXY protocol header: " + e.Received }

// ParsePROXY reads the header of the PROXY protocol, version 1 or 2, at the start
// of p, which is all that was received so far. n is the length of the header in
// bytes, 0 with a nil error if the header is incomplete. src is the client's
// address. It is not valid if the header has none (LOCAL, UNKNOWN, a unix
// socket): the socket's peer is the client then. The error is a *NoPROXYError, or
// its text says what is malformed.
//
// github.com/pires/go-proxyproto is no alternative. It reads from a bufio.Reader
// and reports an incomplete header like a malformed one, so an event loop cannot
// wait for the rest. And it allocates for each header.
func ParsePROXY(p []byte) (src netip.AddrPort, n int, err error) {
	switch {
	case mayBegin(p, proxyV1):
		return parsePROXYv1(p)
	case mayBegin(p, proxyV2):
		return parsePROXYv2(p)
	}
	return src, 0, &NoPROXYError{describe(p)}
}

// describe says what p, which is not empty, seems to be.
func describe(p []byte) string {
	switch {
	case p[0] == tlsRecord[0]:
		return "TLS"
	case isTokenByte(p[0]):
		return "what may be an HTTP request"
	}
	return "something else"
}

// mayBegin returns whether p begins with start, or is the beginning of start.
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
	// Joining the words gives the line again only if it has exactly six.
	if !bytes.Equal(bytes.Join(words[:], []byte(" ")), p[:end-1]) {
		return src, 0, errors.New("the PROXY line does not have six words with one space between them")
	}
	four := words[1][3] == '4'
	from, ok1 := proxyAddr(words[2], four)
	_, ok2 := proxyAddr(words[3], four)
	if !ok1 || !ok2 {
		return src, 0, errors.New("the PROXY line has an address that is not of its family")
	}
	port, ok1 := proxyPort(words[4])
	_, ok2 = proxyPort(words[5])
	if !ok1 || !ok2 {
		return src, 0, errors.New("the PROXY line has a port that is not 0 to 65535")
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

// parsePROXYv2 reads the binary header. It skips the TLVs behind the addresses.
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
