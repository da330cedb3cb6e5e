package hostile

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
	"testing"
)

// inflated returns the content of a compressed message, and the number of its
// Huffman tables, by the decoder of the standard library.
func inflated(t *testing.T, payload []byte) (content []byte, tables int) {
	t.Helper()
	ended := append(bytes.Clone(payload), 0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF) // and a last block, empty
	content, err := io.ReadAll(flate.NewReader(bytes.NewReader(ended)))
	if err != nil {
		t.Fatalf("%d bytes: %v", len(payload), err)
	}
	block := tableBlock()
	// The blocks without content take nearly all of a message that has some.
	if rest := len(payload) - len(deflated(string(content))); rest >= len(block.out) {
		tables = rest * 8 / (len(block.out)*8 + int(block.n))
	}
	return content, tables
}

// Blocks with tables add no content, wherever in a byte they begin.
func TestWithTables(t *testing.T) {
	for _, content := range []string{"", "x", "hello, hello, hello", strings.Repeat("é", 1000)} {
		for n := range 10 {
			got, tables := inflated(t, withTables(content, n))
			if string(got) != content || tables != n {
				t.Errorf("%q with %d tables: %q with %d", content, n, got, tables)
			}
		}
	}
}
