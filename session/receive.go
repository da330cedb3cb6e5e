package session

import (
	"errors"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// receiver decodes what a shard's clients send and acts on it. Owned by the
// shard.
type receiver struct {
	env
	upgrader *upgrader // for logins
	closer   *closer
	refuser  *refuser // for requests whose input is reclaimed
	answers  *answers
	buckets  *buckets
	commands *commands
	events   *eventing
	assembly *assembly
	pongs    *pongTimes
	taking   *taking

	decoders  []wire.Decoder   // by variant
	left      [rateCount]int32 // tokens of the session whose read is being decoded
	received  received         // of that read, not in the counters yet
	reclaimed []poller.ID      // connections that gave up their input and have to be ended
}

// framesPerCheck is the number of frames that are decoded between two looks at the
// clock.
const framesPerCheck = 16

// read decodes what a session has received and returns how many bytes it has
// consumed. The answers go out together at the end.
func (r *receiver) read(slot uint32, p []byte) int {
	rec := r.rec(slot)
	if rec.state == stateClosing {
		// The only thing awaited is the close frame, and no rate holds here. While a
		// session is closing, pingedAt counts its bytes.
		if rec.pingedAt += uint32(len(p)); int64(rec.pingedAt) > int64(r.opt.ClosingBytes) {
			r.counters.limit(limitClosing)
			r.closer.halfClose(slot, rec)
			return len(p)
		}
	}
	if r.taking.from != nil {
		r.taking.touch(slot)
	}
	pinged := rec.flags&flagPinged != 0
	if !r.ps.Backlogged(slot) {
		// Any input shows that the client lives. A client with a backlog must
		// answer the ping instead, which shows that it reads too.
		rec.flags &^= flagPinged
	}
	since := r.ps.Now() - rec.pingedAt // of use if pinged
	r.left = r.buckets.tokens(rec)
	r.answers.begin(slot)
	defer r.answers.done()
	used := r.decode(slot, p)
	r.received.count(r.counters)
	r.assembly.dropIdle(slot, rec)
	r.answers.flush(slot)
	if pinged && rec.flags&flagPinged == 0 {
		r.pongs.count(since)
	}
	if rec.state != stateOpen || rec.flags&flagEcho != 0 || !r.buckets.limited(rec) {
		return used
	}
	if pinged && used == len(p) && rec.flags&flagMetered == 0 && r.oneFrame(rec, used) {
		return used // the answer to our ping is free
	}
	r.buckets.charge(slot, rec, r.left)
	return used
}

// received is what one read held. It is added to the counters once a read, because
// an atomic addition costs as much as decoding a small frame.
type received struct{ frames, messages, bytes, unwanted uint64 }

// count adds what was received to the counters.
func (n *received) count(c *counters) {
	c.framesIn.Add(n.frames)
	if n.messages > 0 {
		c.messagesIn.Add(n.messages)
		c.bytesIn.Add(n.bytes)
	}
	if n.unwanted > 0 {
		c.unwanted.Add(n.unwanted)
	}
	*n = received{}
}

// oneFrame says whether a read of so many bytes was one frame, small enough for
// a control frame, and no command.
func (r *receiver) oneFrame(rec *record, used int) bool {
	full := r.buckets.of(rec)
	return r.left[rateMessages] == full[rateMessages].burst-1 && used <= ws.MaxTail+1 &&
		r.left[rateBytes] == full[rateBytes].burst-int32(used) &&
		r.left[rateCommands] == full[rateCommands].burst
}

func (r *receiver) decode(slot uint32, p []byte) (used int) {
	limits, echo := r.limitsOf(r.rec(slot))
	for frames := 1; ; frames++ { // since the last look at the clock
		rec := r.rec(slot)
		if used < len(p) {
			if which := exhausted(r.left); which < rateCount && !echo {
				if ended, stop := r.limit(slot, rec, which); ended {
					return len(p)
				} else if stop {
					return used
				}
			}
			if frames >= framesPerCheck {
				if r.ps.Expired() {
					r.ps.Defer(slot)
					return used
				}
				frames = 0
			}
		}
		in := r.assembly.of(slot, rec)
		n, ev, err := r.decoders[rec.variant].Next(p[used:], in.decoder(), limits)
		used += n
		r.left[rateBytes] -= int32(n + ev.Inflated)
		r.left[rateUserBytes] -= int32(n + ev.Inflated)
		if ev.Inflated > 0 {
			frames = framesPerCheck // inflating 64 KiB takes 0.1 ms, and of a hostile client 1.5 ms
			r.ps.CheckClock()       // before other connections, too
		}
		if err != nil {
			r.closer.violated(slot, err)
			return len(p)
		}
		switch ev.Type {
		case ws.EventNone:
			r.ps.SetLargeReads(slot, in.Active())
			r.unfinished(slot, rec, len(p)-used)
			return used
		case ws.EventAssemble:
			if r.assembly.open(slot, rec) == nil {
				r.closer.violated(slot, ws.ErrNoMemory)
				return len(p)
			}
		default:
			r.received.frames++
			sent := int32(in.decoder().Frames(ev.Type))
			r.left[rateMessages] -= sent
			r.left[rateUserMessages] -= sent
			if in != nil && !in.Active() {
				r.assembly.stopClock(in)
			}
			if !r.event(slot, rec, ev) {
				return len(p)
			}
			if rec.state == stateAuth || rec.flags&(flagAuth|flagHeld) != 0 {
				return used // credentials are being checked, or a backend is behind
			}
		}
	}
}

// limitsOf returns the limits of a session's messages, and whether it gets them
// back.
func (r *receiver) limitsOf(rec *record) (limits ws.Limits, echo bool) {
	if rec.flags&flagEcho != 0 {
		return ws.Limits{MaxMessage: maxEchoMessage, MaxFragments: maxEchoFragments}, true
	}
	return r.opt.Limits, false
}

// limit acts on a session that has used up the tokens of a rate. ended means that
// the session is over and its input is discarded; stop means that the rest of the
// read waits.
func (r *receiver) limit(slot uint32, rec *record, which int) (ended, stop bool) {
	switch rec.state {
	case stateClosing:
		r.closer.halfClose(slot, rec)
		return true, true
	case stateOpen:
		r.buckets.charge(slot, rec, r.left)
		return !r.buckets.overrun(slot, rec, which), true
	}
	return false, false
}

// event acts on a decoded event. It returns false if the rest of the connection's
// input is to be discarded.
func (r *receiver) event(slot uint32, rec *record, ev ws.Event) bool {
	if rec.state == stateLogin {
		r.upgrader.beforeLogin(slot, rec, ev)
	}
	switch ev.Type {
	case ws.EventMessage:
		if rec.state == stateOpen {
			r.message(slot, rec, ev)
		}
	case ws.EventPing:
		if rec.state == stateOpen || rec.state == stateLogin {
			r.counters.pings.Add(1)
			r.answers.ping(r.variantOf(rec).Transport, ev.Payload)
		}
	case ws.EventPong:
		r.counters.pongs.Add(1)
		rec.flags &^= flagPinged
	case ws.EventClose:
		r.closer.peerClosed(slot, rec, ev.Code)
		return false
	}
	switch rec.state {
	case stateOpen, stateClosing, stateLogin, stateAuth:
		return true
	}
	return false
}

// message acts on a data message.
func (r *receiver) message(slot uint32, rec *record, ev ws.Event) {
	r.received.messages++
	r.received.bytes += uint64(len(ev.Payload))
	if rec.flags&flagEcho != 0 {
		r.echo(slot, ev)
		return
	}
	r.runCommands(slot, rec, ev.Payload, kindOf(ev.Op))
}

// runCommands does what the commands in a client's payload ask for.
func (r *receiver) runCommands(slot uint32, rec *record, p []byte, kind message.Kind) {
	for encoding := r.variantOf(rec).Encoding; rec.state == stateOpen; {
		cmd, rest, err := encoding.Command(p, kind)
		switch {
		case err == nil:
			r.left[rateCommands] -= int32(max(1, len(cmd.Topics), len(cmd.Target.Names)))
			if cmd.Op == wire.OpAuth && len(rest) > 0 {
				r.answers.fail(slot, cmd.Ref, "bad_request", "", "auth has to be the last command of its message")
				break
			}
			r.commands.run(slot, rec, &cmd)
		case errors.Is(err, wire.ErrNoCommands):
			if r.events.data(slot, rec, kind, p) {
				return
			}
			r.received.unwanted++
			if r.opt.RefuseClient {
				r.closer.end(slot, ReasonPolicy, "")
			}
			return
		default:
			bad, ok := errors.AsType[*wire.CommandError](err)
			if !ok {
				bad = &wire.CommandError{Code: "bad_request", Text: err.Error()}
			}
			r.answers.reply(slot, &wire.Reply{Ref: bad.Ref, Err: bad})
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

// maxEchoBuffer is the size in bytes beyond which the buffer of an echoed message
// is not kept.
const maxEchoBuffer = 1 << 20

func (r *receiver) echo(slot uint32, ev ws.Event) {
	r.answers.flush(slot)
	r.buf = r.variantOf(r.rec(slot)).Transport.AppendFrame(r.buf[:0], wire.Payload{Kind: kindOf(ev.Op), Data: ev.Payload})
	r.ps.Send(slot, poller.Bytes(r.buf), poller.Data)
	if cap(r.buf) > maxEchoBuffer {
		r.buf = nil
	}
}
