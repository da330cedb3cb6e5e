package hostile

import (
	"encoding/binary"
	"strconv"

	"belfry/bench"
)

// rsv1 marks the first frame of a compressed message (RFC 7692 §6).
const rsv1 = 0x40

// Opcodes of RFC 6455 §5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// appendFrame appends a client's frame. Its mask is zero, which is valid, so
// that buffers can be made by copying.
func appendFrame(dst []byte, final bool, op byte, payload []byte) []byte {
	dst = appendHead(dst, final, op, len(payload))
	return append(dst, payload...)
}

// appendHead appends the head of a client's frame of n bytes.
func appendHead(dst []byte, final bool, op byte, n int) []byte {
	if final {
		op |= 0x80
	}
	dst = append(dst, op)
	switch {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x80|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	return append(dst, 0, 0, 0, 0)
}

// appendText appends a whole text message.
func appendText(dst []byte, text string) []byte { return appendFrame(dst, true, opText, []byte(text)) }

// repeat returns copies of p with about size bytes together, at least one copy.
func repeat(p []byte, size int) []byte {
	n := max(size/len(p), 1)
	buf := make([]byte, 0, n*len(p))
	for range n {
		buf = append(buf, p...)
	}
	return buf
}

// received has what an attacker needs of the server's output on one connection.
type received struct {
	rest    []byte // of a frame that is not complete yet
	closed  string // "close 1008" once there was a close frame
	limited int    // err rate_limited
	pongs   int
	deflate bool // the connection has agreed to permessage-deflate
}

// take parses the frames in p, after the rest of the input before. It may change
// p.
func (r *received) take(p []byte) {
	if len(r.rest) > 0 {
		p = append(r.rest, p...)
	}
	for len(p) > 0 {
		if op := p[0] &^ (0x80 | rsv1); r.deflate && (op == opText || op == opBinary) {
			p[0] &^= rsv1 // the content of broadcasts does not matter; errors are too short to be compressed
		}
		f, n, err := bench.ParseFrame(p)
		if err != nil {
			r.closed, r.rest = "server: "+err.Error(), nil
			return
		}
		if n == 0 {
			break
		}
		switch {
		case f.Op == opClose:
			r.closed = "close"
			if len(f.Payload) >= 2 {
				r.closed = "close " + strconv.Itoa(int(binary.BigEndian.Uint16(f.Payload)))
			}
		case f.Op == opPong:
			r.pongs++
		case f.Op == opText && isLimited(f.Payload):
			r.limited++
		}
		p = p[n:]
	}
	r.rest = append(r.rest[:0:0], p...)
}
