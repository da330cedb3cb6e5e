package session

import "belfry/ws"

// unfinished is called when all that was received of a session is decoded but
// rest bytes, which are the begin of a frame.
func (h *shard) unfinished(slot uint32, rec *record, rest int) {
	in := h.inbounds.of(rec)
	if !in.Active() {
		h.inbounds.drop(rec)
		in = nil
	}
	if h.opt.MessageTime <= 0 || in == nil && rest == 0 {
		return
	}
	if in == nil {
		in = h.inbounds.open(slot, rec)
	}
	if in != nil {
		h.inbounds.startClock(in, h.ps.Now())
	}
}

// OnReclaim implements poller.Reclaimer.
func (h *shard) OnReclaim(slot uint32) {
	rec := h.rec(slot)
	h.inbounds.drop(rec)
	if rec.flags&flagReclaimed == 0 {
		rec.flags |= flagReclaimed
		h.reclaimed = append(h.reclaimed, h.ps.ID(slot))
	}
}

// endInbound ends sessions that gave up what they held and those whose message
// is overdue, for the time of a chunk, and says whether there are more.
func (h *shard) endInbound() (more bool) {
	n := 0
	for ; n < len(h.reclaimed) && !(n%8 == 7 && h.ps.Expired()); n++ {
		if slot, ok := h.ps.Lookup(h.reclaimed[n]); ok {
			h.endReclaimed(slot)
		}
	}
	if h.reclaimed = h.reclaimed[n:]; len(h.reclaimed) > 0 {
		return true
	}
	h.reclaimed = nil
	if h.opt.MessageTime <= 0 {
		return false
	}
	for n := 1; ; n++ {
		in := h.inbounds.overdue(h.ps.Now(), ticks(h.opt.MessageTime))
		if in == nil {
			return false
		}
		h.inbounds.stopClock(in)
		if h.rec(in.slot).state == stateOpen {
			h.counters.limit(limitMessageTime)
			h.endNow(in.slot, ReasonMessageTime)
		}
		if n%8 == 0 && h.ps.Expired() {
			return true
		}
	}
}

func (h *shard) endReclaimed(slot uint32) {
	rec := h.rec(slot)
	switch rec.state {
	case stateHead, stateAuth, stateJoin:
		h.counters.limit(limitInbound)
		rec.reason = ReasonNodeInbound
		h.refuse(slot, ws.Unavailable("this server has no room for more unread input (session.inbound_bytes)", h.opt.RetryAfter).WithCause(CauseInbound))
	case stateOpen, stateLogin:
		h.counters.limit(limitInbound)
		h.endNow(slot, ReasonNodeInbound)
	default:
		h.ps.Close(slot)
	}
}

// endNow ends a session in the middle of a message: what it sends on cannot be
// understood, so no answer is awaited.
func (h *shard) endNow(slot uint32, r Reason) {
	h.end(slot, r, "")
	h.halfClose(slot, h.rec(slot))
}
