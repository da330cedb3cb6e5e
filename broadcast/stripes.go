package broadcast

import (
	"hash/maphash"
	"math/bits"
	"sync"

	"belfry/message"
)

// stripes serialize publishers of the same target: whoever holds a target's
// stripes delivers locally and commits to the bus before anybody else does
// either, so both see one order. Different targets rarely share a stripe.
type stripes struct {
	seed maphash.Seed
	mu   [64]sync.Mutex
}

func newStripes() *stripes { return &stripes{seed: maphash.MakeSeed()} }

// of returns the set of stripes of t.
func (s *stripes) of(t message.Target) (set uint64) {
	if t.Scope == message.ScopeAll {
		return 1
	}
	for _, name := range t.Names {
		set |= 1 << (maphash.String(s.seed, name) % 64)
	}
	return set
}

// lock takes a set in ascending order, which is what keeps two publishers of
// overlapping targets from waiting for each other.
func (s *stripes) lock(set uint64) {
	for ; set != 0; set &= set - 1 {
		s.mu[bits.TrailingZeros64(set)].Lock()
	}
}

func (s *stripes) unlock(set uint64) {
	for ; set != 0; set &= set - 1 {
		s.mu[bits.TrailingZeros64(set)].Unlock()
	}
}
