package hostile

import (
	"bytes"
	"compress/flate"
	"math/bits"
	"slices"
	"sync"
)

// compressed returns a whole text message with a compressed payload (RFC 7692
// §6.1).
func compressed(payload []byte) []byte {
	frame := appendFrame(nil, true, opText, payload)
	frame[0] |= rsv1
	return frame
}

// fragmented returns a binary message with a compressed payload, one byte in
// each frame.
func fragmented(payload []byte) []byte {
	var frames []byte
	for i := range payload {
		op := byte(opContinuation)
		if i == 0 {
			op = opBinary | rsv1
		}
		frames = appendFrame(frames, i == len(payload)-1, op, payload[i:i+1])
	}
	return frames
}

// deflated returns the compressed payload for a content (RFC 7692 §7.2.1).
func deflated(content string) []byte {
	return bytes.TrimSuffix(flushed(content), []byte{0, 0, 0xFF, 0xFF})
}

// flushed is deflated with the empty stored block at its end, behind which more
// blocks may follow.
func flushed(content string) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression) // neither the level nor the buffer can fail
	_, _ = w.Write([]byte(content))
	_ = w.Flush()
	return b.Bytes()
}

// withTables returns the compressed payload for a content, followed by n blocks
// that have Huffman tables and no content.
func withTables(content string, n int) []byte {
	w := bitWriter{out: flushed(content)}
	block := tableBlock()
	for range n {
		w.append(block)
	}
	w.add(0, 3) // an empty stored block; its length is left out
	w.align()
	return w.out
}

// bitWriter writes a Deflate stream bit by bit (RFC 1951 §3.1.1).
type bitWriter struct {
	out []byte
	acc uint64 // bits that are not a whole byte yet
	n   uint   // number of them
}

// add appends the lowest n bits of v, at most 16.
func (w *bitWriter) add(v uint64, n uint) {
	w.acc |= v << w.n
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.acc))
		w.acc >>= 8
	}
}

// append appends what another writer has written.
func (w *bitWriter) append(from *bitWriter) {
	for _, b := range from.out {
		w.add(uint64(b), 8)
	}
	w.add(from.acc, from.n)
}

// align fills up the current byte.
func (w *bitWriter) align() {
	if w.n > 0 {
		w.add(0, 8-w.n)
	}
}

// huffman is a Huffman code: the length of each symbol's code word in bits, 0
// for a symbol without one (RFC 1951 §3.2.2).
type huffman []uint8

// write writes the code word of a symbol.
func (c huffman) write(w *bitWriter, symbol int) {
	word := uint16(0)
	for n := uint8(1); n <= 15; n++ {
		for s, size := range c {
			switch {
			case size != n:
			case s == symbol: // the highest bit comes first
				w.add(uint64(bits.Reverse16(word)>>(16-n)), uint(n))
				return
			default:
				word++
			}
		}
		word <<= 1
	}
}

// lengthOrder is the order of the code lengths in a block (RFC 1951 §3.2.7).
var lengthOrder = [...]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// tableBlock is a block without content. Nearly all codes of its tables are too
// long for a short look-up table, so the tables take long to build.
var tableBlock = sync.OnceValue(func() *bitWriter {
	const endOfBlock, repeat = 256, 16
	litLen := append(huffman{1, 3, 4, 5, 6, 9}, slices.Repeat(huffman{10}, 269)...)
	litLen = append(litLen, 11, 12, 13, 14, 15, 15)
	lengths := huffman{0: 4, 1: 4, 3: 5, 4: 5, 5: 5, 6: 5, 9: 5, 10: 4, 11: 5, 12: 5, 13: 5, 14: 5, 15: 5, repeat: 1, 18: 0}
	w := new(bitWriter)
	w.add(0b100, 3) // not the last block, with tables
	w.add(uint64(len(litLen)-257), 5)
	w.add(0, 5) // one distance
	w.add(uint64(len(lengthOrder)-4), 4)
	for _, s := range lengthOrder {
		w.add(uint64(lengths[s]), 3)
	}
	for all := append(litLen[:len(litLen):len(litLen)], 1); len(all) > 0; {
		n := 1
		for n < min(len(all), 7) && all[n] == all[0] {
			n++
		}
		lengths.write(w, int(all[0]))
		if n < 4 {
			n = 1
		} else {
			lengths.write(w, repeat)
			w.add(uint64(n-4), 2)
		}
		all = all[n:]
	}
	litLen.write(w, endOfBlock)
	return w
})
