package broadcast

import (
	"hash/maphash"
	"math/bits"
	"sync"

	"belfry/message"
)

// stripes serialize publishers of the same target. The holder of a target's
// stripes delivers locally and commits to the bus before another publisher does
// either, so both see the same order. Different targets rarely share a stripe.
type stripes struct {
	seed maphash.Seed
	mu   [64]sync.Mutex
}

func newStripes() *stripes { return &stripes{seed: maphash.MakeSeed()} }

// of returns the set of stripes of t, one bit for each stripe.
func (s *stripes) of(t message.Target) (set uint64) {
	if t.Scope == message.ScopeAll {
		return 1
	}
	for _, name := range t.Names {
		set |= 1 << (maphash.String(s.seed, name) % 64)
	}
	return set
}

// lock locks a set of stripes in ascending order, so that two publishers with
// overlapping sets cannot deadlock.
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
