package ws

import (
	"encoding/binary"
	"math/bits"
)

// maskBlock is the length of the blocks that maskBlocks works on, in bytes.
const maskBlock = 64

// mask applies the masking key of a client's frame to p, in place (RFC 6455
// §5.3). pos is the position of p in the payload modulo 4.
func mask(p []byte, key [4]byte, pos int) {
	word := bits.RotateLeft32(binary.LittleEndian.Uint32(key[:]), -8*pos)
	k := uint64(word)<<32 | uint64(word)
	if n := len(p) &^ (maskBlock - 1); n > 0 {
		maskBlocks(p[:n], k)
		p = p[n:]
	}
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^k)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(k)
		k >>= 8
	}
}

// maskBlocksGo is maskBlocks for machines without a version in assembly.
func maskBlocksGo(p []byte, k uint64) {
	for len(p) >= maskBlock {
		b := (*[maskBlock]byte)(p)
		for i := 0; i < maskBlock; i += 16 {
			binary.LittleEndian.PutUint64(b[i:], binary.LittleEndian.Uint64(b[i:])^k)
			binary.LittleEndian.PutUint64(b[i+8:], binary.LittleEndian.Uint64(b[i+8:])^k)
		}
		p = p[maskBlock:]
	}
}
