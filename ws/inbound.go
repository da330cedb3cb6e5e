package ws

// minAssembly is the size of the first assembly buffer, in bytes.
const minAssembly = 512

// Inbound is a data message that arrives in pieces: it is fragmented, or a part
// of a frame has not arrived yet. A connection has an Inbound only while the
// message is Active; in between the Inbound belongs to the caller's pool. The
// zero value is ready for use. One goroutine at a time may use it.
type Inbound struct {
	buf       []byte // payload so far, unmasked
	op        OpCode // of the first frame; 0 if no message is in progress
	fragments int    // frames begun
	text      utf8State
	// compressed is true for a compressed message. Its text is not checked.
	compressed bool

	// The current data frame, only while inFrame is true.
	inFrame   bool
	fin       bool
	mask      [4]byte
	pos       int    // position in mask, 0 to 3
	remaining uint64 // bytes of its payload that have not arrived

	// Alloc allocates the assembly buffer; nil: the Go heap does.
	Alloc Allocator
}

// Allocator owns the assembly buffer of an Inbound.
type Allocator interface {
	// Grow returns a buffer with the content of buf and a capacity of at
	// least size bytes; buf is no longer used then. ok is false if there is
	// no memory for it: buf is then unchanged and still in use.
	Grow(buf []byte, size int) (grown []byte, ok bool)
}

// Active returns true while a message is in progress. It is false for a nil
// Inbound.
func (in *Inbound) Active() bool { return in != nil && in.op != 0 }

// Frames returns the number of frames of the event that Next has just returned;
// t is the type of this event. The Inbound may be nil.
func (in *Inbound) Frames(t EventType) int {
	if in == nil || t != EventMessage {
		return 1
	}
	return max(1, in.fragments)
}

// Begin starts a message of one unmasked frame with a payload of length bytes.
// It is for decoders of protocols other than RFC 6455: Next begins its frames
// itself. Text is checked to be UTF-8.
func (in *Inbound) Begin(op OpCode, length int) {
	in.begin(header{op: op, fin: true, length: uint64(length)})
}

// Take consumes the bytes in p that belong to the message that Begin started.
// n is their number. The event is EventNone until the message is complete, and
// EventMessage then. Errors are the same as those of Next.
func (in *Inbound) Take(p []byte) (n int, ev Event, err error) {
	n, done, err := in.take(p, 0)
	if err != nil || !done {
		return n, Event{}, err
	}
	return n, in.finish(), nil
}

// Cap returns the bytes of memory that the assembly buffer takes.
func (in *Inbound) Cap() int { return cap(in.buf) }

// Reset discards the message and returns the assembly buffer, which the owner
// may use for something else or free. The payload of the last message must no
// longer be in use. Alloc has to be set again.
func (in *Inbound) Reset() (buf []byte) {
	buf = in.buf
	*in = Inbound{}
	return buf
}

// assembled returns the number of bytes of the message that have arrived.
func (in *Inbound) assembled() int {
	if !in.Active() {
		return 0
	}
	return len(in.buf)
}

// begin starts the data frame with the header h.
func (in *Inbound) begin(h header) {
	if in.op == 0 {
		in.op, in.compressed = h.op, h.compressed
		in.buf = in.buf[:0]
		in.fragments = 0 // text needs no reset: the last message ended with a complete character
	}
	in.fragments++
	in.inFrame, in.fin = true, h.fin
	in.mask, in.pos, in.remaining = h.mask, 0, h.length
}

// take consumes the bytes in p that belong to the payload of the current frame.
// done is true if the frame is complete. limit is the largest size of a message
// in bytes; it is not used if the frame ends the message.
func (in *Inbound) take(p []byte, limit int) (n int, done bool, err error) {
	if uint64(len(p)) > in.remaining {
		p = p[:in.remaining]
	}
	mask(p, in.mask, in.pos)
	if in.op == OpText && !in.compressed {
		if bad := in.text.check(p); bad >= 0 {
			return bad + 1, false, &ProtocolError{InvalidUTF8, "text message is not valid UTF-8"}
		}
	}
	if !in.add(p, limit) {
		return 0, false, ErrNoMemory
	}
	in.pos = (in.pos + len(p)) & 3
	in.remaining -= uint64(len(p))
	if in.remaining > 0 {
		return len(p), false, nil
	}
	if in.fin && in.op == OpText && !in.text.complete() {
		return len(p), false, &ProtocolError{InvalidUTF8, "text message ends within a character"}
	}
	in.inFrame = false
	return len(p), true, nil
}

// add appends p, a part of the current frame, to the message. The buffer grows
// by doubling with the bytes that have arrived, not with the announced length,
// because announcing costs a client nothing. The announced length only limits
// the growth. add returns false if there is no memory.
func (in *Inbound) add(p []byte, limit int) bool {
	need := len(in.buf) + len(p)
	if need > cap(in.buf) {
		most := limit
		if in.fin {
			most = len(in.buf) + int(in.remaining)
		}
		size := max(need, min(most, max(minAssembly, 2*cap(in.buf))))
		if !in.enlarge(size) {
			return false
		}
	}
	in.buf = append(in.buf, p...)
	return true
}

func (in *Inbound) enlarge(size int) bool {
	if in.Alloc == nil {
		in.buf = append(make([]byte, 0, size), in.buf...)
		return true
	}
	grown, ok := in.Alloc.Grow(in.buf, size)
	if ok {
		in.buf = grown
	}
	return ok
}

// finish ends the message and returns it.
func (in *Inbound) finish() Event {
	ev := Event{Type: EventMessage, Op: in.op, Compressed: in.compressed, Payload: in.buf}
	in.op = 0
	return ev
}
