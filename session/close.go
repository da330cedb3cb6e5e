package session

import (
	"errors"

	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// halfCloseTime is how many ticks a connection that is shut down for writing may
// take to end.
const halfCloseTime = 2

// maxHalfClosed is how many ticks it may take in all if the client goes on
// reading what waits for it.
const maxHalfClosed = 30

// closer ends sessions: the closing handshake, and the way out of all tables.
// Owned by the shard.
type closer struct {
	env
	log       *connLog
	answers   *answers
	upgrades  *upgrades
	assembly  *assembly
	buckets   *buckets
	topics    *topics
	users     *users
	grants    *grants
	decisions *decisions
	renewals  *renewals
	events    *eventing
	changes   *changeFeed
	watch     *watch
}

// end closes a session: it sends bye and a close frame, and waits for the peer's
// answer. If detail is not empty it replaces the reason's own text in the close
// frame. A connection that is neither open nor logging in is left alone.
func (c *closer) end(slot uint32, r Reason, detail string) {
	c.endWith(slot, r, detail, 0)
}

// endWith is end with the delay in ticks after which the client should reconnect.
func (c *closer) endWith(slot uint32, r Reason, detail string, after uint32) {
	c.endAs(slot, r, wire.Close{Code: r.Code(), Text: detail, Reconnect: r.Reconnect(), After: seconds(after)})
}

// endAs is end with what the client is told. "" is the reason's own text.
func (c *closer) endAs(slot uint32, r Reason, last wire.Close) {
	rec := c.rec(slot)
	if rec.state != stateOpen && rec.state != stateLogin {
		return
	}
	if last.Text == "" {
		last.Text = r.Text()
	}
	c.answers.flush(slot)
	rec.reason = r
	c.log.unopened(slot, rec)
	rec.state = stateClosing // before unregister, which may wake waiters for its topics
	rec.pingedAt = 0         // from now on it counts bytes, see receiver.read
	c.unregister(slot, nil)
	c.upgrades.drop(rec)
	v, w := c.variantOf(rec), c.say(rec, c.buf[:0])
	v.Encoding.Bye(w, &wire.Bye{Code: last.Code, Reason: r.String(), Reconnect: last.Reconnect, After: last.After})
	bye := len(w.Bytes())
	c.buf = v.Transport.AppendClose(w.Bytes(), &last)
	c.ps.Send(slot, poller.Bytes(c.buf), poller.Last)
	if !v.answers || len(c.buf) == bye { // no close frame that could be answered
		c.halfClose(slot, rec)
		return
	}
	c.ps.SetTimer(slot, c.ps.Now()+ticks(c.opt.CloseTime))
}

// violated closes a session whose peer broke the protocol. What the peer sends
// afterwards cannot be decoded, so no answer is awaited.
func (c *closer) violated(slot uint32, err error) {
	rec := c.rec(slot)
	reason, detail := reasonOf(err)
	switch reason {
	case ReasonTooBig:
		c.counters.limit(limitMessage)
	case ReasonFragments:
		c.counters.limit(limitFragments)
	case ReasonNodeInbound:
		c.counters.limit(limitInbound)
	}
	c.end(slot, reason, detail)
	c.halfClose(slot, rec)
}

// reasonOf returns why a session ends after an error of wire.Decoder.Next, and the
// text of the close frame; "" means the reason's own.
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

// peerClosed answers a close frame (RFC 6455 §5.5.1), unless it is the answer to
// our own.
func (c *closer) peerClosed(slot uint32, rec *record, code uint16) {
	if rec.state == stateClosing {
		c.halfClose(slot, rec)
		return
	}
	c.answers.flush(slot)
	rec.reason = ReasonClient
	c.log.unopened(slot, rec)
	// The backlog is dropped: the peer has said that it wants no more.
	c.ps.DropBacklog(slot)
	c.buf = c.variantOf(rec).Transport.AppendCloseReply(c.buf[:0], code)
	c.ps.Send(slot, poller.Bytes(c.buf), poller.Last)
	c.halfClose(slot, rec)
}

// slow ends a session whose backlog is full. The poller drops the backlog of a
// connection that it evicts, so the client must not get anything but a close frame
// afterwards, also if its login is being checked or waits for the bus.
func (c *closer) slow(slot uint32, r poller.SendResult, f *refuser) {
	rec := c.rec(slot)
	switch rec.state {
	case stateOpen, stateLogin:
		reason := c.countSlow(r)
		c.ps.DropBacklog(slot)
		c.end(slot, reason, "")
	case stateAuth, stateJoin:
		rec.reason = c.countSlow(r)
		c.ps.DropBacklog(slot)
		f.refuse(slot, ws.Unavailable(rec.reason.Text(), c.opt.RetryAfter))
	}
}

// countSlow counts a session whose backlog is full, and returns why it ends.
func (c *closer) countSlow(r poller.SendResult) Reason {
	reason := ReasonSlow
	c.counters.slow.Add(1)
	switch r {
	case poller.NodeFull:
		reason = ReasonNodeBacklog
		c.counters.limit(limitNodeBacklog)
	case poller.FramesFull:
		c.counters.limit(limitFrames)
	default:
		c.counters.limit(limitBytes)
	}
	return reason
}

// halfClose shuts a connection down for writing once everything was sent. What
// the peer still sends is discarded, up to Options.HalfClosedBytes, until it closes or
// halfCloseTime has passed.
func (c *closer) halfClose(slot uint32, rec *record) {
	rec.state = stateHalfClosed // before unregister, which may wake waiters for its topics
	c.unregister(slot, nil)
	c.upgrades.drop(rec)
	c.assembly.drop(slot, rec)
	c.ps.CloseWrite(slot)
	c.ps.Resume(slot)
	rec.pingedAt, rec.userHash = c.ps.Now(), 0
	c.ps.SetTimer(slot, c.ps.Now()+halfCloseTime)
}

// discard counts n bytes that a half-closed connection has sent. After
// Options.HalfClosedBytes it is not read any more, and ends by its timer if the
// client does not reset it before: what the client sends then stays in the sockets.
// A client that was refused in the middle of a message sends the rest before it
// reads.
func (c *closer) discard(slot uint32, rec *record, n int) {
	if rec.userHash += uint32(n); int64(rec.userHash) > int64(c.opt.HalfClosedBytes) && !c.ps.Paused(slot) {
		c.counters.limit(limitHalfClosed)
		c.ps.Pause(slot)
	}
}

// stillReading says whether a half-closed connection gets more time: the client
// goes on reading what was sent before the end. So long as it does it has
// maxHalfClosed in all.
func (c *closer) stillReading(slot uint32, rec *record) bool {
	return c.ps.Backlogged(slot) && c.ps.BacklogAge(slot) < halfCloseTime && c.ps.Now()-rec.pingedAt < maxHalfClosed
}

// endNow ends a session in the middle of a message. What it sends afterwards
// cannot be decoded, so no answer is awaited.
func (c *closer) endNow(slot uint32, r Reason) {
	c.end(slot, r, "")
	c.halfClose(slot, c.rec(slot))
}

// unregister takes a session out of all tables and writes its line. err is the
// system's error that ended the connection, if it was one. A second call for
// the same session does nothing.
func (c *closer) unregister(slot uint32, err error) {
	rec := c.rec(slot)
	c.renewals.drop(slot, rec)
	c.upgrades.stopWaiting(rec)
	if rec.flags&flagSession == 0 {
		return
	}
	if rec.openedAt != 0 {
		c.log.ended(slot, rec, err)
	}
	rec.flags &^= flagSession
	c.srv.sessions.Add(-1)
	c.srv.perVariant[rec.variant].Add(-1)
	c.changes.closed(slot, rec) // while it has its user, as the next
	c.watch.closed(slot, rec)   // before what is kept of it is forgotten
	c.events.closed(slot, rec)
	c.buckets.drop(slot, rec)
	c.topics.leaveAll(rec)
	c.grants.drop(rec)
	c.decisions.drop(slot)
	c.users.leave(slot, rec)
}
