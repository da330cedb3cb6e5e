package ws

import "errors"

// Violation is the rule that a client broke.
type Violation uint8

const (
	BrokenProtocol   Violation = iota // any other rule of RFC 6455 or RFC 7692
	InvalidUTF8                       // a text message or a close reason is not UTF-8
	TooBig                            // a message has more bytes than Limits.MaxMessage
	TooManyFragments                  // a message has more frames than Limits.MaxFragments
	InvalidDeflate                    // a compressed message is not valid
)

// String returns one lower-case word: a label for logs.
func (v Violation) String() string {
	switch v {
	case InvalidUTF8:
		return "utf8"
	case TooBig:
		return "too_big"
	case TooManyFragments:
		return "fragments"
	case InvalidDeflate:
		return "deflate"
	}
	return "protocol"
}

// Code returns the close code for v: 1002, 1007 or 1009.
func (v Violation) Code() uint16 {
	switch v {
	case InvalidUTF8, InvalidDeflate:
		return CloseInvalidPayload
	case TooBig, TooManyFragments:
		return CloseMessageTooBig
	}
	return CloseProtocolError
}

// ProtocolError is the reason to close a connection with the close code
// Violation.Code().
type ProtocolError struct {
	Violation Violation
	// Detail is for the log and the close frame. It has at most MaxCloseReason
	// bytes and never repeats bytes of the client.
	Detail string
}

func (e *ProtocolError) Error() string { return e.Violation.String() + ": " + e.Detail }

// ErrNoMemory means that the Allocator of an Inbound could not allocate. The
// client has broken no rule.
var ErrNoMemory = errors.New("no memory for the message")
