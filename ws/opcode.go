package ws

// OpCode is the type of a frame (RFC 6455 §5.2).
type OpCode uint8

const (
	OpContinuation OpCode = 0x0
	OpText         OpCode = 0x1
	OpBinary       OpCode = 0x2
	OpClose        OpCode = 0x8
	OpPing         OpCode = 0x9
	OpPong         OpCode = 0xa
)

// IsControl returns true for control frames, reserved opcodes included.
func (op OpCode) IsControl() bool { return op&0x8 != 0 }

// IsReserved returns true for opcodes that RFC 6455 does not define.
func (op OpCode) IsReserved() bool {
	return op > OpBinary && op < OpClose || op > OpPong
}
