package session

import "belfry/ws"

// unfinished is called when the decoder needs more bytes of a session: all that was
// received is decoded, but for rest bytes at the end, the start of a frame. If a
// message is in progress or a frame has begun, its clock starts.
func (r *receiver) unfinished(slot uint32, rec *record, rest int) {
	in := r.assembly.of(slot, rec)
	if !in.Active() {
		r.assembly.drop(slot, rec)
		in = nil
	}
	if r.opt.MessageTime <= 0 || in == nil && rest == 0 {
		return
	}
	if in == nil {
		in = r.assembly.open(slot, rec)
	}
	if in != nil {
		r.assembly.startClock(in, r.ps.Now())
	}
}

// reclaim discards the unfinished message of the connection that holds most of the
// node's input. endInbound ends the connection later.
func (r *receiver) reclaim(slot uint32) {
	rec := r.rec(slot)
	r.assembly.drop(slot, rec)
	if rec.flags&flagReclaimed == 0 {
		rec.flags |= flagReclaimed
		r.reclaimed = append(r.reclaimed, r.ps.ID(slot))
	}
}

// endInbound ends connections whose input was reclaimed and sessions whose message
// is overdue, for the time of a chunk, and says whether there are more.
func (r *receiver) endInbound() (more bool) {
	n := 0
	for ; n < len(r.reclaimed) && !(n%8 == 7 && r.ps.Expired()); n++ {
		if slot, ok := r.ps.Lookup(r.reclaimed[n]); ok {
			r.endReclaimed(slot)
		}
	}
	if r.reclaimed = r.reclaimed[n:]; len(r.reclaimed) > 0 {
		return true
	}
	r.reclaimed = nil
	if r.opt.MessageTime <= 0 {
		return false
	}
	for n := 1; ; n++ {
		in := r.assembly.overdue(r.ps.Now(), ticks(r.opt.MessageTime))
		if in == nil {
			return false
		}
		r.assembly.stopClock(in)
		if r.rec(in.slot).state == stateOpen {
			r.counters.limit(limitMessageTime)
			r.closer.endNow(in.slot, ReasonMessageTime)
		}
		if n%8 == 0 && r.ps.Expired() {
			return true
		}
	}
}

func (r *receiver) endReclaimed(slot uint32) {
	rec := r.rec(slot)
	switch rec.state {
	case stateHead, stateAuth, stateJoin:
		r.counters.limit(limitInbound)
		rec.reason = ReasonNodeInbound
		r.refuser.refuse(slot, ws.Unavailable("this server has no room for more unread input (session.inbound_bytes)", r.opt.RetryAfter).WithCause(CauseInbound))
	case stateOpen, stateLogin:
		r.counters.limit(limitInbound)
		r.closer.endNow(slot, ReasonNodeInbound)
	default:
		r.ps.Close(slot)
	}
}
