package ws

import "encoding/binary"

// header is the part of a frame before its payload (RFC 6455 §5.2).
type header struct {
	op         OpCode
	fin        bool
	compressed bool // RSV1; only the first frame of a message may have it
	mask       [4]byte
	length     uint64 // of the payload, in bytes
}

// parseHeader reads the header at the start of p and returns its size in
// bytes, 0 if it is incomplete. Each rule is checked as soon as the bytes that
// decide it have arrived, in the order of the bytes. So the first fault found
// is the same however the input was split.
func parseHeader(p []byte, in *Inbound, lim Limits) (h header, size int, err *ProtocolError) {
	if len(p) < 1 {
		return h, 0, nil
	}
	h.op, h.fin, h.compressed = OpCode(p[0]&opBits), p[0]&finBit != 0, p[0]&rsv1Bit != 0
	if err := checkFirst(p[0], h, in, lim); err != nil {
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
	if !h.op.IsControl() && uint64(in.assembled())+h.length > uint64(lim.maxPayload(h.compressed || in.Active() && in.compressed)) {
		return h, 0, &ProtocolError{TooBig, "message is above the limit of this server"}
	}
	if len(p) < size+4 {
		return h, 0, nil
	}
	copy(h.mask[:], p[size:])
	return h, size + 4, nil
}

// checkFirst checks the rules that the first byte of a frame decides.
func checkFirst(b byte, h header, in *Inbound, lim Limits) *ProtocolError {
	active := in.Active()
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
		if in.fragments >= lim.maxFragments() {
			return &ProtocolError{TooManyFragments, "message has too many fragments"}
		}
	case active:
		return &ProtocolError{BrokenProtocol, "new message within a fragmented one"}
	}
	return nil
}
