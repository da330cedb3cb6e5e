package ws

// codeLengthOrder is the order in which a block lists the lengths of the code for
// code lengths (RFC 1951 §3.2.7).
var codeLengthOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// extended is a number that consists of a base, which the symbol selects, and of
// the extra bits behind the symbol, which are added to the base.
type extended struct {
	base  uint16
	extra uint8 // number of bits
}

// matchLengths are the lengths of the symbols from 257 on, matchDistances those of
// the distance alphabet (RFC 1951 §3.2.5). Nothing writes to them.
var (
	matchLengths = [29]extended{
		{3, 0}, {4, 0}, {5, 0}, {6, 0}, {7, 0}, {8, 0}, {9, 0}, {10, 0},
		{11, 1}, {13, 1}, {15, 1}, {17, 1}, {19, 2}, {23, 2}, {27, 2}, {31, 2},
		{35, 3}, {43, 3}, {51, 3}, {59, 3}, {67, 4}, {83, 4}, {99, 4}, {115, 4},
		{131, 5}, {163, 5}, {195, 5}, {227, 5}, {258, 0},
	}
	matchDistances = [maxDistCodes]extended{
		{1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 1}, {7, 1}, {9, 2}, {13, 2},
		{17, 3}, {25, 3}, {33, 4}, {49, 4}, {65, 5}, {97, 5}, {129, 6}, {193, 6},
		{257, 7}, {385, 7}, {513, 8}, {769, 8}, {1025, 9}, {1537, 9}, {2049, 10}, {3073, 10},
		{4097, 11}, {6145, 11}, {8193, 12}, {12289, 12}, {16385, 13}, {24577, 13},
	}
)

// compressed inflates the content of a block with the codes litLen and dist. It
// works with copies of acc, n and out, which the compiler keeps in registers.
func (f *Inflater) compressed(litLen, dist *huffman) error {
	acc, n, out := f.acc, f.n, f.out
	for {
		if n < 48 { // the most bits that a length and a distance can have
			f.acc, f.n = acc, n
			f.refill()
			acc, n = f.acc, f.n
		}
		entry := litLen.lookup[acc&(1<<lookupBits-1)]
		symbol, size := entry>>4, uint(entry&15)
		if size == 0 {
			symbol, size = litLen.long(acc)
		}
		if size == 0 || size > n {
			return errDeflateData
		}
		acc, n = acc>>size, n-size
		if symbol < endOfBlock {
			if len(out) == cap(out) {
				if f.out = out; !f.room(1) {
					return errDeflateLarge
				}
				out = f.out
			}
			out = append(out, byte(symbol))
			continue
		}
		if symbol == endOfBlock {
			f.acc, f.n, f.out = acc, n, out
			return nil
		}
		if symbol -= endOfBlock + 1; int(symbol) >= len(matchLengths) {
			return errDeflateData
		}
		m := matchLengths[symbol]
		length := int(m.base) + int(acc&(1<<m.extra-1))
		acc, n = acc>>m.extra, n-uint(m.extra)
		entry = dist.lookup[acc&(1<<lookupBits-1)]
		if symbol, size = entry>>4, uint(entry&15); size == 0 {
			symbol, size = dist.long(acc)
		}
		if size == 0 || int(symbol) >= len(matchDistances) {
			return errDeflateData
		}
		acc, n = acc>>size, n-size
		m = matchDistances[symbol]
		back := int(m.base) + int(acc&(1<<m.extra-1))
		acc, n = acc>>m.extra, n-uint(m.extra)
		if n > 64 || back > len(out) { // n went below 0 if there were not enough bits
			return errDeflateData
		}
		if length > cap(out)-len(out) {
			if f.out = out; !f.room(length) {
				return errDeflateLarge
			}
			out = f.out
		}
		out = appendMatch(out, back, length)
	}
}

// appendMatch appends length bytes of out, from back bytes before its end on. If
// length is more than back, the bytes are repeated.
func appendMatch(out []byte, back, length int) []byte {
	for from := len(out) - back; length > 0; {
		part := out[from:min(from+length, len(out))]
		out = append(out, part...)
		length -= len(part)
	}
	return out
}
