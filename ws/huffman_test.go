package ws

import (
	"slices"
	"testing"
)

func TestHuffmanBuild(t *testing.T) {
	for _, tc := range []struct {
		lengths []uint8
		want    bool
	}{
		{[]uint8{1, 1}, true},
		{[]uint8{0, 2, 1, 0, 2}, true},
		{[]uint8{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15}, true},
		{slices.Repeat([]uint8{8}, 256), true},
		{[]uint8{0, 0}, true}, // no code: used, it is an error
		{[]uint8{0, 1}, true}, // one symbol
		{[]uint8{0, 2}, false},
		{[]uint8{1, 2}, false},
		{[]uint8{2, 2, 2}, false},
		{[]uint8{1, 1, 1}, false},
		{[]uint8{1, 1, 15}, false},
		{slices.Repeat([]uint8{8}, 255), false},
		{slices.Repeat([]uint8{8}, 257), false},
	} {
		var h huffman
		if got := h.build(tc.lengths); got != tc.want {
			t.Errorf("%d: %v", tc.lengths, got)
		}
	}
}

// TestHuffmanBuildsAnew: a table does not keep codes of the one before it.
func TestHuffmanBuildsAnew(t *testing.T) {
	lists := [][]uint8{
		slices.Repeat([]uint8{8}, 256), {1, 1}, {1}, {0},
		{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15}, {0, 0, 3, 2, 3, 1},
	}
	var used huffman
	for _, first := range lists {
		for _, second := range lists {
			used.build(first)
			used.build(second)
			var fresh huffman
			fresh.build(second)
			if used.lookup != fresh.lookup || used.count != fresh.count {
				t.Errorf("%d after %d differs from a new one", second, first)
			}
		}
	}
}
