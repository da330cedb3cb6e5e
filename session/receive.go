package session

import (
	"errors"

	"github.com/gobwas/ws"

	"belfry/poller"
)

// Buffers of messages on their way in are used again unless they grew beyond
// keepInbound bytes, and so many of them.
const (
	keepInbound   = 16 << 10
	spareInbounds = 64
)

// readFrames decodes what a client has sent and returns how much of it. The
// pongs it asks for go out together: a client that sends thousands of pings in
// one read must not cost the shard thousands of sends.
func (h *shard) readFrames(slot uint32, p []byte) int {
	used := h.decode(slot, p)
	h.sendPongs(slot)
	return used
}

// sendPongs sends the pongs that were asked for, before anything that answers
// what came after their pings.
func (h *shard) sendPongs(slot uint32) {
	if len(h.pongs) > 0 && h.rec(slot).state == stateOpen {
		h.ps.SendControl(slot, h.pongs)
	}
	h.pongs = h.pongs[:0]
}

func (h *shard) decode(slot uint32, p []byte) (used int) {
	limits := h.opt.Limits
	if h.rec(slot).flags&flagEcho != 0 {
		limits = Limits{MaxMessage: maxEchoMessage, MaxFragments: maxEchoFragments}
	}
	for {
		rec := h.rec(slot)
		var in *Inbound
		if rec.inbound != 0 {
			in = h.inbounds.Get(rec.inbound)
		}
		n, ev, err := Next(p[used:], in, limits)
		used += n
		if err != nil {
			h.violated(slot, err)
			return len(p)
		}
		switch ev.Type {
		case EventNone:
			if in != nil && !in.Active() {
				h.dropInbound(rec)
			}
			return used
		case EventAssemble:
			rec.inbound = h.inbounds.Put(h.newInbound())
		default:
			h.counters.framesIn.Add(1)
			if !h.event(slot, rec, ev) {
				return len(p)
			}
		}
	}
}

// event acts on what was decoded. It returns false if nothing more of the
// connection is of interest.
func (h *shard) event(slot uint32, rec *record, ev Event) bool {
	switch ev.Type {
	case EventMessage:
		if rec.state == stateOpen {
			h.message(slot, rec, ev)
		}
	case EventPing:
		if rec.state == stateOpen {
			h.counters.pings.Add(1)
			h.pongs = AppendFrame(h.pongs, ws.OpPong, ev.Payload)
		}
	case EventPong:
		h.counters.pongs.Add(1)
	case EventClose:
		h.closed(slot, rec, ev.Code)
		return false
	}
	return rec.state == stateOpen || rec.state == stateClosing
}

// message acts on a data message.
func (h *shard) message(slot uint32, rec *record, ev Event) {
	h.counters.messagesIn.Add(1)
	h.counters.bytesIn.Add(uint64(len(ev.Payload)))
	if rec.flags&flagEcho != 0 {
		h.echo(slot, ev)
		return
	}
	cmd, err := h.opt.Encodings[rec.encoding].ParseCommand(ev.Payload, ev.Kind)
	if err == nil {
		h.command(slot, rec, &cmd)
		return
	}
	if errors.Is(err, ErrNoCommands) {
		h.counters.unwanted.Add(1)
		if h.opt.RefuseClient {
			h.end(slot, ReasonPolicy, "")
		}
		return
	}
	var bad *CommandError
	if !errors.As(err, &bad) {
		bad = &CommandError{Code: "bad_request", Text: err.Error()}
	}
	h.reply(slot, &Reply{Ref: bad.Ref, Err: bad})
}

func (h *shard) echo(slot uint32, ev Event) {
	h.sendPongs(slot)
	op := ws.OpText
	if ev.Kind == Binary {
		op = ws.OpBinary
	}
	h.buf = AppendFrame(h.buf[:0], op, ev.Payload)
	h.saw(slot, h.ps.SendBytes(slot, h.buf))
	if cap(h.buf) > 1<<20 {
		h.buf = nil
	}
}

// OnSendFailed implements poller.Handler.
func (h *shard) OnSendFailed(slot uint32, r poller.SendResult) { h.saw(slot, r) }

// saw acts on the result of a send.
func (h *shard) saw(slot uint32, r poller.SendResult) {
	if r == poller.Overflow || r == poller.NodeFull {
		h.slow(slot, r)
	}
}

// newInbound takes a buffer that was used before, if there is one.
func (h *shard) newInbound() *Inbound {
	if n := len(h.spare); n > 0 {
		in := h.spare[n-1]
		h.spare = h.spare[:n-1]
		return in
	}
	return new(Inbound)
}

func (h *shard) dropInbound(rec *record) {
	if rec.inbound == 0 {
		return
	}
	in := h.inbounds.Get(rec.inbound)
	h.inbounds.Drop(rec.inbound)
	rec.inbound = 0
	if len(h.spare) < spareInbounds {
		in.Reset(keepInbound)
		h.spare = append(h.spare, in)
	}
}
