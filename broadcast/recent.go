package broadcast

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
)

// recentIDs is the number of ids that recent remembers at least. It need not be
// large, because the copies of a message follow each other closely.
const recentIDs = 4096

// recent recognizes copies of a message to several topics, which comes once on
// each subject. It keeps 64-bit hashes of node and id in two sets: when cur is
// full, it becomes old, and the previous old is dropped. The hashes have a secret key,
// so that nobody can choose ids that collide, and mean the same in the process that
// takes over. Owned by the receiver's goroutine.
type recent struct {
	key      [16]byte
	cur, old map[uint64]struct{}
}

func newRecent() *recent {
	r := &recent{cur: make(map[uint64]struct{})}
	rand.Read(r.key[:]) // never fails
	return r
}

func (r *recent) hash(node uint32, id string) uint64 {
	var b [16 + 4 + 128]byte // the longest id has 128 bytes
	p := append(b[:0], r.key[:]...)
	p = binary.BigEndian.AppendUint32(p, node)
	sum := sha256.Sum256(append(p, id...))
	return binary.BigEndian.Uint64(sum[:])
}

// first reports whether this node and id come for the first time, and remembers
// them.
func (r *recent) first(node uint32, id string) bool {
	k := r.hash(node, id)
	if _, ok := r.cur[k]; ok {
		return false
	}
	if _, ok := r.old[k]; ok {
		return false
	}
	if len(r.cur) >= recentIDs {
		r.old, r.cur = r.cur, make(map[uint64]struct{}, recentIDs)
	}
	r.cur[k] = struct{}{}
	return true
}
