package session

import (
	"errors"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// readState is what belongs to the read that is being decoded. It is reset at its
// begin: a panic may have left the last one in the middle.
type readState struct {
	on    bool
	slot  uint32
	left  [rateCount]int32 // tokens
	pongs []byte           // of all pings but those beyond maxPongs
	pong  int              // where the newest begins
	count int              // of pongs
	out   []byte           // answers to commands
}

const (
	// maxPongs is how many pings of one read get a pong each; of more only the
	// newest does (RFC 6455 §5.5.3).
	maxPongs = 16
	// flushAnswers is when answers are sent although the read goes on, in bytes.
	flushAnswers = 8 << 10
	// framesPerCheck is after how many frames the clock is looked at. What a frame
	// inflates to counts as one more for each inflatedLook bytes.
	framesPerCheck = 16
	inflatedLook   = 4 << 10
)

func (r *readState) reset(slot uint32, left [rateCount]int32) {
	*r = readState{on: true, slot: slot, left: left, pongs: r.pongs[:0], out: r.out[:0]}
}

// ping notes that a ping is to be answered.
func (r *readState) ping(t wire.Transport, payload []byte) {
	if r.count == maxPongs {
		r.pongs = r.pongs[:r.pong] // instead of the newest so far
		r.count--
	}
	r.pong = len(r.pongs)
	r.pongs = t.AppendPong(r.pongs, payload)
	r.count++
}

// readFrames decodes what a client has sent and returns how much of it. What
// answers it goes out together at the end.
func (h *shard) readFrames(slot uint32, p []byte) int {
	rec := h.rec(slot)
	pinged := rec.flags&flagPinged != 0
	if !h.ps.Backlogged(slot) {
		// Something came: the client lives. But one for which something waits
		// has to answer the ping, which it can only if it reads.
		rec.flags &^= flagPinged
	}
	r := &h.read
	r.reset(slot, h.tokens(rec))
	defer func() { r.on = false }()
	used := h.decode(slot, p)
	h.inbounds.dropIdle(rec)
	h.flushAnswers(slot)
	if rec.state != stateOpen || rec.flags&flagEcho != 0 || !h.buckets.limits {
		return used
	}
	if pinged && used == len(p) && rec.flags&flagMetered == 0 && h.onlyPong(used) {
		return used // the answer to our ping is free
	}
	h.charge(slot, rec, r.left)
	return used
}

// onlyPong says whether a read of so many bytes was one frame, and no message:
// what is answered costs nothing then.
func (h *shard) onlyPong(used int) bool {
	return h.read.left[rateMessages] == h.buckets.rates[rateMessages].burst-1 && used <= ws.MaxTail+1 &&
		h.read.left[rateBytes] == h.buckets.rates[rateBytes].burst-int32(used) &&
		h.read.count == 0 && h.read.left[rateCommands] == h.buckets.rates[rateCommands].burst
}

// flushAnswers sends the pongs and answers that a read has gathered: the pongs
// first, since a ping that came before a close frame is answered before it.
func (h *shard) flushAnswers(slot uint32) {
	r := &h.read
	if !r.on || r.slot != slot {
		return
	}
	if s := h.rec(slot).state; s == stateOpen || s == stateLogin {
		if len(r.pongs) > 0 {
			h.ps.Send(slot, poller.Bytes(r.pongs).Newest(r.pong), poller.Control)
		}
		if len(r.out) > 0 {
			h.ps.Send(slot, poller.Bytes(r.out), poller.Data)
		}
	}
	r.pongs, r.pong, r.count, r.out = r.pongs[:0], 0, 0, r.out[:0]
}

func (h *shard) decode(slot uint32, p []byte) (used int) {
	limits := h.opt.Limits
	echo := h.rec(slot).flags&flagEcho != 0
	if echo {
		limits = ws.Limits{MaxMessage: maxEchoMessage, MaxFragments: maxEchoFragments}
	}
	for looks := 1; ; looks++ { // frames since the last look
		rec := h.rec(slot)
		if used < len(p) {
			if which := exhausted(h.read.left); which < rateCount && rec.state == stateOpen && !echo {
				h.charge(slot, rec, h.read.left)
				if !h.overrun(slot, rec, which) {
					return len(p)
				}
				return used
			}
			if looks >= framesPerCheck {
				if h.ps.Expired() {
					h.ps.Defer(slot)
					return used
				}
				looks = 0
			}
		}
		in := h.inbounds.of(rec)
		n, ev, err := h.decoders[rec.variant].Next(p[used:], in.decoder(), limits)
		used += n
		h.read.left[rateBytes] -= int32(n + ev.Inflated)
		looks += ev.Inflated / inflatedLook
		if err != nil {
			h.violated(slot, err)
			return len(p)
		}
		switch ev.Type {
		case ws.EventNone:
			h.ps.SetLargeReads(slot, in.Active())
			h.unfinished(slot, rec, len(p)-used)
			return used
		case ws.EventAssemble:
			if h.inbounds.open(slot, rec) == nil {
				h.violated(slot, ws.ErrNoMemory)
				return len(p)
			}
		default:
			h.counters.framesIn.Add(1)
			h.read.left[rateMessages] -= int32(in.decoder().Frames(ev.Type))
			if in != nil && !in.Active() {
				h.inbounds.stopClock(in)
			}
			if !h.event(slot, rec, ev) {
				return len(p)
			}
			if rec.state == stateAuth {
				return used // a login is being checked
			}
		}
	}
}

// event acts on what was decoded. It returns false if nothing more of the
// connection is of interest.
func (h *shard) event(slot uint32, rec *record, ev ws.Event) bool {
	if rec.state == stateLogin {
		h.beforeLogin(slot, rec, ev)
	}
	switch ev.Type {
	case ws.EventMessage:
		if rec.state == stateOpen {
			h.message(slot, rec, ev)
		}
	case ws.EventPing:
		if rec.state == stateOpen || rec.state == stateLogin {
			h.counters.pings.Add(1)
			h.read.ping(h.variantOf(rec).Transport, ev.Payload)
		}
	case ws.EventPong:
		h.counters.pongs.Add(1)
		rec.flags &^= flagPinged
	case ws.EventClose:
		h.peerClosed(slot, rec, ev.Code)
		return false
	}
	switch rec.state {
	case stateOpen, stateClosing, stateLogin, stateAuth:
		return true
	}
	return false
}

// message acts on a data message.
func (h *shard) message(slot uint32, rec *record, ev ws.Event) {
	h.counters.messagesIn.Add(1)
	h.counters.bytesIn.Add(uint64(len(ev.Payload)))
	if rec.flags&flagEcho != 0 {
		h.echo(slot, ev)
		return
	}
	h.commands(slot, rec, ev.Payload, kindOf(ev.Op))
}

// commands does what the commands in a client's payload ask for.
func (h *shard) commands(slot uint32, rec *record, p []byte, kind message.Kind) {
	for encoding := h.variantOf(rec).Encoding; rec.state == stateOpen; {
		cmd, rest, err := encoding.Command(p, kind)
		switch {
		case err == nil:
			h.command(slot, rec, &cmd)
		case errors.Is(err, wire.ErrNoCommands):
			h.counters.unwanted.Add(1)
			if h.opt.RefuseClient {
				h.end(slot, ReasonPolicy, "")
			}
			return
		default:
			bad, ok := errors.AsType[*wire.CommandError](err)
			if !ok {
				bad = &wire.CommandError{Code: "bad_request", Text: err.Error()}
			}
			h.reply(slot, &wire.Reply{Ref: bad.Ref, Err: bad})
			return
		}
		if p = rest; len(p) == 0 {
			return
		}
	}
}

// kindOf returns what a data frame of the opcode carries.
func kindOf(op ws.OpCode) message.Kind {
	if op == ws.OpBinary {
		return message.Binary
	}
	return message.Text
}

func (h *shard) echo(slot uint32, ev ws.Event) {
	h.flushAnswers(slot)
	h.buf = h.variantOf(h.rec(slot)).Transport.AppendFrame(h.buf[:0], wire.Payload{Kind: kindOf(ev.Op), Data: ev.Payload})
	h.ps.Send(slot, poller.Bytes(h.buf), poller.Data)
	if cap(h.buf) > 1<<20 {
		h.buf = nil
	}
}

// OnSendFailed implements poller.Handler.
func (h *shard) OnSendFailed(slot uint32, r poller.SendResult) {
	switch r {
	case poller.FramesFull, poller.BytesFull, poller.NodeFull:
		h.slow(slot, r)
	case poller.ControlLost:
		h.rec(slot).flags &^= flagPinged // the ping was not sent: its pong is not awaited
	}
}
