package session

import (
	"errors"

	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// halfCloseTime is how long a connection that is shut down for writing may take
// to end, in ticks.
const halfCloseTime = 2

// end closes a session on purpose: bye, close frame, and the peer's answer is
// awaited. detail replaces the reason's own text in the close frame.
func (h *shard) end(slot uint32, r Reason, detail string) {
	h.endWith(slot, r, detail, 0)
}

// endWith is end with the delay in ticks after which the client is to come back.
func (h *shard) endWith(slot uint32, r Reason, detail string, after uint32) {
	rec := h.rec(slot)
	if rec.state != stateOpen && rec.state != stateLogin {
		return
	}
	if detail == "" {
		detail = r.Text()
	}
	h.flushAnswers(slot)
	rec.reason = r
	h.logUnopened(slot, rec)
	rec.state = stateClosing // before leave, which may wake who waits for its topics
	h.unregister(slot)
	h.dropUpgrade(rec)
	v, w := h.variantOf(rec), h.say(rec, h.buf[:0])
	v.Encoding.Bye(w, &wire.Bye{Code: r.Code(), Reason: r.String(), Reconnect: r.Reconnect(), After: seconds(after)})
	bye := len(w.Bytes())
	h.buf = v.Transport.AppendClose(w.Bytes(), &wire.Close{Code: r.Code(), Text: detail, Reconnect: r.Reconnect(), After: seconds(after)})
	h.ps.Send(slot, poller.Bytes(h.buf), poller.Last)
	if !v.answers || len(h.buf) == bye { // no close frame that could be answered
		h.halfClose(slot, rec)
		return
	}
	h.ps.SetTimer(slot, h.ps.Now()+ticks(h.opt.CloseTime))
}

// violated closes a session whose peer broke the protocol. Nothing it sends
// afterwards can be understood, so nothing is awaited.
func (h *shard) violated(slot uint32, err error) {
	rec := h.rec(slot)
	reason, detail := reasonOf(err)
	switch reason {
	case ReasonTooBig:
		h.counters.limit(limitMessage)
	case ReasonFragments:
		h.counters.limit(limitFragments)
	case ReasonNodeInbound:
		h.counters.limit(limitInbound)
	}
	h.end(slot, reason, detail)
	h.halfClose(slot, rec)
}

// reasonOf returns why a session ends after an error of Next, and the text of
// the close frame, "" for the reason's own.
func reasonOf(err error) (r Reason, detail string) {
	var pe *ws.ProtocolError
	switch {
	case errors.Is(err, ws.ErrNoMemory):
		return ReasonNodeInbound, ""
	case !errors.As(err, &pe):
		return ReasonProtocol, err.Error()
	}
	switch pe.Violation {
	case ws.InvalidUTF8:
		return ReasonUTF8, pe.Detail
	case ws.InvalidDeflate:
		return ReasonDeflate, pe.Detail
	case ws.TooBig:
		return ReasonTooBig, pe.Detail
	case ws.TooManyFragments:
		return ReasonFragments, pe.Detail
	}
	return ReasonProtocol, pe.Detail
}

// peerClosed answers a close frame (RFC 6455 §5.5.1), or takes it as the answer to
// ours.
func (h *shard) peerClosed(slot uint32, rec *record, code uint16) {
	if rec.state == stateClosing {
		h.halfClose(slot, rec)
		return
	}
	h.flushAnswers(slot)
	rec.reason = ReasonClient
	h.logUnopened(slot, rec)
	// What waits is dropped: the peer has said that it wants no more.
	h.ps.DropBacklog(slot)
	h.buf = h.variantOf(rec).Transport.AppendCloseReply(h.buf[:0], code)
	h.ps.Send(slot, poller.Bytes(h.buf), poller.Last)
	h.halfClose(slot, rec)
}

// slow ends a session that does not read what it is sent.
func (h *shard) slow(slot uint32, r poller.SendResult) {
	if h.rec(slot).state != stateOpen {
		return // it is being closed already
	}
	reason := ReasonSlow
	h.counters.slow.Add(1)
	switch r {
	case poller.NodeFull:
		reason = ReasonNodeBacklog
		h.counters.limit(limitNodeBacklog)
	case poller.FramesFull:
		h.counters.limit(limitFrames)
	default:
		h.counters.limit(limitBytes)
	}
	h.ps.DropBacklog(slot)
	h.end(slot, reason, "")
}

// halfClose shuts a connection down once all was sent, and discards what it still
// sends until it ends or its time is over.
func (h *shard) halfClose(slot uint32, rec *record) {
	rec.state = stateHalfClosed // before leave, which may wake who waits for its topics
	h.unregister(slot)
	h.dropUpgrade(rec)
	h.inbounds.drop(rec)
	h.ps.CloseWrite(slot)
	h.ps.Resume(slot)
	h.ps.SetTimer(slot, h.ps.Now()+halfCloseTime)
}

// unregister takes a session out of all tables. Doing it twice is fine.
func (h *shard) unregister(slot uint32) {
	rec := h.rec(slot)
	h.stopWaiting(rec)
	if rec.flags&flagSession == 0 {
		return
	}
	if rec.openedAt != 0 {
		h.logEnded(slot, rec, h.lost)
	}
	rec.flags &^= flagSession
	h.srv.sessions.Add(-1)
	h.srv.perVariant[rec.variant].Add(-1)
	h.dropBucket(slot, rec)
	h.leaveTopics(slot, rec)
	h.leaveUser(slot, rec)
}
