package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Opcodes of RFC 6455 §5.2.
const (
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xA
)

// MaxFrame is the largest payload that the client accepts, in bytes.
const MaxFrame = 1 << 20

// Violations of a server.
var (
	errReserved   = errors.New("reserved bits or opcode")
	errFragmented = errors.New("fragmented message")
	errMasked     = errors.New("masked frame from a server")
	errLength     = errors.New("length not in its shortest form")
	errControl    = errors.New("control frame fragmented or longer than 125 bytes")
	errTooLong    = fmt.Errorf("frame longer than %d bytes", MaxFrame)
)

// Frame is one whole frame of a server.
type Frame struct {
	Op         byte
	Compressed bool   // by permessage-deflate (RFC 7692 §6)
	Payload    []byte // points into what was parsed
}

// ParseFrame reads the first frame of p and says how many bytes it takes, 0
// if p does not hold all of it yet. It is strict, since it is there to find
// faults; fragmented messages are one, because a push is one frame.
func ParseFrame(p []byte) (f Frame, n int, err error) { return parseFrame(p, false) }

// parseFrame is ParseFrame for a connection that has agreed to
// permessage-deflate or not: it decides whether data may have the bit RSV1.
func parseFrame(p []byte, deflate bool) (f Frame, n int, err error) {
	if len(p) < 2 {
		return f, 0, nil
	}
	f.Op = p[0] & 0xF
	f.Compressed = deflate && p[0]&0x40 != 0 && (f.Op == opText || f.Op == opBinary)
	switch {
	case p[0]&0x70 != 0 && (!f.Compressed || p[0]&0x30 != 0):
		return f, 0, errReserved
	case p[1]&0x80 != 0:
		return f, 0, errMasked
	case f.Op >= opClose && (p[0]&0x80 == 0 || p[1] > 125):
		return f, 0, errControl
	case f.Op == 0 || p[0]&0x80 == 0:
		return f, 0, errFragmented
	case f.Op > opPong || f.Op > opBinary && f.Op < opClose:
		return f, 0, errReserved
	}
	head, size := 2, uint64(p[1])
	switch size {
	case 126:
		if head = 4; len(p) < head {
			return f, 0, nil
		}
		if size = uint64(binary.BigEndian.Uint16(p[2:])); size < 126 {
			return f, 0, errLength
		}
	case 127:
		if head = 10; len(p) < head {
			return f, 0, nil
		}
		if size = binary.BigEndian.Uint64(p[2:]); size < 1<<16 {
			return f, 0, errLength
		}
	}
	if size > MaxFrame {
		return f, 0, errTooLong
	}
	if n = head + int(size); len(p) < n {
		return f, 0, nil
	}
	f.Payload = p[head:n:n]
	return f, n, nil
}

// AppendTextFrame appends an unmasked text frame, as a server sends it.
func AppendTextFrame(dst, payload []byte) []byte {
	dst = append(dst, 0x80|opText)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, payload...)
}

// appendMasked appends a whole frame, as a client sends it.
func appendMasked(dst []byte, op byte, mask uint32, payload []byte) []byte {
	dst = append(dst, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x80|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	dst = binary.LittleEndian.AppendUint32(dst, mask)
	for i, b := range payload {
		dst = append(dst, b^byte(mask>>(i%4*8)))
	}
	return dst
}
