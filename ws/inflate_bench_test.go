package ws

import "testing"

func BenchmarkInflate4KiB(b *testing.B) {
	payload := sampleJSON(4 << 10)
	in := deflated(b, payload, 6)
	var f Inflater
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		if out, err := f.inflate(in, 64<<10); err != nil || len(out) != len(payload) {
			b.Fatal(len(out), err)
		}
	}
}

// BenchmarkInflateTables takes the message that costs the most time for its
// size: as many tables of long codes as its content allows.
func BenchmarkInflateTables(b *testing.B) {
	var w bitWriter
	for range freeTables {
		w.longBlock()
	}
	in := w.message()
	b.SetBytes(int64(len(in)))
	var f Inflater
	for b.Loop() {
		if _, err := f.inflate(in, 64<<10); err != nil {
			b.Fatal(err)
		}
	}
}
