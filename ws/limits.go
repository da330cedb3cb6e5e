package ws

// Defaults of Limits.
const (
	// DefaultMaxMessage is the default of Limits.MaxMessage, in bytes.
	DefaultMaxMessage = 64 << 10
	// DefaultMaxFragments is the default of Limits.MaxFragments.
	DefaultMaxFragments = 1024
)

// Limits bound what a client may send. A field of 0 means its default.
type Limits struct {
	MaxMessage   int // bytes in the payload of one message, all fragments together; beyond it: TooBig
	MaxFragments int // frames of one message; beyond it: TooManyFragments

	// Deflate is true if permessage-deflate was negotiated: the bit RSV1 then
	// marks compressed messages (RFC 7692 §6). MaxMessage limits the compressed
	// payload in Next and the inflated message in Inflater.Inflate.
	Deflate bool
}

func (l Limits) maxMessage() int {
	if l.MaxMessage == 0 {
		return DefaultMaxMessage
	}
	return l.MaxMessage
}

// maxPayload returns the most bytes that the payload of a message may have as it
// is sent. Data that does not get smaller grows a little when it is compressed.
func (l Limits) maxPayload(compressed bool) int {
	most := l.maxMessage()
	if compressed {
		most += most/1000 + 64
	}
	return most
}

func (l Limits) maxFragments() int {
	if l.MaxFragments == 0 {
		return DefaultMaxFragments
	}
	return l.MaxFragments
}
