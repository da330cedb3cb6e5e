package session

import "sync/atomic"

const (
	maxUserGroups        = 4096
	maxUserVariantCounts = 256 << 10 / 4 // 256 KiB
)

// userVariants says which variants the sessions of a user may speak. Users are
// put into groups by their hash, and the sessions of each group are counted by
// variant. So a variant may be reported that only other users of the group speak.
// The hash is keyed: clients cannot choose their group. Any goroutine.
type userVariants struct {
	variants int
	groups   uint32         // a power of two
	counts   []atomic.Int32 // sessions; those of one group are neighbors
}

func newUserVariants(variants int) userVariants {
	groups := maxUserGroups
	for groups*variants > maxUserVariantCounts {
		groups /= 2
	}
	return userVariants{variants, uint32(groups), make([]atomic.Int32, groups*variants)}
}

// of returns the count of a variant in the group of a user.
func (uv *userVariants) of(userHash uint32, variant uint8) *atomic.Int32 {
	return &uv.counts[int(userHash&(uv.groups-1))*uv.variants+int(variant)]
}
