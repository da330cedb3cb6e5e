package ws

import "encoding/binary"

// MaxTail is the largest number of bytes that Next leaves unconsumed when it
// asks for more: a control frame of full size without its last byte (2 bytes of
// header, 4 of masking key, 125 of payload).
const MaxTail = 2 + 4 + MaxControlPayload - 1

// Next decodes the next message or control frame of a client. p is all that was
// received and not consumed yet; Next consumes the first n bytes of it. in is
// nil unless the connection holds an Inbound.
//
// A message that lies complete in p in one frame is unmasked in place, without
// state and without allocation. Any other message needs an Inbound: Next
// returns EventAssemble and consumes nothing, and the caller calls again with
// the same p and an Inbound from its pool. The Inbound stays with the
// connection while in.Active() is true. After that it can go back to the pool
// as soon as the payload of the last event is no longer used.
//
// With EventNone the caller keeps p[n:], at most MaxTail bytes, and calls again
// when more bytes have arrived behind them. The payload of a data frame is
// consumed and checked as it arrives; incomplete headers and control frames are
// not consumed.
//
// An error is a *ProtocolError or ErrNoMemory. It is final: the connection has
// to be closed, and Next must not be called for it again. n then counts the
// bytes before the faulty frame. If text is not UTF-8, n counts the bytes up to
// and including the first one that makes the text invalid. Errors, events and n
// do not depend on how the bytes were split.
func Next(p []byte, in *Inbound, lim Limits) (n int, ev Event, err error) {
	for {
		if in != nil && in.inFrame {
			k, done, fault := in.take(p[n:], lim.maxMessage())
			n += k
			if fault != nil {
				return n, Event{}, fault
			}
			if !done {
				return n, Event{}, nil
			}
			if in.fin {
				return n, in.finish(), nil
			}
		}
		h, size, fault := parseHeader(p[n:], in, lim)
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
		case in == nil:
			return n, Event{Type: EventAssemble}, nil
		}
		in.begin(h)
		n += size
	}
}

// wholeMessage unmasks and checks the unfragmented message in payload, which
// follows the first n bytes of p.
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

// controlEvent unmasks and checks the payload of a control frame. The payload
// of a close frame is empty, or it is a code and a reason (RFC 6455 §5.5.1).
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
