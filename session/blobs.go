package session

import (
	"encoding/binary"

	"belfry/offheap"
)

// blobs keep byte strings of any length outside the Go heap. One of more than
// blobPart bytes is a chain: a string of offheap.MaxStr bytes ends with the number
// of the string that follows it. Owned by the shard.
type blobs struct {
	strs  *offheap.Strs
	whole []byte // where get joins a chain
}

const (
	blobLink = 4                         // bytes of the number of the next string
	blobPart = offheap.MaxStr - 1        // most bytes of a string that is the last
	blobHead = offheap.MaxStr - blobLink // bytes of p in a string that another follows
)

// put stores a copy of p. 0 is the empty string. If there is no room nothing is kept.
func (b *blobs) put(p []byte) (offheap.Str, error) {
	heads := 0
	for len(p)-heads*blobHead > blobPart {
		heads++
	}
	at, err := b.strs.Put(p[heads*blobHead:])
	for heads--; heads >= 0 && err == nil; heads-- {
		var part [offheap.MaxStr]byte
		copy(part[:], p[heads*blobHead:][:blobHead])
		binary.LittleEndian.PutUint32(part[blobHead:], uint32(at))
		head, failed := b.strs.Put(part[:])
		if failed != nil {
			b.free(at)
			return 0, failed
		}
		at = head
	}
	return at, err
}

// get returns the bytes of a string. They are valid until the next get, and until
// the string is freed.
func (b *blobs) get(s offheap.Str) []byte {
	p := b.strs.Get(s)
	if len(p) <= blobPart {
		return p
	}
	b.whole = b.whole[:0]
	for ; len(p) > blobPart; p = b.strs.Get(following(p)) {
		b.whole = append(b.whole, p[:blobHead]...)
	}
	b.whole = append(b.whole, p...)
	return b.whole
}

// free removes a string. Freeing 0 does nothing.
func (b *blobs) free(s offheap.Str) {
	for {
		p, more := b.strs.Get(s), offheap.Str(0)
		if len(p) > blobPart {
			more = following(p)
		}
		b.strs.Free(s)
		if more == 0 {
			return
		}
		s = more
	}
}

// following returns the string that follows p in its chain.
func following(p []byte) offheap.Str { return offheap.Str(binary.LittleEndian.Uint32(p[blobHead:])) }
