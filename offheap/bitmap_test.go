package offheap

import "testing"

// The levels of the bitmap meet at multiples of 64^n. Slots beside such a boundary
// must be found from both sides.
func TestBitmapSeams(t *testing.T) {
	seams := []uint32{0, 1, 63, 64, 65, 4095, 4096, 4097, 262143, 262144, 262145, 16777215, 16777216, noSlot - 1}
	var b bitmap
	b.init(MaxRecords)
	for _, s := range seams[:len(seams)-1] {
		b.set(s)
	}
	seams = seams[:len(seams)-1]
	from := uint32(0)
	for _, want := range seams {
		got, ok := b.next(from)
		if !ok || got != want {
			t.Fatalf("next(%d) = %d, %v; want %d", from, got, ok, want)
		}
		from = got + 1
	}
	if got, ok := b.next(from); ok {
		t.Fatalf("next(%d) = %d past the end", from, got)
	}
	for len(seams) > 0 {
		top := seams[len(seams)-1]
		if got, ok := b.highest(); !ok || got != top {
			t.Fatalf("highest = %d, %v; want %d", got, ok, top)
		}
		b.clear(top)
		seams = seams[:len(seams)-1]
	}
	if _, ok := b.highest(); ok {
		t.Fatal("highest of nothing")
	}
}

// Filling a large bitmap and freeing single slots uses the full bits of every
// summary level.
func TestBitmapLowestFreeAcrossLevels(t *testing.T) {
	const n = 64*64*64 + 100
	var b bitmap
	b.init(1 << 24)
	for i := range uint32(n) {
		if got := b.lowestFree(); got != i {
			t.Fatalf("lowestFree = %d, want %d", got, i)
		}
		b.set(i)
	}
	for _, hole := range []uint32{n - 1, 262144, 262143, 4096, 4095, 64, 63, 0} {
		b.clear(hole)
		if got := b.lowestFree(); got != hole {
			t.Fatalf("lowestFree = %d after freeing %d", got, hole)
		}
	}
}

func TestBitmapFullTop(t *testing.T) {
	var b bitmap
	b.init(4096) // exactly two levels
	for i := range uint32(4096) {
		b.set(i)
	}
	if got := b.lowestFree(); got != noSlot {
		t.Fatalf("lowestFree of a full bitmap = %d", got)
	}
}

// With pages of 64 KiB, a block can have more words than a word of the summary
// covers.
func TestBitmapEmptyOverSummaryWords(t *testing.T) {
	var b bitmap
	b.init(1 << 20)
	for _, slot := range []uint32{128 * 64, 191 * 64, 192*64 + 5, 255*64 + 63} {
		b.set(slot)
		if b.empty(128, 128) {
			t.Errorf("empty with slot %d live", slot)
		}
		if !b.empty(0, 128) || !b.empty(256, 128) {
			t.Errorf("slot %d counts for its neighbours", slot)
		}
		b.clear(slot)
		if !b.empty(128, 128) {
			t.Errorf("not empty after slot %d", slot)
		}
	}
}
