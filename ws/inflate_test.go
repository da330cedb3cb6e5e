package ws

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// sampleJSON returns n bytes that look like what backends push.
func sampleJSON(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := []byte("[")
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, `{"id":%d,"user":"u%d","symbol":"%c%c%c","price":%d.%02d,"tags":["news","sport"],"text":"Größe %x"},`,
			i, r.IntN(1e6), 'A'+r.IntN(26), 'A'+r.IntN(26), 'A'+r.IntN(26), r.IntN(1e4), r.IntN(100), r.Uint32())
	}
	return b[:n]
}

// noise returns n bytes that do not compress.
func noise(n int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// deflated compresses payload with the standard library, as a client does.
func deflated(t testing.TB, payload []byte, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(payload)
	w.Flush()
	return bytes.TrimSuffix(b.Bytes(), deflateTail[:])
}

// lastBlock compresses payload into blocks of which one is marked as the last.
func lastBlock(payload []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 6)
	w.Write(payload)
	w.Close()
	return b.Bytes()
}

// unhexed returns the bytes that are written in hex, with spaces.
func unhexed(t testing.TB, s string) []byte {
	p, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// matchBlock is a block that repeats the 5 bytes before it.
func matchBlock() []byte {
	var w bitWriter
	w.bits(0b010, 3)
	w.bits(uint64(reverse(0b0000011, 7)), 7) // a length of 5
	w.bits(uint64(reverse(4, 5)), 5)         // a distance of 5 or 6
	w.bits(0, 1)                             // of 5
	w.bits(0, 7)                             // the end of the block
	return w.message()
}

func TestInflate(t *testing.T) {
	var f Inflater
	for _, tc := range []struct{ name, in, want string }{
		// RFC 7692 §7.2.3 gives the first four.
		{"one block", "f248cdc9c90700", "Hello"},
		{"no compression", "00 0500 faff 48656c6c6f 00", "Hello"},
		{"marked as last", "f348cdc9c90700 00", "Hello"},
		{"two blocks", "f24805000000ffffcac9c90700", "Hello"},
		{"empty", "00", ""},
		{"an empty block", "0200", ""},
		{"last and nothing behind", "f348cdc9c90700", "Hello"},
		{"last, then another", "f348cdc9c90700 f248cdc9c90700", "HelloHello"},
		{"last three times", "f348cdc9c90700 0300 f348cdc9c90700", "HelloHello"},
		{"last, then a match before it", "f348cdc9c90700" + hex.EncodeToString(matchBlock()), "HelloHello"},
		{"the tail ends a last block", "01", ""},
	} {
		got, err := f.inflate(unhexed(t, tc.in), 10)
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: %q, %v", tc.name, got, err)
		}
	}
}

func TestInflateRefuses(t *testing.T) {
	var f Inflater
	for _, tc := range []struct {
		name, in string
	}{
		{"nothing", ""},
		{"reserved block type", "06"},
		{"cut within a block", "f248cdc9"},
		{"cut within a stored block", "00 0500 faff 4865"},
		{"stored block with wrong inverse", "00 0500 fbff 48656c6c6f 00"},
		{"match before the message", hex.EncodeToString(matchBlock())},
		{"a byte too many", "f248cdc9c90700 ff"},
		{"the tail was not cut", "f248cdc9c90700 0000ffff"},
		{"tables cut off", "04"},
	} {
		got, err := f.inflate(unhexed(t, tc.in), 100)
		if !errors.Is(err, errDeflateData) {
			t.Errorf("%s: %q, %v", tc.name, got, err)
		}
	}
}

// TestInflateLimit inflates to every limit around the size of a message, and
// bombs, which must not cost more memory than the limit.
func TestInflateLimit(t *testing.T) {
	for _, level := range []int{0, 1, 6, flate.HuffmanOnly} {
		payload := sampleJSON(5000)
		in := deflated(t, payload, level)
		for max := 4990; max <= 5010; max++ {
			var f Inflater
			got, err := f.inflate(in, max)
			if max >= len(payload) && (err != nil || !bytes.Equal(got, payload)) {
				t.Fatalf("level %d, limit %d: %d bytes, %v", level, max, len(got), err)
			}
			if max < len(payload) && !errors.Is(err, errDeflateLarge) {
				t.Fatalf("level %d, limit %d: %d bytes, %v", level, max, len(got), err)
			}
		}
	}
	bomb := deflated(t, make([]byte, 4<<20), 9)
	var f Inflater
	if _, err := f.inflate(bomb, 64<<10); !errors.Is(err, errDeflateLarge) || cap(f.buf) > 64<<10 {
		t.Errorf("a bomb of %d bytes: %v, with a buffer of %d bytes", len(bomb), err, cap(f.buf))
	}
	// What a larger limit left behind does not widen a smaller one.
	if _, err := f.inflate(deflated(t, make([]byte, 2000), 9), 1999); !errors.Is(err, errDeflateLarge) {
		t.Errorf("limit of 1999 bytes: %v", err)
	}
}

