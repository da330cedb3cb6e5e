package ws

// EventType says what Next found.
type EventType uint8

const (
	EventNone     EventType = iota // nothing complete: read more bytes
	EventAssemble                  // an Inbound is needed: call again with one
	EventMessage                   // a complete data message
	EventPing                      // to be answered with a pong that has the same payload
	EventPong
	EventClose // to be answered with a close frame; nothing may follow it
)

// Event is a message or a control frame that a client sent.
type Event struct {
	Type EventType
	Op   OpCode // of EventMessage: OpText or OpBinary
	Code uint16 // of EventClose; CloseNoStatus if the frame had none
	// Compressed is true for a message whose payload is compressed. Its text is
	// not checked yet: Inflater.Inflate returns the message and checks it.
	Compressed bool
	// Inflated is the work that inflating the message took beyond the bytes that
	// the client sent, in bytes: those that were added to the payload, and
	// Inflater.Cost. It is at least 1 for a message that was compressed. Next
	// leaves it 0; the caller of Inflater.Inflate sets it.
	Inflated int
	// Payload is the message, the application data of a ping or pong, or the
	// reason of a close frame. It lies in the p or in the Inbound given to Next
	// and is valid until either is used again.
	Payload []byte
}
