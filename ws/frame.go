package ws

import (
	"encoding/binary"
	"unicode/utf8"
)

const (
	// MaxControlPayload is the most bytes that the payload of a ping, pong or
	// close frame may have (RFC 6455 §5.5).
	MaxControlPayload = 125
	// MaxCloseReason is what a close frame has left for its reason after the
	// two bytes of the code.
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

// AppendHeader appends the header of a server's frame, which is never masked,
// with a payload of n bytes in the shortest form (RFC 6455 §5.2). The payload
// is the caller's to append. It exists beside ws.WriteHeader because that one
// writes through an io.Writer and allocates its buffer at each call.
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

// HeaderLen returns how many bytes AppendHeader appends for a payload of n.
func HeaderLen(n int) int {
	switch {
	case n < len16:
		return 2
	case n <= 0xffff:
		return 4
	}
	return 10
}

// AppendFrame appends a whole unfragmented server frame. For control frames
// the payload must have at most MaxControlPayload bytes.
func AppendFrame(dst []byte, op OpCode, payload []byte) []byte {
	return append(AppendHeader(dst, op, true, len(payload)), payload...)
}

// AppendClose appends a close frame. A reason above MaxCloseReason bytes is
// cut at the boundary of a rune. The codes 0 and CloseNoStatus stand for "no
// code" and give a frame without a payload, since they must not be sent
// (RFC 6455 §7.4.1); that is also the echo of a close frame without a code.
func AppendClose(dst []byte, code uint16, reason string) []byte {
	if code == 0 || code == CloseNoStatus {
		return AppendHeader(dst, OpClose, true, 0)
	}
	reason = cutReason(reason)
	dst = AppendHeader(dst, OpClose, true, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, reason...)
}

// cutReason returns at most MaxCloseReason bytes of s without half a rune at
// the end.
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
