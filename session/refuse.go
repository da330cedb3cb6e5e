package session

import (
	"time"

	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// refuser answers requests that do not become sessions. Owned by the shard.
type refuser struct {
	env
	upgrades *upgrades
	halfOpen *halfOpen
	log      *connLog
	closer   *closer
	date     ws.Date
}

// refuse answers a request with a refusal, whatever step its upgrade is in. The
// upgrade is over then.
func (f *refuser) refuse(slot uint32, r *ws.Refusal) {
	rec := f.rec(slot)
	var o *upgrade
	if (rec.state == stateAuth || rec.state == stateJoin) && rec.side != 0 {
		o = f.upgrades.take(rec)
	}
	f.refuseUpgrade(slot, o, r)
}

// refuseUpgrade is refuse for an upgrade that the caller holds. o is nil if the
// transport is not known or the origin is not allowed. refuseUpgrade gives o back.
func (f *refuser) refuseUpgrade(slot uint32, o *upgrade, r *ws.Refusal) {
	rec := f.rec(slot)
	reason, class := ReasonHandshake, poller.Data
	switch date := f.date.At(time.Now()); {
	case o == nil:
		f.buf = ws.AppendRefusal(f.buf[:0], r, date)
	case o.answered:
		reason, class = ReasonLogin, poller.Last
		f.buf = f.appendLoginRefusal(f.buf[:0], o, r)
	default:
		f.buf = f.srv.protocols.variants[o.variant].Transport.AppendRefusal(f.buf[:0], o.accept, r, date)
	}
	if rec.reason == ReasonNone {
		rec.reason = reason
	}
	if reason != ReasonLogin { // a login has its status already: that of the accepted request
		f.counters.refused(r)
	}
	f.halfOpen.leave(rec)
	f.log.refused(slot, r)
	if o != nil {
		f.srv.putUpgrade(o)
	}
	f.ps.Send(slot, poller.Bytes(f.buf), class)
	f.closer.halfClose(slot, rec)
}

// appendLoginRefusal appends the answer to a login that was refused, and a close
// frame: 1013 if the client may try again.
func (f *refuser) appendLoginRefusal(dst []byte, o *upgrade, r *ws.Refusal) []byte {
	v := &f.srv.protocols.variants[o.variant]
	code, end := "forbidden", wire.Close{Code: ReasonLogin.Code(), Text: r.Detail}
	if mayRetry(r) {
		code, end = "unavailable", wire.Close{Code: ws.CloseTryAgainLater, Text: r.Detail, Reconnect: true, After: r.RetryAfter}
	}
	f.counters.commandError(code)
	f.writer.Reset(v.Transport, dst)
	v.Encoding.Reply(&f.writer, &wire.Reply{Ref: o.ref, Err: &wire.CommandError{Code: code, Text: r.Detail, Ref: o.ref}})
	return v.Transport.AppendClose(f.writer.Bytes(), &end)
}

// mayRetry says whether the same login may be granted later. A user's newest
// sessions keep their place: a client that was evicted must not take it back.
func mayRetry(r *ws.Refusal) bool {
	switch {
	case r.Cause == CauseUserSessions:
		return false
	case r.Status == 408, r.Status == 429: // 408: the authenticator took too long
		return true
	}
	return r.Status >= 500
}

// refuseAndClose refuses a connection and closes it at once. To wait for the
// client to close would keep the place that the refusal has to free.
func (f *refuser) refuseAndClose(slot uint32, r *ws.Refusal) {
	f.refuse(slot, r)
	f.ps.Close(slot)
}

func (f *refuser) fullOfConnections() *ws.Refusal {
	f.counters.limit(limitSessions)
	return ws.Unavailable("this server has reached its limit of connections (max_connections)", f.opt.RetryAfter).WithCause(CauseSessions)
}
