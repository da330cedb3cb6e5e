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
	case o.closes && !o.answered && closeReason(r) != ReasonNone:
		reason, class = closeReason(r), poller.Last
		f.buf = f.appendClosing(f.buf[:0], o, reason, r)
	case o.answered:
		reason, class = ReasonLoginRefused, poller.Last
		f.buf = f.appendLoginRefusal(f.buf[:0], o, r)
	default:
		f.buf = f.srv.protocols.variants[o.variant].Transport.AppendRefusal(f.buf[:0], o.accept, r, date)
	}
	if rec.reason == ReasonNone {
		rec.reason = reason
	}
	if reason != ReasonLoginRefused { // a login has its status already: that of the accepted request
		f.counters.refused(r)
	}
	f.halfOpen.leave(rec)
	f.log.refused(slot, r)
	if o != nil {
		f.upgrades.give(o)
	}
	f.ps.Send(slot, poller.Bytes(f.buf), class)
	f.closer.halfClose(slot, rec)
}

// closeReason returns the close code for a refusal of a client that asked for a
// subprotocol of the server, ReasonNone if it gets the HTTP answer. Scripts of web
// pages cannot see an HTTP answer: they get 1006, which means that the client should
// come back.
func closeReason(r *ws.Refusal) Reason {
	switch {
	case r.Cause == CauseUserSessions:
		return ReasonReplaced
	case r.Status == 401:
		return ReasonUnauthorized
	case r.Status == 403:
		return ReasonForbidden
	}
	return ReasonNone
}

// appendClosing accepts a request only to close the connection with a code. There is
// never a session.
func (f *refuser) appendClosing(dst []byte, o *upgrade, reason Reason, r *ws.Refusal) []byte {
	v := &f.srv.protocols.variants[o.variant]
	f.writer.Reset(v.Transport, append(dst, o.accept...))
	v.Encoding.Bye(&f.writer, &wire.Bye{Code: reason.Code(), Reason: reason.String(), Reconnect: reason.Reconnect()})
	return v.Transport.AppendClose(f.writer.Bytes(), &wire.Close{Code: reason.Code(), Text: r.Detail, Reconnect: reason.Reconnect()})
}

// appendLoginRefusal appends the answer to a login that was refused, and a close
// frame: 1013 if the client may try again.
func (f *refuser) appendLoginRefusal(dst []byte, o *upgrade, r *ws.Refusal) []byte {
	v := &f.srv.protocols.variants[o.variant]
	code, end := "forbidden", wire.Close{Code: ReasonLoginRefused.Code(), Text: r.Detail}
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
