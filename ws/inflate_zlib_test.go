package ws

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"
)

// zlibZeros returns what zlib 1.3.1 makes of 64 KiB of zeros with memLevel 1,
// level 1 and the strategy Z_HUFFMAN_ONLY, without the tail: 516 blocks of at most
// 127 bytes, each with tables. No zlib stream that was flushed at its end only has
// more tables for its size.
func zlibZeros(t *testing.T) []byte {
	const eightBlocks = "" +
		"04c181000000000010ffd50000000000000000000000000000000024080e040000000080f8af06000000000000000000000000000000204170200000" +
		"000000c47f3500000000000000000000000000000000098203010000000020feab0100000000000000000000000000000048101c080000000000f15f" +
		"0d0000000000000000000000000000004082e040000000000088ff6a00000000000000000000000000000000120407020000000040fc570300000000" +
		"0000000000000000000000902038100000000000e2bf1a00000000000000000000000000000080"
	const last = "" +
		"04c181000000000010ffd50000000000000000000000000000000024080e040000000080f8af06000000000000000000000000000000204170200000" +
		"000000c47f3500000000000000000000000000000000098203010000000020feab0100000000000000000000000000000028060606060000"
	return unhexed(t, strings.Repeat(eightBlocks, 64)+last)
}

// TestInflateSmallestBlocksOfZlib: the limit on tables refuses no client with the
// smallest blocks of zlib, and has a tenth to spare.
func TestInflateSmallestBlocksOfZlib(t *testing.T) {
	var f Inflater
	out, err := f.inflate(zlibZeros(t), 64<<10)
	if err != nil || !bytes.Equal(out, make([]byte, 64<<10)) {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
	most := freeTables + len(out)/bytesPerTable + len(out)/bytesPerLargeTable
	if f.tables != 516 || most < 516*11/10 || most > 516*12/10 {
		t.Errorf("%d tables; allowed are %d", f.tables, most)
	}
}

// samplesToDeflate are 64 KiB each of what compresses well and badly, with many
// symbols and few.
func samplesToDeflate() map[string][]byte {
	const size = 64 << 10
	r := rand.New(rand.NewPCG(5, 6))
	samples := map[string][]byte{"zeros": make([]byte, size), "noise": noise(size), "json": sampleJSON(size)}
	for name, alphabet := range map[string]string{"digits": "0123456789", "hex": "0123456789abcdef", "bits": "01", "skewed": "aaaaaaaaaaaaaaab", "words": "etaoin shrdlu"} {
		b := make([]byte, size)
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		samples[name] = b
	}
	var structs, turns []byte
	for i := uint32(0); len(structs) < size; i++ {
		structs = binary.LittleEndian.AppendUint32(structs, i)
		structs = binary.LittleEndian.AppendUint32(structs, r.Uint32N(1000))
	}
	for at := 0; len(turns) < size; at += 512 { // the best codes change all the time
		for _, kind := range []string{"zeros", "noise", "digits", "json", "skewed"} {
			turns = append(turns, samples[kind][at:at+512]...)
		}
	}
	samples["structs"], samples["turns"] = structs, turns[:size]
	return samples
}

// TestInflateKlauspost inflates what klauspost/compress makes with each level, for
// many kinds of data.
func TestInflateKlauspost(t *testing.T) {
	for name, sample := range samplesToDeflate() {
		for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
			if level == flate.NoCompression {
				continue
			}
			for _, size := range []int{1000, 64 << 10} {
				t.Run(fmt.Sprintf("%s/%d/%d", name, level, size), func(t *testing.T) {
					var b bytes.Buffer
					w, err := flate.NewWriter(&b, level)
					if err != nil {
						t.Fatal(err)
					}
					w.Write(sample[:size])
					w.Flush()
					var f Inflater
					out, err := f.inflate(bytes.TrimSuffix(b.Bytes(), deflateTail[:]), 64<<10)
					if err != nil || !bytes.Equal(out, sample[:size]) {
						t.Errorf("%d bytes, %v after %d tables", len(out), err, f.tables)
					}
				})
			}
		}
	}
}
