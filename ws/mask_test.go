package ws

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"testing"
)

// TestMask masks payloads of many lengths, at each position of the key and
// each alignment in memory, and compares them with RFC 6455 §5.3 byte by byte.
// The bytes around the payload must stay as they are.
func TestMask(t *testing.T) {
	key := [4]byte{0x12, 0x34, 0x56, 0x78}
	const around = 16
	for n := range 4*maskBlock + 9 {
		for pos := range 4 {
			start := around + n%8
			buf := make([]byte, start+n+around)
			for i := range buf {
				buf[i] = byte(3*i + n)
			}
			want := bytes.Clone(buf)
			for i := range n {
				want[start+i] ^= key[(pos+i)%4]
			}
			mask(buf[start:start+n:start+n], key, pos)
			if !bytes.Equal(buf, want) {
				t.Fatalf("%d bytes at position %d:\n% x\nwant\n% x", n, pos, buf, want)
			}
		}
	}
}

// TestMaskBlocksGo compares the two versions of maskBlocks.
func TestMaskBlocksGo(t *testing.T) {
	const k = 0x0807060504030201
	for n := maskBlock; n <= 5*maskBlock; n += maskBlock {
		got, want := make([]byte, n), make([]byte, n)
		for i := range got {
			got[i], want[i] = byte(i), byte(i)
		}
		maskBlocksGo(got, k)
		maskBlocks(want, k)
		if !bytes.Equal(got, want) || binary.LittleEndian.Uint64(got) != 0x0706050403020100^k {
			t.Fatalf("%d bytes:\n% x\nwant\n% x", n, got, want)
		}
	}
}

func BenchmarkMask(b *testing.B) {
	for _, n := range []int{20, 128, 4 << 10, 64 << 10} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			p := make([]byte, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				mask(p, [4]byte{1, 2, 3, 4}, 3)
			}
		})
	}
}
