package broadcast

import "hash/maphash"

// recentIDs is the number of ids that recent remembers at least. It need not be
// large, because the copies of a message follow each other closely.
const recentIDs = 4096

// recent recognizes copies of a message to several topics, which comes once on
// each subject. It keeps 64-bit hashes of node and id in two sets: when cur is
// full, it becomes old, and the previous old is dropped. Owned by the receiver's
// goroutine.
type recent struct {
	seed     maphash.Seed
	cur, old map[uint64]struct{}
}

func newRecent() *recent {
	return &recent{seed: maphash.MakeSeed(), cur: make(map[uint64]struct{})}
}

// first reports whether this node and id come for the first time, and remembers
// them.
func (r *recent) first(node uint32, id string) bool {
	var h maphash.Hash
	h.SetSeed(r.seed)
	h.WriteByte(byte(node))
	h.WriteByte(byte(node >> 8))
	h.WriteByte(byte(node >> 16))
	h.WriteByte(byte(node >> 24))
	h.WriteString(id)
	k := h.Sum64()
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
