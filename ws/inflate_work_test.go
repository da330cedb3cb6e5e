package ws

import (
	"errors"
	"slices"
	"testing"
)

// bitWriter writes a Deflate stream by hand.
type bitWriter struct {
	out []byte
	acc uint64
	n   uint
}

func (w *bitWriter) bits(v uint64, n uint) {
	w.acc |= v << w.n
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.acc))
		w.acc >>= 8
	}
}

// align fills the byte up.
func (w *bitWriter) align() {
	if w.n > 0 {
		w.bits(0, 8-w.n)
	}
}

// canonical is a Huffman code given by the length of each symbol's code.
type canonical []uint8

// write writes the code of a symbol, whose highest bit comes first.
func (c canonical) write(w *bitWriter, symbol int) {
	code := uint16(0)
	for n := uint8(1); n <= maxCodeBits; n++ {
		for s, k := range c {
			if k != n {
				continue
			}
			if s == symbol {
				w.bits(uint64(reverse(code, n)), uint(n))
				return
			}
			code++
		}
		code <<= 1
	}
}

// tables begins a block with Huffman tables: codeLengths is the code in which
// the others are given.
func (w *bitWriter) tables(codeLengths, litLen, dist canonical) {
	w.bits(0b100, 3)
	w.bits(uint64(len(litLen)-257), 5)
	w.bits(uint64(len(dist)-1), 5)
	w.bits(uint64(len(codeLengthOrder)-4), 4)
	for _, s := range codeLengthOrder {
		w.bits(uint64(codeLengths[s]), 3)
	}
	for all := slices.Concat(litLen, dist); len(all) > 0; {
		n := 1
		for n < len(all) && all[n] == all[0] {
			n++
		}
		switch {
		case all[0] == 0 && n >= 11:
			n = min(n, 138)
			codeLengths.write(w, 18)
			w.bits(uint64(n-11), 7)
		case n >= 4 && codeLengths[16] > 0:
			n = min(n, 7)
			codeLengths.write(w, int(all[0]))
			codeLengths.write(w, 16)
			w.bits(uint64(n-4), 2)
		default:
			n = 1
			codeLengths.write(w, int(all[0]))
		}
		all = all[n:]
	}
}

// emptyBlock writes the shortest block that has tables and gives nothing.
func (w *bitWriter) emptyBlock() {
	litLen := make(canonical, 257)
	litLen[endOfBlock] = 1
	w.tables(canonical{1: 1, 18: 1}, litLen, canonical{1})
	litLen.write(w, endOfBlock)
}

// longBlock writes a block that gives nothing, with tables of as many long
// codes as fit: they take the longest to build.
func (w *bitWriter) longBlock() {
	litLen := append(canonical{1, 3, 4, 5, 6, 9}, slices.Repeat(canonical{10}, 269)...)
	codeLengths := canonical{0: 4, 1: 4, 3: 5, 4: 5, 5: 5, 6: 5, 9: 5, 10: 4, 11: 5, 12: 5, 13: 5, 14: 5, 15: 5, 16: 1, 18: 0}
	litLen = append(litLen, 11, 12, 13, 14, 15, 15)
	w.tables(codeLengths, litLen, canonical{1})
	litLen.write(w, endOfBlock)
}

// message ends the stream as a message ends.
func (w *bitWriter) message() []byte {
	w.bits(0, 3)
	w.align()
	return w.out
}

// TestInflateTables bounds the time that a message can take: tables without
// content are the dearest that a client can send.
func TestInflateTables(t *testing.T) {
	for name, block := range map[string]func(*bitWriter){"short codes": (*bitWriter).emptyBlock, "long codes": (*bitWriter).longBlock} {
		for _, blocks := range []int{1, freeTables, freeTables + 1, 2000} {
			var w bitWriter
			for range blocks {
				block(&w)
			}
			var f Inflater
			out, err := f.inflate(w.message(), 64<<10)
			if blocks <= freeTables && (err != nil || len(out) != 0) {
				t.Errorf("%d blocks of %s: %d bytes, %v", blocks, name, len(out), err)
			}
			if blocks > freeTables && (!errors.Is(err, errDeflateWork) || f.tables != freeTables+1) {
				t.Errorf("%d blocks of %s: %v after %d tables", blocks, name, err, f.tables)
			}
		}
	}
}

// TestInflateSmallBlocks inflates what a client with the smallest blocks of
// zlib sends: 127 bytes in each, each with tables.
func TestInflateSmallBlocks(t *testing.T) {
	var w bitWriter
	litLen := make(canonical, 257)
	litLen['a'], litLen['b'], litLen[endOfBlock] = 1, 2, 2
	var want []byte
	for range 500 {
		w.tables(canonical{0: 2, 1: 2, 2: 2, 18: 2}, litLen, canonical{1})
		for i := range 127 {
			want = append(want, 'a'+byte(i%2))
			litLen.write(&w, 'a'+i%2)
		}
		litLen.write(&w, endOfBlock)
	}
	var f Inflater
	if out, err := f.inflate(w.message(), 64<<10); err != nil || !slices.Equal(out, want) {
		t.Errorf("%d bytes of %d, %v", len(out), len(want), err)
	}
}

// TestInflateCost: every Huffman table but the first has a price, and a large
// message may have fewer of them for its size.
func TestInflateCost(t *testing.T) {
	var w bitWriter
	for range 10 {
		w.emptyBlock()
	}
	var f Inflater
	if _, err := f.inflate(w.message(), 64<<10); err != nil || f.Cost() != 9*tableCost {
		t.Errorf("10 tables cost %d, want %d: %v", f.Cost(), 9*tableCost, err)
	}
	if _, err := f.inflate(deflated(t, []byte("one table at most"), 6), 64<<10); err != nil || f.Cost() != 0 {
		t.Errorf("a short text costs %d: %v", f.Cost(), err)
	}
	const size = 4 << 20
	w = bitWriter{}
	for range size / (1 << 15) {
		w.bits(0, 3)
		w.align()
		w.out = append(w.out, 0, 0x80, 0xff, 0x7f)
		w.out = append(w.out, make([]byte, 1<<15)...)
	}
	for range freeTables + smallOutput/bytesPerTable + size/bytesPerLargeTable + 1 {
		w.emptyBlock()
	}
	if _, err := f.inflate(w.message(), 2*size); !errors.Is(err, errDeflateWork) {
		t.Errorf("more tables than a message of %d bytes may have: %v", size, err)
	}
}
