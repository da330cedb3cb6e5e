package ws

import "encoding/binary"

// mask applies the masking key of a client's frame to p, in place (RFC 6455
// §5.3). pos is how many bytes of the payload came before p.
func mask(p []byte, key [4]byte, pos int) {
	var word [8]byte
	for i := range word {
		word[i] = key[(pos+i)&3]
	}
	k := binary.LittleEndian.Uint64(word[:])
	for len(p) >= 32 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^k)
		binary.LittleEndian.PutUint64(p[8:], binary.LittleEndian.Uint64(p[8:])^k)
		binary.LittleEndian.PutUint64(p[16:], binary.LittleEndian.Uint64(p[16:])^k)
		binary.LittleEndian.PutUint64(p[24:], binary.LittleEndian.Uint64(p[24:])^k)
		p = p[32:]
	}
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^k)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= word[i]
	}
}
