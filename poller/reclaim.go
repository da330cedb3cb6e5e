package poller

// Reclaimer is a Handler that charges connections for what it holds of their
// input.
type Reclaimer interface {
	// OnReclaim says that the node's bound (Options.InboundBytes) is reached
	// and that no connection of the shard holds more than this one. The handler
	// forgets at once what it has charged to it and, later, ends it: another
	// connection may be at work, so that nothing may be sent or closed now.
	OnReclaim(slot uint32)
}

// inboundReserve is the part of the bound that the shard of the greediest
// connection leaves to the others: 1 in so many. Without it a shard whose
// connections all hold little would have to end one of them for what other
// shards hold.
const inboundReserve = 16

// reserve counts n more bytes. Where there is no room for them, the greediest
// connections of the shard give up what they hold. It returns false if a, which
// would hold size bytes then, is the greediest itself.
func (s *Shard) reserve(a *account, size, n int) bool {
	for n > 0 {
		total := s.loop.inbound.Load()
		if want := total + int64(n); want > s.opt.InboundBytes || want > s.inboundShare() && s.holdsMost(size) {
			if !s.reclaim(a, size) {
				return false
			}
		} else if s.loop.inbound.CompareAndSwap(total, want) {
			return true
		}
	}
	return true
}

// inboundShare is what the shard of the greediest connection may fill.
func (s *Shard) inboundShare() int64 {
	if len(s.loop.shards) == 1 {
		return s.opt.InboundBytes
	}
	return s.opt.InboundBytes - s.opt.InboundBytes/inboundReserve
}

// holdsMost says whether no other shard has a connection that holds more, by class,
// than the greediest of this one; of those here one wants to hold size bytes.
func (s *Shard) holdsMost(size int) bool {
	top := max(s.accounts.top.Load(), int32(sizeClass(size)+1))
	for _, other := range s.loop.shards {
		if other.accounts.top.Load() > top {
			return false
		}
	}
	return true
}

// reclaim takes all that it holds from the greediest connection that is not a's.
func (s *Shard) reclaim(a *account, size int) bool {
	victim := s.accounts.largest(a, size)
	if victim == nil {
		return false
	}
	s.reclaimFrom(victim.id.Slot())
	return true
}

func (s *Shard) reclaimFrom(slot uint32) {
	s.Counters.Reclaimed.Add(1)
	if h, ok := s.handler.(Reclaimer); ok {
		s.protect(s.ID(slot), func() { h.OnReclaim(slot) })
	} else {
		s.closeLater(slot, ReasonHandler, errInbound)
	}
	s.closeAccount(s.at(slot)) // with the tail, and whatever the handler forgot
}
