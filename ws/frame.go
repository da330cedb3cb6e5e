package ws

import (
	"encoding/binary"
	"unicode/utf8"
)

const (
	// MaxControlPayload is the largest payload of a ping, pong or close frame,
	// in bytes (RFC 6455 §5.5).
	MaxControlPayload = 125
	// MaxCloseReason is the largest reason in a close frame, in bytes. The code
	// takes the other two.
	MaxCloseReason = MaxControlPayload - 2

	finBit  = 0x80
	maskBit = 0x80
	rsvBits = 0x70
	rsv1Bit = 0x40
	opBits  = 0x0f
	lenBits = 0x7f
	len16   = 126 // the next 2 bytes are the length
	len64   = 127 // the next 8 bytes are the length
)

// AppendHeader appends the header of a server frame with a payload of n bytes:
// unmasked, with the shortest form of the length (RFC 6455 §5.2). The caller
// appends the payload. With fin false it is a fragment.
func AppendHeader(dst []byte, op OpCode, fin bool, n int) []byte {
	first := byte(op)
	if fin {
		first |= finBit
	}
	switch {
	case n < len16:
		return append(dst, first, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, first, len16), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, first, len64), uint64(n))
}

// AppendFrame appends a complete, unfragmented server frame. The payload of a
// control frame must have at most MaxControlPayload bytes.
func AppendFrame(dst []byte, op OpCode, payload []byte) []byte {
	return append(AppendHeader(dst, op, true, len(payload)), payload...)
}

// AppendClose appends a close frame. A reason of more than MaxCloseReason bytes
// is cut between two characters. The codes 0 and CloseNoStatus mean "no code":
// they must not be sent (RFC 6455 §7.4.1), so the frame has no payload. The echo
// of a close frame without a code looks like this too.
func AppendClose(dst []byte, code uint16, reason string) []byte {
	if code == 0 || code == CloseNoStatus {
		return AppendHeader(dst, OpClose, true, 0)
	}
	reason = cutReason(reason)
	dst = AppendHeader(dst, OpClose, true, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, reason...)
}

// cutReason returns at most the first MaxCloseReason bytes of s, without an
// incomplete character at the end.
func cutReason(s string) string {
	if len(s) <= MaxCloseReason {
		return s
	}
	n := MaxCloseReason
	for n > MaxCloseReason-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
