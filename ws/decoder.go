package ws

import "encoding/binary"

// Defaults of Limits, and what Next may leave unconsumed.
const (
	// DefaultMaxMessage is the default of Limits.MaxMessage, in bytes.
	DefaultMaxMessage = 64 << 10
	// DefaultMaxFragments is the default of Limits.MaxFragments.
	DefaultMaxFragments = 1024
	// MaxTail is the most bytes that Next leaves unconsumed when it asks for
	// more: a control frame of full size that lacks its last byte (2 bytes of
	// header, 4 of mask, 125 of payload).
	MaxTail = 2 + 4 + MaxControlPayload - 1

	minAssembly = 512 // bytes of the first assembly buffer
)

// Limits bound what a client may send. A field of 0 means its default.
type Limits struct {
	MaxMessage   int // bytes of payload of one message, all fragments together; passed: TooBig
	MaxFragments int // frames of one message; passed: TooManyFragments

	// Deflate says that permessage-deflate was negotiated: the bit RSV1 marks
	// compressed messages (RFC 7692 §6). MaxMessage bounds their payload too,
	// and Inflate what they inflate to.
	Deflate bool
}

func (l Limits) maxMessage() int {
	if l.MaxMessage == 0 {
		return DefaultMaxMessage
	}
	return l.MaxMessage
}

func (l Limits) maxFragments() int {
	if l.MaxFragments == 0 {
		return DefaultMaxFragments
	}
	return l.MaxFragments
}

// EventType says what Next found.
type EventType uint8

const (
	EventNone     EventType = iota // nothing complete: read more bytes
	EventAssemble                  // an Inbound is needed: call again with one
	EventMessage                   // a whole data message
	EventPing                      // to be answered with a pong of the same payload
	EventPong
	EventClose // to be answered with a close frame; nothing may follow it
)

// Event is one thing that a client said.
type Event struct {
	Type EventType
	Op   OpCode // of EventMessage: OpText or OpBinary
	Code uint16 // of EventClose; CloseNoStatus if the frame had none
	// Compressed says that the payload of a message is compressed. Text is not
	// checked then: Inflater.Inflate gives the message and checks it.
	Compressed bool
	// Inflated is by how many bytes the payload is longer than what was
	// received of it, which is work that the client has made. Next leaves it 0.
	Inflated int
	// Payload is the message, the application data of a ping or pong, or the
	// reason of a close frame. It lies in the p or in the Inbound given to
	// Next and is valid until either is used again.
	Payload []byte
}

// Next decodes the next thing a client says. p is all that was received and
// not yet consumed; n bytes of it are consumed now. st is nil unless the
// connection holds an Inbound.
//
// A message that lies whole in p in one frame is unmasked in place and needs
// no state and no allocation. Anything else data needs an Inbound: Next then
// returns EventAssemble, having consumed nothing, and wants to be called again
// with the same p and an Inbound from the caller's pool. The Inbound stays with
// the connection while st.Active(); after that it can go back as soon as the
// payload of the last event is no longer used.
//
// With EventNone the caller keeps p[n:], at most MaxTail bytes, and calls again
// with more bytes behind them. Partial payloads of data frames are consumed and
// checked as they come, partial headers and partial control frames are not.
//
// An error is a *ProtocolError or ErrNoMemory, and final: the connection has to
// be closed, and Next must not be called for it again. n is then the bytes before the frame at
// fault; if text is not UTF-8, the bytes up to and including the first that
// cannot be. Errors, events and n do not depend on how the bytes were split.
func Next(p []byte, st *Inbound, lim Limits) (n int, ev Event, err error) {
	for {
		if st != nil && st.inFrame {
			k, done, fault := st.take(p[n:], lim.maxMessage())
			n += k
			if fault != nil {
				return n, Event{}, fault
			}
			if !done {
				return n, Event{}, nil
			}
			if st.fin {
				return n, st.finish(), nil
			}
		}
		h, size, fault := parseHeader(p[n:], st, lim)
		if fault != nil {
			return n, Event{}, fault
		}
		if size == 0 {
			return n, Event{}, nil
		}
		body := p[n+size:]
		whole := h.length <= uint64(len(body))
		switch {
		case h.op.IsControl():
			if !whole {
				return n, Event{}, nil
			}
			ev, fault = controlEvent(h, body[:h.length])
			if fault != nil {
				return n, Event{}, fault
			}
			return n + size + int(h.length), ev, nil
		case whole && h.fin && h.op != OpContinuation:
			return wholeMessage(h, n+size, body[:h.length])
		case st == nil:
			return n, Event{Type: EventAssemble}, nil
		}
		st.begin(h)
		n += size
	}
}

// wholeMessage gives out the unfragmented message in payload, which follows
// the first n bytes of p.
func wholeMessage(h header, n int, payload []byte) (int, Event, error) {
	mask(payload, h.mask, 0)
	ev := Event{Type: EventMessage, Op: h.op, Compressed: h.compressed, Payload: payload}
	if h.op == OpText && !h.compressed {
		var text utf8State
		if bad := text.check(payload); bad >= 0 {
			return n + bad + 1, Event{}, &ProtocolError{InvalidUTF8, "text message is not valid UTF-8"}
		}
		if !text.complete() {
			return n + len(payload), Event{}, &ProtocolError{InvalidUTF8, "text message ends within a character"}
		}
	}
	return n + len(payload), ev, nil
}

