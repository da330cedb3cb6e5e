package ws

// OpCode says what a frame is (RFC 6455 §5.2).
type OpCode uint8

const (
	OpContinuation OpCode = 0x0
	OpText         OpCode = 0x1
	OpBinary       OpCode = 0x2
	OpClose        OpCode = 0x8
	OpPing         OpCode = 0x9
	OpPong         OpCode = 0xa
)

// IsControl says whether op is of a control frame, defined or not.
func (op OpCode) IsControl() bool { return op&0x8 != 0 }

// IsReserved says whether RFC 6455 gives op no meaning.
func (op OpCode) IsReserved() bool {
	return op > OpBinary && op < OpClose || op > OpPong
}
