package bench

import (
	"bytes"
	"errors"
	"hash/crc32"
)

// Stream says which sequence a payload belongs to.
type Stream byte

const (
	Broadcast Stream = 'B' // for every session; every connection expects each number once
	Direct    Stream = 'D' // for the sessions of one user, or an echo; numbered by user
)

// Message is the content of a payload.
type Message struct {
	Stream Stream
	User   uint32 // of Direct: the user it is for
	Seq    uint32 // in its stream, from 1
	Stamp  int64  // CLOCK_MONOTONIC in ns, when it was sent or was due
}

// MinPayload is the size of a payload without filler, in bytes: marker,
// stream, user, sequence, stamp, size, checksum, with four spaces.
const MinPayload = 1 + 1 + 8 + 8 + 1 + 16 + 1 + 5 + 1 + 8 + 1

const (
	userAt  = 2
	seqAt   = userAt + 8
	stampAt = seqAt + 9
	sizeAt  = stampAt + 17
	sumAt   = sizeAt + 6
)

// marker begins a payload. It is rare in text and needs no escape in JSON, in
// a URL and in a shell's quotes.
const marker = '~'

// AppendPayload appends a broadcast's payload, or that of a direct message to
// user 0; see AppendMessage.
func AppendPayload(dst []byte, s Stream, seq uint32, stamp int64, size int) []byte {
	return AppendMessage(dst, Message{Stream: s, Seq: seq, Stamp: stamp}, size)
}

// AppendMessage appends size bytes of ASCII text, MinPayload to MaxFrame-1,
// with the message's identity, its time of sending, its length and a checksum
// over all of it. The text is safe in a text frame, in a JSON string, in a log
// line and in a curl command.
func AppendMessage(dst []byte, m Message, size int) []byte {
	at := len(dst)
	size = max(size, MinPayload)
	dst = appendHeader(dst, m, size)
	for i := 0; len(dst)-at < size; i++ {
		dst = append(dst, 'a'+byte((i+int(m.Seq))%26))
	}
	seal(dst[at:])
	return dst
}

// appendHeader appends what stands before the filler of a payload of size bytes.
// Its checksum is missing until seal.
func appendHeader(dst []byte, m Message, size int) []byte {
	dst = append(dst, marker, byte(m.Stream))
	dst = appendHex(dst, uint64(m.User), 8)
	dst = appendHex(dst, uint64(m.Seq), 8)
	dst = append(dst, ' ')
	dst = appendHex(dst, uint64(m.Stamp), 16)
	dst = append(dst, ' ')
	dst = appendHex(dst, uint64(size), 5)
	return append(dst, " 00000000 "...)
}

// seal writes the checksum into the payload p.
func seal(p []byte) { appendHex(p[:sumAt], uint64(checksum(p)), 8) }

// What FindPayload can say.
var (
	ErrNoPayload = errors.New("no payload of the generator")
	ErrDamaged   = errors.New("payload is not as it was sent")
)

// FindPayload finds the first payload anywhere in p, because servers wrap it in
// JSON, NATS or socket.io packets. It also returns the bytes after it.
func FindPayload(p []byte) (m Message, rest []byte, err error) {
	for {
		at := bytes.IndexByte(p, marker)
		if at < 0 {
			return Message{}, nil, ErrNoPayload
		}
		p = p[at:]
		m, size, shaped := parseHeader(p)
		if !shaped {
			p = p[1:]
			continue
		}
		sum, ok := parseHex(p[sumAt : sumAt+8])
		if !ok || size > len(p) || size < MinPayload || uint32(sum) != checksum(p[:size]) {
			return Message{}, nil, ErrDamaged
		}
		return m, p[size:], nil
	}
}

// ParsePayload reads the output of AppendMessage; ok is false for anything
// else, or if it was changed in transit.
func ParsePayload(p []byte) (m Message, ok bool) {
	if len(p) == 0 || p[0] != marker {
		return Message{}, false
	}
	m, rest, err := FindPayload(p)
	return m, err == nil && len(rest) == 0
}

// parseHeader reads everything except checksum and filler. shaped is false if
// AppendMessage cannot have written it.
func parseHeader(p []byte) (m Message, size int, shaped bool) {
	if len(p) < MinPayload || p[1] != byte(Broadcast) && p[1] != byte(Direct) ||
		p[stampAt-1] != ' ' || p[sizeAt-1] != ' ' || p[sumAt-1] != ' ' {
		return m, 0, false
	}
	user, ok1 := parseHex(p[userAt:seqAt])
	seq, ok2 := parseHex(p[seqAt : seqAt+8])
	stamp, ok3 := parseHex(p[stampAt : stampAt+16])
	n, ok4 := parseHex(p[sizeAt : sizeAt+5])
	return Message{Stream(p[1]), uint32(user), uint32(seq), int64(stamp)}, int(n), ok1 && ok2 && ok3 && ok4
}

// checksum covers everything except its own digits.
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
