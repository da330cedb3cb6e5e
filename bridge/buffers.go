package bridge

import "sync"

// Sizes of the buffers that a connection holds only while it has bytes in them.
const (
	smallBuffer = 4 << 10
	// largeBuffer is for a pair that has filled a small one: longer records cost
	// less. It is the most plaintext of a record (RFC 8446 §5.1).
	largeBuffer = 16 << 10
)

// pools are the spare buffers of each size.
var pools = [...]struct {
	size int
	sync.Pool
}{{size: smallBuffer}, {size: largeBuffer}}

// takeBuffer returns a buffer of a size.
func takeBuffer(size int) *[]byte {
	for i := range pools {
		if p := &pools[i]; p.size == size {
			if b, ok := p.Get().(*[]byte); ok {
				return b
			}
		}
	}
	b := make([]byte, size)
	return &b
}

// giveBuffer gives a buffer back; nil is none.
func giveBuffer(b *[]byte) {
	if b == nil {
		return
	}
	for i := range pools {
		if p := &pools[i]; p.size == len(*b) {
			p.Put(b)
		}
	}
}
