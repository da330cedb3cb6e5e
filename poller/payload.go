package poller

// Class says how a payload is treated when it cannot be sent at once.
type Class uint8

const (
	// Data goes behind what waits. The policy for slow consumers may drop
	// shared frames, but never the bytes of one connection; both are refused
	// at the bounds of the backlog.
	Data Class = iota
	// Control goes ahead of data that waits, but never into a frame that is
	// partly sent. Of the control frames of one kind only the newest waits
	// (RFC 6455 §5.5.3 asks for a pong to the newest ping only). The kind is
	// the first byte of a frame. Only the bound of the node refuses it.
	Control
	// Last is the last payload of a connection, a close frame for example: no
	// bound refuses it. A client that is closed because its backlog is full
	// has to be told so.
	Last
)

// Payload is what one call of Send sends. Make it with Shared or Bytes.
type Payload struct {
	bytes  []byte  // all of it, in the order of sending
	frames *Frames // nil: the bytes of one connection
	newest int     // of several control frames: where the newest begins
}

// Shared makes a payload of frames that many connections get. As Control or Last
// they are sent like the bytes of one connection.
func Shared(f *Frames) Payload { return Payload{bytes: f.bytes, frames: f} }

// Bytes makes a payload of bytes that only one connection gets. Send copies
// what it keeps of p.
func Bytes(p []byte) Payload { return Payload{bytes: p} }

// Newest says that p is several control frames of one kind, one after the
// other, and that the newest begins at offset at. If they have to wait, only
// the newest does.
func (p Payload) Newest(at int) Payload {
	p.newest = at
	return p
}
