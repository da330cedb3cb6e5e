package ws

import (
	"encoding/binary"
	"unicode/utf8"
)

// Errors of a payload that cannot be inflated.
var (
	errDeflateData  = &ProtocolError{InvalidDeflate, "compressed message is not valid"}
	errDeflateWork  = &ProtocolError{InvalidDeflate, "compressed message has too many Huffman tables for its size"}
	errDeflateLarge = &ProtocolError{TooBig, "inflated message is above the limit of this server"}
)

// deflateTail is the end of an empty stored block. A sender removes it from the
// end of a message, and a receiver appends it (RFC 7692 §7.2).
var deflateTail = [4]byte{0x00, 0x00, 0xff, 0xff}

const (
	// A block of 12 bytes can have Huffman tables and no output, and reading the
	// tables takes 1.5 to 3.5 microseconds. So a message may have freeTables, and
	// one more for each bytesPerTable bytes of its first smallOutput bytes of
	// output and for each bytesPerLargeTable bytes of all. The smallest blocks of
	// zlib have an output of at least 127 bytes (memLevel 1), and of 16 KiB by
	// default.
	freeTables         = 32
	bytesPerTable      = 64
	smallOutput        = 64 << 10
	bytesPerLargeTable = 4 << 10

	// tableCost is what reading tables costs, in bytes of output that take as
	// long to inflate.
	tableCost = 2 << 10

	minInflated  = 4 << 10  // size of the first buffer, in bytes
	keepInflated = 64 << 10 // a larger buffer is freed when a small message follows
)

// Inflater decompresses messages (RFC 7692) without context from earlier
// messages, so it can serve many connections. It keeps its buffer and allocates
// only for a message that is larger than the earlier ones. The zero value is
// ready for use. One goroutine at a time may use it.
//
// A flate.Reader is no alternative. It copies all output through a window of 32
// KiB, does not tell whether a message ends at the end of a block, and does not
// limit the work that a small message causes.
type Inflater struct {
	buf []byte // kept for the next message
	max int    // largest size of the message, in bytes

	// The message that is being inflated.
	in     []byte // its payload
	out    []byte // its content so far; cap(out) is at most max
	pos    int    // of the next byte to read, in the payload with deflateTail behind it
	acc    uint64 // bits that were read and not used yet; the next one is the lowest
	n      uint   // number of bits in acc
	tables int    // Huffman tables read

	litLen, dist huffman
	lengths      [maxLitLenCodes + maxDistCodes]uint8
}

// Inflate returns the message of ev, whose payload is compressed. The message lies
// in the Inflater and is valid until the next call. The error is a
// *ProtocolError, and the connection has to be closed: the message has more than
// lim.MaxMessage bytes, the payload is not valid, or text is not UTF-8. The
// output buffer never has more than lim.MaxMessage bytes.
func (f *Inflater) Inflate(ev Event, lim Limits) ([]byte, error) {
	out, err := f.inflate(ev.Payload, lim.maxMessage())
	if err != nil {
		return nil, err
	}
	if ev.Op == OpText && !utf8.Valid(out) {
		return nil, &ProtocolError{InvalidUTF8, "text message is not valid UTF-8"}
	}
	return out, nil
}

// Cost returns what the last message of Inflate cost beyond its inflated size,
// in bytes that take as long to inflate: its Huffman tables without the first.
func (f *Inflater) Cost() int { return max(0, f.tables-1) * tableCost }

// Buffer returns how many bytes the buffer takes that the Inflater keeps for its
// next message.
func (f *Inflater) Buffer() int { return cap(f.buf) }

// inflate returns the message whose compressed payload is p, of at most max
// bytes.
func (f *Inflater) inflate(p []byte, max int) ([]byte, error) {
	if cap(f.buf) > keepInflated && len(p) < keepInflated/8 {
		f.buf = nil
	}
	f.in, f.max = p, max
	f.out = f.buf[:0:min(cap(f.buf), max)]
	f.pos, f.acc, f.n, f.tables = 0, 0, 0, 0
	err := f.blocks()
	out := f.out
	f.in, f.out = nil, nil
	if err != nil {
		return nil, err
	}
	return out, nil
}

// blocks inflates all blocks. The message is complete when a block ends where
// deflateTail ends. More blocks may follow a block that is marked as the last
// one; they begin at the next byte (RFC 7692 §7.2.3.4). If none follows, the
// sender has left out the empty block that must be there. This is accepted, as
// zlib accepts it.
func (f *Inflater) blocks() error {
	for {
		final, err := f.block()
		if err != nil {
			return err
		}
		if final {
			f.align()
		}
		if f.n%8 != 0 {
			continue
		}
		end := f.pos - int(f.n/8)
		if end == len(f.in)+len(deflateTail) || final && end == len(f.in) {
			return nil
		}
	}
}

// block inflates one block (RFC 1951 §3.2.3). final is true if it is marked as the
// last one.
func (f *Inflater) block() (final bool, err error) {
	header, ok := f.take(3)
	if !ok {
		return false, errDeflateData
	}
	final = header&1 != 0
	switch header >> 1 {
	case 0:
		return final, f.stored()
	case 1:
		return final, f.compressed(fixedLitLen, fixedDist)
	case 2:
		if err := f.readTables(); err != nil {
			return final, err
		}
		return final, f.compressed(&f.litLen, &f.dist)
	}
	return final, errDeflateData
}

