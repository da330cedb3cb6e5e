package broadcast

import "hash/maphash"

// recentIDs is how many ids recent remembers at least; the copies of one
// message follow each other closely, so it need not be many.
const recentIDs = 4096

// recent remembers the messages that come once for each of several topics.
// Owned by the receiver's goroutine. It keeps 64-bit hashes in two
// generations: when the younger is full the older is forgotten.
type recent struct {
	seed     maphash.Seed
	cur, old map[uint64]struct{}
}

func newRecent() *recent {
	return &recent{seed: maphash.MakeSeed(), cur: make(map[uint64]struct{})}
}

// first says whether this node and id come for the first time.
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
