package session

import (
	"fmt"
	"math"
	"time"

	"go.uber.org/zap"

	"belfry/offheap"
	"belfry/poller"
	"belfry/wire"
)

// Rates bound what one session may send, each by a token bucket: so much a
// second, and so much at once. A rate of 0 is no limit.
//
// A session that runs out of tokens is told once (belfry.v1: err
// rate_limited) and not read until it has some again, which the kernel passes
// on to the client as a full window. One that keeps running out for Grace is
// closed with 1008.
type Rates struct {
	Messages, MessageBurst int // messages and control frames; a fragment counts as one
	Bytes, ByteBurst       int // as they were received, framing included, and what inflating adds; the burst is at least Limits.MaxMessage
	Commands, CommandBurst int // of belfry.v1; a sub, unsub or pub counts once for each name; the burst is at least MaxTopics
	Grace                  time.Duration
}

// The three buckets of a session.
const (
	rateMessages = iota
	rateBytes
	rateCommands
	rateCount
)

// rate is one bucket's filling, in tokens a second, and its size.
type rate struct{ perSecond, burst int32 }

// unlimited stands for the tokens of a rate that is no limit.
const unlimited = math.MaxInt32 / 2

var rateLimits = [rateCount]int{rateMessages: limitMessageRate, rateBytes: limitByteRate, rateCommands: limitCommandRate}

var rateUnits = [rateCount]string{"messages", "bytes", "commands"}

func (o *Options) rates() (rates [rateCount]rate) {
	set := func(which, each, burst, least int) {
		if each == 0 {
			rates[which] = rate{0, unlimited}
			return
		}
		rates[which] = rate{int32(each), int32(min(max(burst, least), unlimited))}
	}
	set(rateMessages, o.Rates.Messages, o.Rates.MessageBurst, 1)
	set(rateBytes, o.Rates.Bytes, o.Rates.ByteBurst, o.Limits.MaxMessage+clientHeader)
	set(rateCommands, o.Rates.Commands, o.Rates.CommandBurst, o.MaxTopics)
	return rates
}

// clientHeader is the longest header of a client's frame (RFC 6455 §5.2), in
// bytes.
const clientHeader = 14

// buckets are the token buckets of the sessions that sent lately: a session
// without them has all tokens. Owned by the shard.
type buckets struct {
	rates  [rateCount]rate
	grace  uint32
	limits bool // some rate is a limit
	all    *offheap.Records[bucket]
	cursor uint32 // where the sweep goes on

	slowed []poller.ID // sessions that wait for tokens
	due    int         // of these, how many are to be looked at
}

// bucket is what one session has left. No Go pointers.
type bucket struct {
	slot   uint32           // of the session
	tokens [rateCount]int32 // below 0: a debt
	at     uint32           // tick to which the tokens are counted
	since  uint32           // tick at which it began to run out again and again
	last   uint32           // tick at which it has tokens again after it ran out last; 0: never
}

func (b *buckets) init(o *Options) (err error) {
	b.rates, b.grace = o.rates(), ticks(o.Rates.Grace)
	for _, r := range b.rates {
		b.limits = b.limits || r.perSecond > 0
	}
	b.all, err = offheap.NewRecords[bucket](o.Poller.Memory.Owner("rates"), o.MaxSessions+o.MaxPending)
	return err
}

// refill adds the tokens of the ticks that have passed, and says whether the
// buckets are full.
func (b *buckets) refill(k *bucket, now uint32) (full bool) {
	passed := int64(now - k.at)
	k.at, full = now, true
	for i, r := range b.rates {
		if k.tokens[i] = int32(min(int64(k.tokens[i])+passed*int64(r.perSecond), int64(r.burst))); r.perSecond == 0 {
			k.tokens[i] = r.burst // what has no limit
		}
		full = full && k.tokens[i] == r.burst
	}
	return full
}

// tokens returns what a session has left.
func (h *shard) tokens(rec *record) (left [rateCount]int32) {
	b := &h.buckets
	if rec.flags&flagMetered != 0 {
		k := b.all.At(rec.side)
		b.refill(k, h.ps.Now())
		return k.tokens
	}
	for i, r := range b.rates {
		left[i] = r.burst
	}
	return left
}

