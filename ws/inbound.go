package ws

// Inbound is a data message on its way in that does not lie whole in one read:
// it is fragmented, or part of a frame is still to come. A connection has one
// only while Active; in between it belongs to its caller's pool. The zero value
// is ready for use.
type Inbound struct {
	buf       []byte // payload so far, unmasked
	op        OpCode // of the first frame; 0 if no message is in progress
	fragments int    // frames begun
	text      utf8State
	// compressed says that the message is: its text is not checked.
	compressed bool

	// The current data frame, if inFrame.
	inFrame   bool
	fin       bool
	mask      [4]byte
	pos       int    // position in mask, 0 to 3
	remaining uint64 // bytes of its payload still to come

	// Alloc makes room for the message; nil: the Go heap does.
	Alloc Allocator
}

// Allocator owns the assembly buffer of an Inbound.
type Allocator interface {
	// Grow returns a buffer with the content of buf and a capacity of at
	// least size bytes; buf is no longer used then. ok is false if there is
	// no memory for it: buf is then unchanged and still in use.
	Grow(buf []byte, size int) (grown []byte, ok bool)
}

// Active says whether a message is in progress. It is false for a nil Inbound.
func (st *Inbound) Active() bool { return st != nil && st.op != 0 }

// Frames returns how many frames the event of that type, which Next has just
// returned, was made of.
func (st *Inbound) Frames(t EventType) int {
	if st == nil || t != EventMessage {
		return 1
	}
	return max(1, st.fragments)
}

// Begin starts a message of one frame whose payload has length bytes and no
// mask. It is for decoders of other protocols than RFC 6455; Next begins its
// frames itself. Text is checked to be UTF-8.
func (st *Inbound) Begin(op OpCode, length int) {
	st.begin(header{op: op, fin: true, length: uint64(length)})
}

// Take consumes what p has of the message that Begin started, and gives the
// message out once it is whole: the event is EventNone while more is to come.
// Errors are those of Next.
func (st *Inbound) Take(p []byte) (n int, ev Event, err error) {
	n, done, err := st.take(p, 0)
	if err != nil || !done {
		return n, Event{}, err
	}
	return n, st.finish(), nil
}

// Cap returns the bytes of memory that the assembly buffer takes.
func (st *Inbound) Cap() int { return cap(st.buf) }

// Reset forgets the message and returns the assembly buffer, which its owner
// may use for something else. The payload of the last message must no longer
// be in use.
func (st *Inbound) Reset() (buf []byte) {
	buf = st.buf
	*st = Inbound{}
	return buf
}

// assembled returns the bytes of the message so far.
func (st *Inbound) assembled() int {
	if !st.Active() {
		return 0
	}
	return len(st.buf)
}

// begin starts the data frame whose header is h.
func (st *Inbound) begin(h header) {
	if st.op == 0 {
		st.op, st.compressed = h.op, h.compressed
		st.buf = st.buf[:0]
		st.fragments = 0 // text is complete, or the last message would not have ended
	}
	st.fragments++
	st.inFrame, st.fin = true, h.fin
	st.mask, st.pos, st.remaining = h.mask, 0, h.length
}

// take consumes what p has of the current frame's payload and says whether
// the frame is complete. limit is the most bytes a message may have.
func (st *Inbound) take(p []byte, limit int) (n int, done bool, err error) {
	if uint64(len(p)) > st.remaining {
		p = p[:st.remaining]
	}
	mask(p, st.mask, st.pos)
	if st.op == OpText && !st.compressed {
		if bad := st.text.check(p); bad >= 0 {
			return bad + 1, false, &ProtocolError{InvalidUTF8, "text message is not valid UTF-8"}
		}
	}
	if !st.add(p, limit) {
		return 0, false, ErrNoMemory
	}
	st.pos = (st.pos + len(p)) & 3
	st.remaining -= uint64(len(p))
	if st.remaining > 0 {
		return len(p), false, nil
	}
	if st.fin && st.op == OpText && !st.text.complete() {
		return len(p), false, &ProtocolError{InvalidUTF8, "text message ends within a character"}
	}
	st.inFrame = false
	return len(p), true, nil
}

// add appends p, a part of the current frame, to the message. The buffer
// grows with what has arrived, by doubling, never with what was announced: an
// announcement costs a client nothing. Where the message will end is only used
// not to grow beyond it. add returns false if the node has no room for it.
func (st *Inbound) add(p []byte, limit int) bool {
	need := len(st.buf) + len(p)
	if need > cap(st.buf) {
		most := limit
		if st.fin {
			most = len(st.buf) + int(st.remaining)
		}
		size := max(need, min(most, max(minAssembly, 2*cap(st.buf))))
		if !st.enlarge(size) {
			return false
		}
	}
	st.buf = append(st.buf, p...)
	return true
}

func (st *Inbound) enlarge(size int) bool {
	if st.Alloc == nil {
		st.buf = append(make([]byte, 0, size), st.buf...)
		return true
	}
	grown, ok := st.Alloc.Grow(st.buf, size)
	if ok {
		st.buf = grown
	}
	return ok
}

// finish gives out the message and ends it.
func (st *Inbound) finish() Event {
	ev := Event{Type: EventMessage, Op: st.op, Compressed: st.compressed, Payload: st.buf}
	st.op = 0
	return ev
}