// controlEvent unmasks and checks the payload of a control frame. A close
// frame's payload is no byte long, or a code and a reason (RFC 6455 §5.5.1).
func controlEvent(h header, payload []byte) (Event, *ProtocolError) {
	mask(payload, h.mask, 0)
	switch h.op {
	case OpPing:
		return Event{Type: EventPing, Payload: payload}, nil
	case OpPong:
		return Event{Type: EventPong, Payload: payload}, nil
	}
	if len(payload) == 0 {
		return Event{Type: EventClose, Code: CloseNoStatus}, nil
	}
	code := binary.BigEndian.Uint16(payload)
	if !ValidCloseCode(code) {
		return Event{}, &ProtocolError{BrokenProtocol, "close frame has a code that must not be sent"}
	}
	var text utf8State
	if text.check(payload[2:]) >= 0 || !text.complete() {
		return Event{}, &ProtocolError{InvalidUTF8, "close reason is not valid UTF-8"}
	}
	return Event{Type: EventClose, Code: code, Payload: payload[2:]}, nil
}

// header is the part of a frame before its payload.
type header struct {
	op         OpCode
	fin        bool
	compressed bool // of the first frame of a message
	mask       [4]byte
	length     uint64
}

// parseHeader reads the header at the start of p and returns its size, 0 if
// it is not all there. Each rule is checked as soon as the bytes that decide
// it are there, in the order of the bytes, so that the first fault found is
// the same however the input is split. ws.ReadHeader, in comparison, accepts
// unmasked frames, RSV bits, reserved opcodes and lengths that are not minimal.
func parseHeader(p []byte, st *Inbound, lim Limits) (h header, size int, err *ProtocolError) {
	if len(p) < 1 {
		return h, 0, nil
	}
	h.op, h.fin, h.compressed = OpCode(p[0]&opBits), p[0]&finBit != 0, p[0]&rsv1Bit != 0
	if err := checkFirst(p[0], h, st, lim); err != nil {
		return h, 0, err
	}
	if len(p) < 2 {
		return h, 0, nil
	}
	n := p[1] & lenBits
	switch {
	case p[1]&maskBit == 0:
		return h, 0, &ProtocolError{BrokenProtocol, "client frame is not masked"}
	case h.op.IsControl() && n > MaxControlPayload:
		return h, 0, &ProtocolError{BrokenProtocol, "control frame has more than 125 bytes"}
	case h.op == OpClose && n == 1:
		return h, 0, &ProtocolError{BrokenProtocol, "close frame has a payload of one byte"}
	}
	h.length, size = uint64(n), 2
	switch n {
	case len16:
		if len(p) < 4 {
			return h, 0, nil
		}
		h.length, size = uint64(binary.BigEndian.Uint16(p[2:])), 4
		if h.length < len16 {
			return h, 0, &ProtocolError{BrokenProtocol, "length is not in its shortest form"}
		}
	case len64:
		if len(p) < 10 {
			return h, 0, nil
		}
		h.length, size = binary.BigEndian.Uint64(p[2:]), 10
		if h.length <= 0xffff {
			return h, 0, &ProtocolError{BrokenProtocol, "length is not in its shortest form"}
		}
		if h.length>>63 != 0 {
			return h, 0, &ProtocolError{BrokenProtocol, "length has its most significant bit set"}
		}
	}
	if !h.op.IsControl() && uint64(st.assembled())+h.length > uint64(lim.maxMessage()) {
		return h, 0, &ProtocolError{TooBig, "message is above the limit of this server"}
	}
	if len(p) < size+4 {
		return h, 0, nil
	}
	copy(h.mask[:], p[size:])
	return h, size + 4, nil
}

// checkFirst checks what the first byte of a frame alone decides.
func checkFirst(b byte, h header, st *Inbound, lim Limits) *ProtocolError {
	active := st.Active()
	switch {
	case b&rsvBits != 0 && !(lim.Deflate && b&rsvBits == rsv1Bit && (h.op == OpText || h.op == OpBinary)):
		return &ProtocolError{BrokenProtocol, "reserved bit set without an extension"}
	case h.op.IsReserved():
		return &ProtocolError{BrokenProtocol, "reserved opcode"}
	case h.op.IsControl():
		if !h.fin {
			return &ProtocolError{BrokenProtocol, "fragmented control frame"}
		}
	case h.op == OpContinuation:
		if !active {
			return &ProtocolError{BrokenProtocol, "continuation without a message to continue"}
		}
		if st.fragments >= lim.maxFragments() {
			return &ProtocolError{TooManyFragments, "message has too many fragments"}
		}
	case active:
		return &ProtocolError{BrokenProtocol, "new message within a fragmented one"}
	}
	return nil
}
