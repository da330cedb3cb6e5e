package bench

import (
	"hash/crc32"
)

// Stream says which sequence a payload belongs to.
type Stream byte

const (
	Broadcast Stream = 'B' // to every session; every connection expects each number once
	Direct    Stream = 'D' // to one user; its stamp gives the latency
)

// MinPayload is the size of a payload without filler, in bytes:
// stream, sequence, space, stamp, space, checksum, space.
const MinPayload = 1 + 16 + 1 + 16 + 1 + 8 + 1

const (
	seqAt   = 1
	stampAt = seqAt + 17
	sumAt   = stampAt + 17
)

// AppendPayload appends size bytes of ASCII text, at least MinPayload, that
// say which message this is and when it was sent, with a checksum over all of
// it: it has to survive as a text frame, a log line and a curl command.
func AppendPayload(dst []byte, s Stream, seq uint32, stamp int64, size int) []byte {
	at := len(dst)
	dst = append(dst, byte(s))
	dst = appendHex(dst, uint64(seq), 16)
	dst = append(dst, ' ')
	dst = appendHex(dst, uint64(stamp), 16)
	dst = append(dst, ' ')
	dst = append(dst, "00000000 "...)
	for i := 0; len(dst)-at < size; i++ {
		dst = append(dst, 'a'+byte((i+int(seq))%26))
	}
	appendHex(dst[:at+sumAt], uint64(checksum(dst[at:])), 8)
	return dst
}

// ParsePayload reads what AppendPayload wrote; ok is false if it is anything
// else, or was changed on its way.
func ParsePayload(p []byte) (s Stream, seq uint32, stamp int64, ok bool) {
	if len(p) < MinPayload || (p[0] != byte(Broadcast) && p[0] != byte(Direct)) {
		return 0, 0, 0, false
	}
	n, ok1 := parseHex(p[seqAt : seqAt+16])
	at, ok2 := parseHex(p[stampAt : stampAt+16])
	sum, ok3 := parseHex(p[sumAt : sumAt+8])
	if !ok1 || !ok2 || !ok3 || n>>32 != 0 || uint32(sum) != checksum(p) {
		return 0, 0, 0, false
	}
	return Stream(p[0]), uint32(n), int64(at), true
}

// checksum covers everything but the digits that hold it.
func checksum(p []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(p[:sumAt]), crc32.IEEETable, p[sumAt+8:])
}

func appendHex(dst []byte, v uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[v>>shift&15])
	}
	return dst
}

func parseHex(p []byte) (v uint64, ok bool) {
	for _, c := range p {
		switch {
		case '0' <= c && c <= '9':
			v = v<<4 | uint64(c-'0')
		case 'a' <= c && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}
