package session

import (
	"time"

	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// refuse answers a request that does not become a session. Whatever step the
// upgrade is in, it is over.
func (h *shard) refuse(slot uint32, r *ws.Refusal) {
	rec := h.rec(slot)
	var o *upgrade
	if (rec.state == stateAuth || rec.state == stateJoin) && rec.side != 0 {
		o = h.takeUpgrade(rec)
	}
	h.refuseUpgrade(slot, o, r)
}

// refuseUpgrade is refuse for an upgrade that the caller holds, nil if its
// transport is not known or its origin is not allowed. It gives o back.
func (h *shard) refuseUpgrade(slot uint32, o *upgrade, r *ws.Refusal) {
	rec := h.rec(slot)
	reason, class := ReasonHandshake, poller.Data
	switch date := h.date.At(time.Now()); {
	case o == nil:
		h.buf = ws.AppendRefusal(h.buf[:0], r, date)
	case o.answered:
		reason, class = ReasonLogin, poller.Last
		h.buf = h.appendLoginRefusal(h.buf[:0], o, r)
	default:
		h.buf = h.srv.protocols.variants[o.variant].Transport.AppendRefusal(h.buf[:0], o.accept, r, date)
	}
	if rec.reason == ReasonNone {
		rec.reason = reason
	}
	if reason != ReasonLogin { // a login has its status already: that of the accepted request
		h.counters.refused(r)
	}
	h.dropHalfOpen(rec)
	h.logRefused(slot, r)
	if o != nil {
		h.srv.putUpgrade(o)
	}
	h.ps.Send(slot, poller.Bytes(h.buf), class)
	h.halfClose(slot, rec)
}

// appendLoginRefusal appends the answer to a login that was refused, and the
// end of the connection. A client that may try again is told 1013.
func (h *shard) appendLoginRefusal(dst []byte, o *upgrade, r *ws.Refusal) []byte {
	v := &h.srv.protocols.variants[o.variant]
	code, end := "forbidden", wire.Close{Code: ReasonLogin.Code(), Text: r.Detail}
	if mayRetry(r) {
		code, end = "unavailable", wire.Close{Code: ws.CloseTryAgainLater, Text: r.Detail, Reconnect: true, After: r.RetryAfter}
	}
	h.counters.commandError(code)
	h.writer.Reset(v.Transport, dst)
	v.Encoding.Reply(&h.writer, &wire.Reply{Ref: o.ref, Err: &wire.CommandError{Code: code, Text: r.Detail, Ref: o.ref}})
	return v.Transport.AppendClose(h.writer.Bytes(), &end)
}

// mayRetry says whether the same login may be granted later. A user's newest
// sessions keep their place: one that gave way must not take it back.
func mayRetry(r *ws.Refusal) bool {
	switch {
	case r.Cause == CauseUserSessions:
		return false
	case r.Status == 408, r.Status == 429: // 408: the authenticator took too long
		return true
	}
	return r.Status >= 500
}

// takeUpgrade takes the upgrade that waits in rec.
func (h *shard) takeUpgrade(rec *record) *upgrade {
	o := h.upgrades.Get(rec.side)
	h.upgrades.Drop(rec.side)
	rec.side = 0
	return o
}

func (h *shard) dropUpgrade(rec *record) {
	if rec.side != 0 && rec.flags&flagMetered == 0 {
		h.srv.putUpgrade(h.takeUpgrade(rec))
	}
}
