package ws

import (
	"strings"
	"testing"
)

func BenchmarkDecoder(b *testing.B) {
	for _, bm := range []struct {
		name   string
		in     []byte
		pieces int // bytes given at a time
	}{
		{"small", frames(fText + strings.Repeat("x", 128)), 1 << 20},
		{"64KiB/text", frames(fText + strings.Repeat("x", 64<<10)), 1 << 20},
		{"64KiB/binary", frames(fBin + strings.Repeat("x", 64<<10)), 1 << 20},
		{"64KiB/text-by-4KiB", frames(fText + strings.Repeat("x", 64<<10)), 4 << 10},
		{"16MiB/fragments-of-64", fragmented(16<<20, 64), 64 << 10},
	} {
		b.Run(bm.name, func(b *testing.B) {
			lim := Limits{MaxMessage: 16 << 20, MaxFragments: 1 << 20}
			st := &Inbound{}
			p := make([]byte, 0, min(bm.pieces, len(bm.in))+MaxTail)
			b.SetBytes(int64(len(bm.in)))
			b.ReportAllocs()
			for b.Loop() {
				messages := 0
				for in := bm.in; len(in) > 0; {
					k := min(bm.pieces, len(in))
					p = append(p, in[:k]...)
					in = in[k:]
					for {
						n, ev, err := Next(p, st, lim)
						if err != nil {
							b.Fatal(err)
						}
						p = p[:copy(p, p[n:])]
						if ev.Type == EventNone {
							break
						}
						messages++
					}
				}
				if messages != 1 {
					b.Fatal(messages)
				}
			}
		})
	}
}

// fragmented is a binary message of size bytes in frames of at most n.
func fragmented(size, n int) []byte {
	var in []byte
	for first := byte(0x02); size > 0; first = 0 {
		if size <= n {
			first |= finBit
		}
		in = append(in, clientFrame(first, make([]byte, min(n, size)), 0xdeadbeef)...)
		size -= n
	}
	return in
}