// charge takes tokens of a session for what it has sent.
func (h *shard) charge(slot uint32, rec *record, left [rateCount]int32) {
	b := &h.buckets
	if rec.flags&flagMetered == 0 {
		at, ok := b.all.Alloc()
		if !ok {
			return // there are as many as connections
		}
		rec.flags |= flagMetered
		rec.side = at
		*b.all.At(at) = bucket{slot: slot, at: h.ps.Now()}
	}
	b.all.At(rec.side).tokens = left
}

func (h *shard) dropBucket(slot uint32, rec *record) {
	if rec.flags&flagSlowed != 0 {
		h.ps.Resume(slot) // its close frame is to be read
	}
	if rec.flags&flagMetered != 0 {
		h.buckets.all.Free(rec.side)
		rec.flags &^= flagMetered | flagSlowed
		rec.side = 0
	}
}

// overrun slows a session down that has run out of tokens and sent more, or
// closes it if it has been doing so for too long. It returns false then.
func (h *shard) overrun(slot uint32, rec *record, which int) bool {
	b := &h.buckets
	now := h.ps.Now()
	h.counters.limit(rateLimits[which])
	if rec.flags&flagMetered == 0 { // see charge
		h.ps.Defer(slot)
		return true
	}
	k := b.all.At(rec.side)
	first := k.last == 0 || now > k.last+streakGap
	if first {
		k.since = now
	}
	k.last = now + b.wait(k)
	if now-k.since >= b.grace && (!first || b.grace == 0) {
		h.end(slot, ReasonRate, fmt.Sprintf("more than %d %s a second", b.rates[which].perSecond, rateUnits[which]))
		h.halfClose(slot, rec)
		return false
	}
	if first {
		h.reply(slot, &wire.Reply{Err: &wire.CommandError{Code: "rate_limited", Text: fmt.Sprintf(
			"more than %d %s a second (%s): reading pauses; after %d s of it the session is closed with 1008",
			b.rates[which].perSecond, rateUnits[which], limitNames[rateLimits[which]], b.grace)}})
		if ce := h.opt.Log.Check(zap.DebugLevel, "session slowed down"); ce != nil {
			ce.Write(zap.String("limit", limitNames[rateLimits[which]]), zap.String("sid", h.sid(slot)))
		}
	}
	rec.flags |= flagSlowed
	h.ps.Pause(slot)
	b.slowed = append(b.slowed, h.ps.ID(slot))
	return true
}

// streakGap is within how many ticks of having tokens again a session that
// runs out of them is still the one that did before.
const streakGap = 2

// wait returns after how many ticks, at least one, k has some of all tokens.
func (b *buckets) wait(k *bucket) uint32 {
	wait := uint32(1)
	for i, r := range b.rates {
		if k.tokens[i] <= 0 && r.perSecond > 0 {
			wait = max(wait, uint32(-k.tokens[i]/r.perSecond)+1)
		}
	}
	return wait
}

// resumeSlowed reads sessions again that have tokens again. It returns whether
// there are more to be looked at.
func (h *shard) resumeSlowed() (more bool) {
	b := &h.buckets
	for n := 1; b.due > 0; n++ {
		id := b.slowed[0]
		b.slowed = b.slowed[1:]
		b.due--
		if slot, ok := h.ps.Lookup(id); ok && h.rec(slot).flags&flagSlowed != 0 {
			if rec := h.rec(slot); exhausted(h.tokens(rec)) == rateCount {
				rec.flags &^= flagSlowed
				rec.pingedAt = h.ps.Now() // what it answered could not be read
				h.ps.Resume(slot)
			} else {
				b.slowed = append(b.slowed, id)
			}
		}
		if n%64 == 0 && h.ps.Expired() {
			return b.due > 0
		}
	}
	if len(b.slowed) == 0 {
		b.slowed = nil
	}
	return false
}

// exhausted returns the first bucket that is empty, rateCount if none is.
func exhausted(left [rateCount]int32) int {
	for i, n := range left {
		if n <= 0 {
			return i
		}
	}
	return rateCount
}

// tick has the sessions that wait for tokens looked at, and gives back the
// buckets that are full again, a part of them each second.
func (b *buckets) tick(h *shard) {
	b.due = len(b.slowed)
	for range max(1024, b.all.Len()/32) {
		at, ok := b.all.Next(b.cursor)
		if !ok {
			b.cursor = 0
			break
		}
		b.cursor = at + 1
		if k := b.all.At(at); b.refill(k, h.ps.Now()) && h.ps.Now() > k.last+streakGap {
			h.dropBucket(k.slot, h.rec(k.slot))
		}
	}
	b.all.Trim()
}