// stored copies a stored block (RFC 1951 §3.2.4).
func (f *Inflater) stored() error {
	f.align()
	size, _ := f.take(16)
	inverse, ok := f.take(16)
	if !ok || size != ^inverse&0xffff {
		return errDeflateData
	}
	f.pos -= int(f.n / 8)
	f.acc, f.n = 0, 0
	if int(size) > len(f.in)+len(deflateTail)-f.pos {
		return errDeflateData
	}
	if !f.room(int(size)) {
		return errDeflateLarge
	}
	for left := int(size); left > 0; {
		var part []byte
		if f.pos < len(f.in) {
			part = f.in[f.pos:]
		} else {
			part = deflateTail[f.pos-len(f.in):]
		}
		part = part[:min(left, len(part))]
		f.out = append(f.out, part...)
		f.pos += len(part)
		left -= len(part)
	}
	return nil
}

// readTables reads the Huffman tables of a block (RFC 1951 §3.2.7).
func (f *Inflater) readTables() error {
	if f.tables++; f.tables > freeTables+min(len(f.out), smallOutput)/bytesPerTable+len(f.out)/bytesPerLargeTable {
		return errDeflateWork
	}
	counts, ok := f.take(14)
	litLens, dists, codes := int(counts&31)+257, int(counts>>5&31)+1, int(counts>>10)+4
	if !ok || litLens > maxLitLenCodes || dists > maxDistCodes {
		return errDeflateData
	}
	var lengths [len(codeLengthOrder)]uint8
	for _, symbol := range codeLengthOrder[:codes] {
		n, ok := f.take(3)
		if !ok {
			return errDeflateData
		}
		lengths[symbol] = uint8(n)
	}
	if !f.dist.build(lengths[:]) || !f.readLengths(&f.dist, f.lengths[:litLens+dists]) {
		return errDeflateData
	}
	if f.lengths[endOfBlock] == 0 || !f.litLen.build(f.lengths[:litLens]) || !f.dist.build(f.lengths[litLens:litLens+dists]) {
		return errDeflateData
	}
	return nil
}

// readLengths reads code lengths, which are encoded with the Huffman code h
// themselves, until lengths is full.
func (f *Inflater) readLengths(h *huffman, lengths []uint8) bool {
	for i := 0; i < len(lengths); {
		f.refill()
		entry := h.lookup[f.acc&(1<<lookupBits-1)]
		symbol, size := uint8(entry>>4), uint(entry&15)
		if size == 0 || size > f.n {
			return false
		}
		f.drop(size)
		if symbol < 16 {
			lengths[i] = symbol
			i++
			continue
		}
		var value uint8
		extra, least := uint(7), 11 // symbol 18
		switch symbol {
		case 16:
			if i == 0 {
				return false
			}
			value, extra, least = lengths[i-1], 2, 3
		case 17:
			extra, least = 3, 3
		}
		more, ok := f.take(extra)
		repeat := least + int(more)
		if !ok || repeat > len(lengths)-i {
			return false
		}
		for range repeat {
			lengths[i] = value
			i++
		}
	}
	return true
}

// room makes room for n more bytes in out, which grows by doubling. It returns
// false if the message would exceed its limit.
func (f *Inflater) room(n int) bool {
	need := len(f.out) + n
	if need > f.max {
		return false
	}
	if need > cap(f.out) {
		size := min(f.max, max(need, 2*cap(f.out), minInflated))
		f.buf = append(make([]byte, 0, size), f.out...)
		f.out = f.buf[:len(f.out):size]
	}
	return true
}

// refill reads bytes into acc until it has at least 56 bits, or all that are left.
func (f *Inflater) refill() {
	if f.pos+8 <= len(f.in) {
		// Bits of acc above n may be set. They belong to the next bytes, so
		// reading these bytes again sets them to the same values.
		f.acc |= binary.LittleEndian.Uint64(f.in[f.pos:]) << f.n
		f.pos += int(63-f.n) >> 3
		f.n |= 56
		return
	}
	for f.n < 56 {
		var b byte
		switch i := f.pos - len(f.in); {
		case i < 0:
			b = f.in[f.pos]
		case i < len(deflateTail):
			b = deflateTail[i]
		default:
			return
		}
		f.acc |= uint64(b) << f.n
		f.pos++
		f.n += 8
	}
}

// take returns the next n bits, at most 16.
func (f *Inflater) take(n uint) (v uint, ok bool) {
	if f.n < n {
		if f.refill(); f.n < n {
			return 0, false
		}
	}
	v = uint(f.acc & (1<<n - 1))
	f.drop(n)
	return v, true
}

// drop removes n bits from acc.
func (f *Inflater) drop(n uint) {
	f.acc >>= n
	f.n -= n
}

// align drops the unused bits of the current byte.
func (f *Inflater) align() { f.drop(f.n % 8) }