// TestInflateSizes inflates messages of many sizes and kinds with one Inflater.
func TestInflateSizes(t *testing.T) {
	var f Inflater
	for _, data := range [][]byte{sampleJSON(100000), noise(100000), make([]byte, 100000)} {
		for _, level := range []int{0, 1, 6, 9, flate.HuffmanOnly} {
			for _, n := range []int{0, 1, 2, 7, 8, 9, 100, 257, 258, 259, 4096, 32767, 32768, 32769, 65535, 65536, 100000} {
				got, err := f.inflate(deflated(t, data[:n], level), 100000)
				if err != nil || !bytes.Equal(got, data[:n]) {
					t.Fatalf("%d bytes of level %d: %d bytes, %v", n, level, len(got), err)
				}
			}
		}
	}
}

// TestInflateAllocations: an Inflater that has seen a message of that size
// inflates the next ones without allocating.
func TestInflateAllocations(t *testing.T) {
	payload := sampleJSON(4 << 10)
	in := deflated(t, payload, 6)
	var f Inflater
	if allocs := testing.AllocsPerRun(100, func() {
		if out, err := f.inflate(in, 64<<10); err != nil || len(out) != len(payload) {
			t.Fatal(len(out), err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// TestInflateGivesBack: one large message does not hold its memory for ever.
func TestInflateGivesBack(t *testing.T) {
	var f Inflater
	if _, err := f.inflate(deflated(t, make([]byte, 1<<20), 0), 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := f.inflate(deflated(t, []byte("small"), 6), 1<<20); err != nil || cap(f.buf) > keepInflated {
		t.Errorf("%v, with a buffer of %d bytes", err, cap(f.buf))
	}
}

// reference inflates with the standard library. ok is false if it finds a
// fault, or more than limit bytes.
func reference(in []byte, limit int) (out []byte, ok bool) {
	// The second half, a last block, makes the reader end without an error.
	br := bytes.NewReader(append(bytes.Clone(in), 0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff))
	r := flate.NewReader(br)
	for {
		part, err := io.ReadAll(io.LimitReader(r, int64(limit-len(out)+1)))
		out = append(out, part...)
		if err != nil || len(out) > limit {
			return nil, false
		}
		switch br.Len() {
		case 0, 5, 9: // all; the tail was a last block itself; a last block ended the payload
			return out, true
		case 1, 2, 3, 4, 6, 7, 8:
			return nil, false
		}
		r.(flate.Resetter).Reset(br, out[max(0, len(out)-32<<10):])
	}
}

// FuzzInflate compares with the standard library, on any input and on what a
// compressor makes of it.
func FuzzInflate(f *testing.F) {
	for _, level := range []int{0, 1, 6, flate.HuffmanOnly} {
		f.Add(deflated(f, sampleJSON(500), level))
	}
	f.Add(append(lastBlock([]byte("Hello")), matchBlock()...))
	f.Add([]byte{0x01})
	var tables bitWriter
	tables.longBlock()
	f.Add(tables.message())
	var compressed bytes.Buffer
	w, err := flate.NewWriter(&compressed, 6)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 4000
		var fl Inflater
		got, err := fl.inflate(in, limit)
		want, ok := reference(in, limit)
		if ok != (err == nil) && err != errDeflateWork || err == nil && !bytes.Equal(got, want) {
			t.Errorf("got %d bytes, %v; the reference %d, %v", len(got), err, len(want), ok)
		}
		compressed.Reset()
		w.Reset(&compressed)
		w.Write(in)
		w.Flush()
		if got, err := fl.inflate(bytes.TrimSuffix(compressed.Bytes(), deflateTail[:]), len(in)); err != nil || !bytes.Equal(got, in) {
			t.Errorf("%d bytes of %d, %v", len(got), len(in), err)
		}
	})
}
