package ws

import "errors"

// Violation is the rule that a client broke.
type Violation uint8

const (
	BrokenProtocol   Violation = iota // RFC 6455 was violated
	InvalidUTF8                       // a text message or a close reason is not UTF-8
	TooBig                            // a message has more bytes than Limits.MaxMessage
	TooManyFragments                  // a message has more frames than Limits.MaxFragments
	InvalidDeflate                    // a compressed message does not inflate
)

// String returns a word for v.
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

// ProtocolError says why a connection has to be closed. Detail is for the log
// and the close frame: it never repeats bytes of the client and fits a close
// frame.
type ProtocolError struct {
	Violation Violation
	Detail    string
}

func (e *ProtocolError) Error() string { return e.Violation.String() + ": " + e.Detail }

// ErrNoMemory says that the Allocator of an Inbound had no room for a message.
var ErrNoMemory = errors.New("no memory for the message")
