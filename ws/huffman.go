package ws

import "math/bits"

// Sizes of Deflate's alphabets (RFC 1951 §3.2.5 to §3.2.7).
const (
	maxCodeBits    = 15  // of any Huffman code
	maxLitLenCodes = 286 // literals, the end of a block, lengths
	maxDistCodes   = 30
	endOfBlock     = 256

	// lookupBits is the length of the codes that one look-up decodes. Longer codes
	// are rare and are decoded bit by bit. So building a table is fast, which
	// matters because a client can send a table every few bytes.
	lookupBits = 9
)

// huffman decodes one alphabet of a block.
type huffman struct {
	// lookup has, for the next lookupBits bits, a symbol << 4 and the length of
	// its code, or 0 if the code is longer or does not exist.
	lookup [1 << lookupBits]uint16
	// For longer codes: the number of codes of each length, and the symbols in
	// the order of their codes.
	count   [maxCodeBits + 1]uint16
	symbols [288]uint16
}

// build makes the code from the lengths of the symbols' codes, 0 for a symbol
// without one. It returns false if the lengths do not make a code. Like zlib it
// accepts an incomplete code only if it has no symbol, or one with a single bit.
func (h *huffman) build(lengths []uint8) bool {
	h.count = [maxCodeBits + 1]uint16{}
	for _, n := range lengths {
		h.count[n]++
	}
	used := len(lengths) - int(h.count[0])
	h.count[0] = 0
	var first [maxCodeBits + 1]uint16 // code of the next symbol of a length
	var at [maxCodeBits + 1]uint16    // place of the next symbol of a length in symbols
	left := 1                         // unused codes of length n
	for n := 1; n <= maxCodeBits; n++ {
		left = left<<1 - int(h.count[n])
		if left < 0 {
			return false
		}
		first[n] = (first[n-1] + h.count[n-1]) << 1
		at[n] = at[n-1] + h.count[n-1]
	}
	if left > 0 {
		if used > 1 || used == 1 && h.count[1] == 0 {
			return false
		}
		clear(h.lookup[:]) // for a complete code the loop below writes every entry
	}
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		h.symbols[at[n]] = uint16(symbol)
		at[n]++
		code := first[n]
		first[n]++
		if n > lookupBits {
			h.lookup[reverse(code>>(n-lookupBits), lookupBits)] = 0
			continue
		}
		entry := uint16(symbol)<<4 | uint16(n)
		for i := int(reverse(code, n)); i < len(h.lookup); i += 1 << n {
			h.lookup[i] = entry
		}
	}
	return true
}

// reverse returns the lowest n bits of code in the opposite order: Deflate sends
// the highest bit of a code first, and the lowest bit of anything else.
func reverse(code uint16, n uint8) uint16 { return bits.Reverse16(code) >> (16 - n) }

// long decodes a code of more than lookupBits bits at the low end of b. It
// returns a length of 0 if there is no such code.
func (h *huffman) long(b uint64) (symbol uint16, n uint) {
	code, first, index := 0, 0, 0
	for n = 1; n <= maxCodeBits; n++ {
		code |= int(b & 1)
		b >>= 1
		count := int(h.count[n])
		if code-first < count {
			return h.symbols[index+code-first], n
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, 0
}

// fixedLitLen and fixedDist are the codes for blocks without tables (RFC 1951
// §3.2.6). Nothing writes to them after initialization.
var fixedLitLen, fixedDist = fixedCodes()

func fixedCodes() (litLen, dist *huffman) {
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	litLen, dist = new(huffman), new(huffman)
	litLen.build(lengths[:])
	for i := range 32 {
		lengths[i] = 5
	}
	dist.build(lengths[:32])
	return litLen, dist
}
