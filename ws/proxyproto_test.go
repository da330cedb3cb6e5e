package ws

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// headerV2 builds a header of version 2.
func headerV2(command, family byte, rest ...[]byte) []byte {
	body := slices.Concat(rest...)
	p := append([]byte(proxyV2), 0x20|command, family)
	p = binary.BigEndian.AppendUint16(p, uint16(len(body)))
	return append(p, body...)
}

func v2Addrs(src, dst string) []byte {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	p := slices.Concat(s.Addr().AsSlice(), d.Addr().AsSlice())
	p = binary.BigEndian.AppendUint16(p, s.Port())
	return binary.BigEndian.AppendUint16(p, d.Port())
}

func TestParsePROXY(t *testing.T) {
	tlv := []byte{0x04, 0, 3, 'a', 'b', 'c'}
	for name, tc := range map[string]struct {
		in   []byte
		src  string // "": the socket's own
		fail string
	}{
		"v1 IPv4":              {in: []byte("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"), src: "192.0.2.7:56324"},
		"v1 IPv6":              {in: []byte("PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n"), src: "[2001:db8::7]:1"},
		"v1 mapped":            {in: []byte("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.1 1 2\r\n"), src: "192.0.2.7:1"},
		"v1 port 0":            {in: []byte("PROXY TCP4 192.0.2.7 192.0.2.1 0 0\r\n"), src: "192.0.2.7:0"},
		"v1 unknown":           {in: []byte("PROXY UNKNOWN\r\n")},
		"v1 unknown, more":     {in: []byte("PROXY UNKNOWN ffff::1 whatever 1\r\n")},
		"v1 longest":           {in: []byte("PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n")},
		"v1 too long":          {in: []byte("PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n"), fail: "107 bytes"},
		"v1 LF":                {in: []byte("PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n"), fail: "CR LF"},
		"v1 family":            {in: []byte("PROXY TCP4 ::1 ::1 1 2\r\n"), fail: "family"},
		"v1 family 6":          {in: []byte("PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n"), fail: "family"},
		"v1 zone":              {in: []byte("PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n"), fail: "family"},
		"v1 leading zero":      {in: []byte("PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n"), fail: "port"},
		"v1 port sign":         {in: []byte("PROXY TCP4 192.0.2.7 192.0.2.1 +1 2\r\n"), fail: "port"},
		"v1 port 65536":        {in: []byte("PROXY TCP4 192.0.2.7 192.0.2.1 1 65536\r\n"), fail: "port"},
		"v1 five words":        {in: []byte("PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n"), fail: "six words"},
		"v1 seven words":       {in: []byte("PROXY TCP4 192.0.2.7 192.0.2.1 1 2 3\r\n"), fail: "six words"},
		"v1 two spaces":        {in: []byte("PROXY TCP4  192.0.2.7 192.0.2.1 1 2\r\n"), fail: "six words"},
		"v1 udp":               {in: []byte("PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n"), fail: "neither"},
		"v2 IPv4":              {in: headerV2(1, 0x11, v2Addrs("192.0.2.7:56324", "198.51.100.1:443")), src: "192.0.2.7:56324"},
		"v2 IPv6":              {in: headerV2(1, 0x21, v2Addrs("[2001:db8::7]:9", "[2001:db8::1]:443")), src: "[2001:db8::7]:9"},
		"v2 TLV":               {in: headerV2(1, 0x11, v2Addrs("192.0.2.7:1", "192.0.2.1:2"), tlv), src: "192.0.2.7:1"},
		"v2 unix":              {in: headerV2(1, 0x31, make([]byte, 216))},
		"v2 unspecified":       {in: headerV2(1, 0x00, tlv)},
		"v2 local":             {in: headerV2(0, 0x00)},
		"v2 local with family": {in: headerV2(0, 0x11, v2Addrs("192.0.2.7:1", "192.0.2.1:2"))},
		"v2 short":             {in: headerV2(1, 0x11, make([]byte, 11)), fail: "too short"},
		"v2 IPv6 short":        {in: headerV2(1, 0x21, make([]byte, 35)), fail: "too short"},
		"v2 datagram":          {in: headerV2(1, 0x12, make([]byte, 12)), fail: "family"},
		"v2 command":           {in: headerV2(2, 0x11, make([]byte, 12)), fail: "command"},
		"v2 long":              {in: headerV2(1, 0x11, make([]byte, maxProxyV2)), fail: "8 KiB"},
		"v3":                   {in: append([]byte(proxyV2), 0x31, 0x11, 0, 12), fail: "version"},
		"HTTP":                 {in: []byte("GET / HTTP/1.1\r\n\r\n"), fail: "header: what may be an HTTP request"},
		"almost":               {in: []byte("PROXX TCP4 192.0.2.7 192.0.2.1 1 2\r\n"), fail: "header: what may be an HTTP request"},
		"binary":               {in: []byte{0, 3, 1}, fail: "header: something else"},
		"TLS":                  {in: []byte{0x16, 3, 1}, fail: "header: TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			in := append(bytes.Clone(tc.in), "GET / what follows"...)
			src, n, err := ParsePROXY(in)
			if tc.fail != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fail) {
					t.Fatalf("%v, %d, %v; want an error with %q", src, n, err, tc.fail)
				}
				if _, ok := errors.AsType[*NoPROXYError](err); ok != strings.HasPrefix(tc.fail, "header: ") {
					t.Errorf("error of type %T", err)
				}
				return
			}
			if err != nil || n != len(tc.in) {
				t.Fatalf("%d bytes, %v; want %d", n, err, len(tc.in))
			}
			if got := src.String(); tc.src == "" && src.IsValid() || tc.src != "" && got != tc.src {
				t.Errorf("source %v, want %q", src, tc.src)
			}
		})
	}
}

// However a header is split, it is read as it is whole; nothing behind it is
// touched, and a header that is not all there is no error.
func FuzzParsePROXY(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(headerV2(1, 0x21, v2Addrs("[2001:db8::7]:9", "[2001:db8::1]:443"), []byte{4, 0, 0}))
	f.Add(headerV2(0, 0))
	f.Fuzz(func(t *testing.T, in []byte) {
		wantSrc, wantN, wantErr := ParsePROXY(in)
		for i := range len(in) + 1 {
			src, n, err := ParsePROXY(in[:i:i])
			switch {
			case err == nil && n == 0:
				if i == len(in) && (wantN != 0 || wantErr != nil) {
					t.Fatalf("%d bytes are not enough: %d, %v", i, wantN, wantErr)
				}
				continue
			case (err == nil) != (wantErr == nil), err == nil && (n != wantN || src != wantSrc):
				t.Fatalf("with %d bytes %v, %d, %v; with all %v, %d, %v", i, src, n, err, wantSrc, wantN, wantErr)
			case n > i:
				t.Fatalf("%d of %d bytes", n, i)
			}
			return
		}
	})
}
