package session

import (
	"belfry/poller"
	"belfry/wire"
)

// answers collects what goes back to a session while its input is decoded, so
// that one read is answered with few sends. Outside a read of the session an
// answer is sent at once. Owned by the shard.
type answers struct {
	env
	on    bool // a read is being decoded
	slot  uint32
	pongs []byte // of all pings of the read but those beyond maxPongs
	pong  int    // where the newest pong begins in pongs
	count int    // of pongs
	out   []byte // answers to commands
}

const (
	// maxPongs is how many pings of one read get a pong each. Of further pings
	// only the newest gets one (RFC 6455 §5.5.3).
	maxPongs = 16
	// maxAnswers is the size at which answers are sent although the read goes
	// on, in bytes.
	maxAnswers = 8 << 10
)

// begin starts a read of a session. It discards what a read that panicked may
// have left.
func (a *answers) begin(slot uint32) {
	a.on, a.slot = true, slot
	a.clear()
}

// done ends a read. What was not flushed is lost.
func (a *answers) done() { a.on = false }

func (a *answers) clear() { a.pongs, a.pong, a.count, a.out = a.pongs[:0], 0, 0, a.out[:0] }

// ping notes that a ping is to be answered.
func (a *answers) ping(t wire.Transport, payload []byte) {
	if a.count == maxPongs {
		a.pongs = a.pongs[:a.pong] // replaces the newest so far
		a.count--
	}
	a.pong = len(a.pongs)
	a.pongs = t.AppendPong(a.pongs, payload)
	a.count++
}

// reply answers a command. A session that is not open gets no answer.
func (a *answers) reply(slot uint32, r *wire.Reply) {
	rec := a.rec(slot)
	if rec.state != stateOpen {
		return
	}
	if r.Err != nil {
		a.counters.commandError(r.Err.Code)
	}
	e := a.variantOf(rec).Encoding
	if a.on && a.slot == slot {
		w := a.say(rec, a.out)
		e.Reply(w, r)
		if a.out = w.Bytes(); len(a.out) >= maxAnswers {
			a.flush(slot)
		}
		return
	}
	w := a.say(rec, a.buf[:0])
	e.Reply(w, r)
	if a.buf = w.Bytes(); len(a.buf) > 0 {
		a.ps.Send(slot, poller.Bytes(a.buf), poller.Data)
	}
}

// fail answers a command with an error.
func (a *answers) fail(slot uint32, ref, code, field, text string) {
	a.reply(slot, &wire.Reply{Ref: ref, Err: &wire.CommandError{Code: code, Field: field, Text: text, Ref: ref}})
}

// flush sends the pongs and answers that the read of a session has collected so
// far. The pongs come first: a ping that came before a close frame is answered
// before it. Nothing happens if no read of this session is being decoded.
func (a *answers) flush(slot uint32) {
	if !a.on || a.slot != slot {
		return
	}
	if s := a.rec(slot).state; s == stateOpen || s == stateLogin {
		if len(a.pongs) > 0 {
			a.ps.Send(slot, poller.Bytes(a.pongs).Newest(a.pong), poller.Control)
		}
		if len(a.out) > 0 {
			a.ps.Send(slot, poller.Bytes(a.out), poller.Data)
		}
	}
	a.clear()
}
