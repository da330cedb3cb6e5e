package poller

// Class says how a payload is treated when it cannot be sent at once.
type Class uint8

const (
	// Data goes to the end of the backlog. The policy for slow consumers may drop
	// shared frames, but never the bytes of one connection. Both are refused at
	// the limits of the backlog.
	Data Class = iota
	// Control goes ahead of waiting data, but never into a frame that is partly
	// sent. Of the control frames of one kind only the newest waits (RFC 6455
	// §5.5.3 asks for a pong to the newest ping only). The kind is the first byte
	// of a frame. Only the limit of the node refuses it.
	Control
	// Last is the last payload of a connection, a close frame for example. No
	// limit refuses it: a client that is closed because its backlog is full must
	// be told why.
	Last
)

// Payload is what one call of Send sends. Make it with Shared or Bytes.
type Payload struct {
	bytes  []byte  // all of it, in the order of sending
	frames *Frames // nil: the bytes of one connection
	newest int     // offset of the newest of several control frames
}

// Shared makes a payload of frames that many connections get. Frames that are sent
// as Control or Last are treated like the bytes of one connection.
func Shared(f *Frames) Payload { return Payload{bytes: f.bytes, frames: f} }

// Bytes makes a payload of bytes that only one connection gets. Send copies the
// bytes that it keeps, so the caller may use p again when Send has returned.
func Bytes(p []byte) Payload { return Payload{bytes: p} }

// Newest is for a payload of several control frames of one kind. at is the offset
// in bytes at which the newest begins. If they have to wait, only the newest does.
func (p Payload) Newest(at int) Payload {
	p.newest = at
	return p
}
