package ws

import (
	"bytes"
	"errors"
	"testing"
)

// oneTo returns the code that has one symbol of each length from 1 to n and
// two of n: the symbols are 0 to n.
func oneTo(n int) canonical {
	c := make(canonical, n+1)
	for i := range c {
		c[i] = uint8(min(i+1, n))
	}
	return c
}

// sparse returns a code of size symbols in which the symbols given have the
// lengths of c.
func sparse(size int, c canonical, symbols ...int) canonical {
	all := make(canonical, size)
	for i, s := range symbols {
		all[s] = c[i]
	}
	return all
}

// lengthCode can write every code length, and 16 and 18.
var lengthCode = canonical{0: 4, 1: 4, 2: 4, 3: 4, 4: 4, 5: 4, 6: 4, 7: 4, 8: 4, 9: 4, 10: 4, 11: 4, 12: 5, 13: 5, 14: 5, 15: 5, 16: 4, 18: 4}

// TestInflateLongestCodes decodes a length and a distance of the most bits that
// there can be, 48, at every position within a byte.
func TestInflateLongestCodes(t *testing.T) {
	back := noise(30000)
	litLen := sparse(286, oneTo(15), 'a', 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, endOfBlock, 13, 284)
	dist := sparse(30, oneTo(15), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 29)
	for letters := range 8 {
		var w bitWriter
		w.bits(0, 3)
		w.align()
		w.bits(uint64(len(back)), 16)
		w.bits(uint64(^uint16(len(back))), 16)
		for _, c := range back {
			w.bits(uint64(c), 8)
		}
		w.tables(lengthCode, litLen, dist)
		want := bytes.Clone(back)
		for range letters {
			litLen.write(&w, 'a')
			want = append(want, 'a')
		}
		for range 3 {
			litLen.write(&w, 284)
			w.bits(30, 5)
			dist.write(&w, 29)
			w.bits(1000, 13)
			want = append(want, want[len(want)-25577:][:257]...)
		}
		litLen.write(&w, endOfBlock)
		var f Inflater
		if out, err := f.inflate(w.message(), 1<<20); err != nil || !bytes.Equal(out, want) {
			t.Fatalf("%d letters: %d bytes of %d, %v", letters, len(out), len(want), err)
		}
	}
}

// TestInflateRefusesTables: what RFC 1951 does not allow in a block with
// tables, even after a block that left other tables behind.
func TestInflateRefusesTables(t *testing.T) {
	two := sparse(257, canonical{1, 1}, 'a', endOfBlock)
	for name, write := range map[string]func(*bitWriter){
		"no end of block": func(w *bitWriter) { w.tables(lengthCode, sparse(257, canonical{1, 1}, 'a', 'b'), canonical{1}) },
		"287 codes": func(w *bitWriter) {
			w.tables(lengthCode, sparse(287, canonical{1, 1}, 'a', endOfBlock), canonical{1})
			two.write(w, endOfBlock)
		},
		"31 distances": func(w *bitWriter) {
			w.tables(lengthCode, two, sparse(31, canonical{1, 1}, 0, 1))
			two.write(w, endOfBlock)
		},
		"too many codes": func(w *bitWriter) {
			w.tables(lengthCode, sparse(257, canonical{1, 1, 1}, 'a', 'b', endOfBlock), canonical{1})
		},
		"too few codes":         func(w *bitWriter) { w.tables(lengthCode, sparse(257, canonical{1, 2}, 'a', endOfBlock), canonical{1}) },
		"one long code":         func(w *bitWriter) { w.tables(lengthCode, sparse(257, canonical{2}, endOfBlock), canonical{1}) },
		"too many code lengths": func(w *bitWriter) { w.tables(canonical{0: 1, 1: 1, 2: 1, 16: 0, 18: 1}, two, canonical{1}) },
		"repetition of nothing": func(w *bitWriter) {
			w.bits(0b100, 3)
			w.bits(0, 10)
			w.bits(15, 4)
			code := sparse(19, canonical{1, 1}, 16, 18)
			for _, s := range codeLengthOrder {
				w.bits(uint64(code[s]), 3)
			}
			code.write(w, 16)
		},
		"repetition beyond the end": func(w *bitWriter) {
			w.bits(0b100, 3)
			w.bits(0, 10)
			w.bits(15, 4)
			code := sparse(19, canonical{1, 1}, 16, 18)
			for _, s := range codeLengthOrder {
				w.bits(uint64(code[s]), 3)
			}
			code.write(w, 18)
			w.bits(127, 7)
			code.write(w, 18)
			w.bits(127, 7)
		},
		"a code that is none": func(w *bitWriter) {
			litLen := sparse(258, canonical{1, 2, 2}, 'a', endOfBlock, 257)
			w.tables(lengthCode, litLen, canonical{1})
			litLen.write(w, 'a')
			litLen.write(w, 257)
			w.bits(1, 1) // distance 0 has the code 0, nothing the code 1
			litLen.write(w, endOfBlock)
		},
		"a distance without codes": func(w *bitWriter) {
			litLen := sparse(258, canonical{1, 2, 2}, 'a', endOfBlock, 257)
			w.tables(lengthCode, litLen, canonical{0})
			litLen.write(w, 'a')
			litLen.write(w, 257)
			w.bits(0, 1)
			litLen.write(w, endOfBlock)
		},
		"fixed length 286": func(w *bitWriter) {
			w.bits(0b010, 3)
			w.bits(uint64(reverse(0b11000110, 8)), 8)
			w.bits(0, 5)
			w.bits(0, 7)
		},
		"fixed distance 30": func(w *bitWriter) {
			w.bits(0b010, 3)
			w.bits(uint64(reverse(0x30+'a', 8)), 8)
			w.bits(uint64(reverse(1, 7)), 7)
			w.bits(uint64(reverse(30, 5)), 5)
			w.bits(0, 7)
		},
	} {
		var w bitWriter
		for _, dist := range []canonical{{1}, {1, 1}} { // both bits lead somewhere
			w.tables(lengthCode, two, dist)
			two.write(&w, endOfBlock)
		}
		var f Inflater
		write(&w)
		for range 20 { // what follows would be harmless
			w.bits(0b010, 3)
			w.bits(0, 7)
		}
		if out, err := f.inflate(w.message(), 100); !errors.Is(err, errDeflateData) {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}
