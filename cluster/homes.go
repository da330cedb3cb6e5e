package cluster

// Buckets is the number of user buckets: broadcast.UserBucket has the bucket of a
// user.
const Buckets = 4096

// Homes says which nodes are the homes of the user buckets. It never changes.
type Homes struct {
	ids    []uint32        // of the nodes that can be homes
	first  [Buckets]uint16 // index in ids of the home
	second [Buckets]uint16 // index in ids of the node that is the home when the home is gone; that of the home if there is one node only
}

// NewHomes computes the homes of all buckets among nodes, at most 65,535, in any
// order. Equal nodes give equal homes. When a node comes or goes, only buckets move
// whose home or second home it is: a share of 1/len(nodes) each.
//
// This is rendezvous hashing (Thaler, Ravishankar 1998): each node has a weight for
// each bucket, and the heaviest two are the homes. It costs Buckets × nodes hashes,
// about two milliseconds for 100 nodes.
func NewHomes(nodes []uint32) *Homes {
	h := &Homes{ids: nodes}
	if len(nodes) == 0 {
		return h
	}
	for b := range uint64(Buckets) {
		var first, second uint16
		var most, next uint64
		for i, id := range nodes {
			w := mix(uint64(id)<<16 | b)
			switch {
			case i == 0:
				most = w
			case w > most || w == most && id < nodes[first]:
				second, next = first, most
				first, most = uint16(i), w
			case second == first || w > next || w == next && id < nodes[second]:
				second, next = uint16(i), w
			}
		}
		h.first[b], h.second[b] = first, second
	}
	return h
}

// Home returns the home of a bucket. ok is false if there is no node.
func (h *Homes) Home(bucket uint16) (node uint32, ok bool) {
	if len(h.ids) == 0 {
		return 0, false
	}
	return h.ids[h.first[bucket]], true
}

// Keeper returns the node to which holder announces its sessions of a bucket: the
// home or, if that is the holder itself, the second home. ok is false if there is no
// other node.
func (h *Homes) Keeper(bucket uint16, holder uint32) (node uint32, ok bool) {
	if len(h.ids) == 0 {
		return 0, false
	}
	if id := h.ids[h.first[bucket]]; id != holder {
		return id, true
	}
	id := h.ids[h.second[bucket]]
	return id, id != holder
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood 2014): each bit of the
// result depends on all bits of x.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
