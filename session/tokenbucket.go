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

// Rates bound what one session may send. Each rate is a token bucket with a
// number per second and a burst. A rate of 0 is no limit.
//
// A session that runs out of tokens is told once (belfry.v1: err rate_limited)
// and is not read until it has tokens again; TCP then slows the client down. A
// session that keeps running out for Grace is closed with 1008.
type Rates struct {
	Messages, MessageBurst int // messages and control frames; a fragment counts as one
	Bytes, ByteBurst       int // received, framing included, and what inflating adds; the burst is at least Limits.MaxMessage
	Commands, CommandBurst int // of belfry.v1; a sub, unsub or pub counts once for each name; the burst is at least MaxTopics
	Grace                  time.Duration

	// Of all sessions of a user on this node together.
	UserMessages, UserMessageBurst int
	UserBytes, UserByteBurst       int // the burst is at least Limits.MaxMessage
}

// The buckets of a session, and those of its user.
const (
	rateMessages = iota
	rateBytes
	rateCommands
	rateUserMessages
	rateUserBytes
	rateCount

	sessionRates = rateUserMessages // how many are of the session
	userRates    = rateCount - sessionRates
)

// rate is how many tokens a bucket gets per second, and how many it holds.
type rate struct{ perSecond, burst int32 }

// unlimited is the burst of a rate that is no limit.
const unlimited = math.MaxInt32 / 2

var rateLimits = [rateCount]int{rateMessages: limitMessageRate, rateBytes: limitByteRate, rateCommands: limitCommandRate,
	rateUserMessages: limitUserMessageRate, rateUserBytes: limitUserByteRate}

var rateUnits = [rateCount]string{"messages", "bytes", "commands", "messages of all sessions of the user", "bytes of all sessions of the user"}

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
	set(rateUserMessages, o.Rates.UserMessages, o.Rates.UserMessageBurst, 1)
	set(rateUserBytes, o.Rates.UserBytes, o.Rates.UserByteBurst, o.Limits.MaxMessage+clientHeader)
	return rates
}

// clientHeader is the longest header of a client's frame (RFC 6455 §5.2), in
// bytes.
const clientHeader = 14

// buckets are the token buckets of the sessions that sent lately. A session
// without buckets has all its tokens. Owned by the shard.
type buckets struct {
	env
	closer  *closer
	answers *answers
	grants  *grants
	user    userBuckets

	rates  [rateCount]rate
	own    [rateCount]rate // of the session that is looked at, if its grant names limits
	grace  uint32          // ticks
	limits bool            // some rate is a limit
	all    *offheap.Records[bucket]
	cursor uint32 // where the sweep goes on

	slowed []poller.ID // sessions that wait for tokens
	due    int         // how many of slowed are to be looked at in this tick
}

// bucket is what one session has left. No Go pointers.
type bucket struct {
	slot   uint32              // of the session
	tokens [sessionRates]int32 // below 0: a debt
	at     uint32              // tick to which the tokens are counted
	since  uint32              // tick at which the present streak began (streakGap)
	last   uint32              // tick at which the session gets tokens again, or last got them; 0: it never ran out
}

func (b *buckets) init(e *env, c *closer, a *answers, g *grants, us *users) (err error) {
	o := e.opt
	b.env, b.closer, b.answers, b.grants = *e, c, a, g
	b.setRates(o)
	owner := o.Poller.Memory.Owner("rates")
	if err = b.user.init(e, us, owner, b.rates[sessionRates:]); err != nil {
		return err
	}
	b.all, err = offheap.NewRecords[bucket](owner, o.MaxSessions+o.MaxPending)
	return err
}

// setRates takes the rates of options. Buckets that exist keep their tokens, of which the
// next look leaves at most the new burst.
func (b *buckets) setRates(o *Options) {
	b.rates, b.grace, b.limits = o.rates(), ticks(o.Rates.Grace), false
	for _, r := range b.rates {
		b.limits = b.limits || r.perSecond > 0
	}
}

// ownBurst is how many messages a session may send at once whose grant allows one a
// second.
const ownBurst = 5

// of returns the rates of a session. They are valid until the next call.
func (b *buckets) of(rec *record) *[rateCount]rate {
	own := b.grants.limitsOf(rec)
	if own == nil {
		return &b.rates
	}
	b.own = b.rates
	b.own[rateMessages] = rate{int32(own.messages), int32(ownBurst * own.messages)}
	if own.messages == 0 {
		b.own[rateMessages].burst = unlimited
	}
	return &b.own
}

// limited says whether some rate limits a session.
func (b *buckets) limited(rec *record) bool {
	return b.limits || rec.grant != 0 && b.of(rec)[rateMessages].perSecond > 0
}

// refill adds the tokens of the ticks that have passed, and says whether the
// buckets are full.
func (b *buckets) refill(rec *record, k *bucket, now uint32) (full bool) {
	passed := now - k.at
	k.at = now
	return refill(k.tokens[:], b.of(rec)[:sessionRates], int64(passed))
}

// refill adds the tokens of the ticks that have passed to buckets, and says whether
// they are full.
func refill(tokens []int32, rates []rate, passed int64) (full bool) {
	full = true
	for i, r := range rates {
		if tokens[i] = int32(min(int64(tokens[i])+passed*int64(r.perSecond), int64(r.burst))); r.perSecond == 0 {
			tokens[i] = r.burst // no limit
		}
		full = full && tokens[i] == r.burst
	}
	return full
}

// tokens returns what a session has left now.
func (b *buckets) tokens(rec *record) (left [rateCount]int32) {
	if rec.flags&flagMetered != 0 {
		k := b.all.At(rec.side)
		b.refill(rec, k, b.ps.Now())
		copy(left[:], k.tokens[:])
	} else {
		for i, r := range b.of(rec)[:sessionRates] {
			left[i] = r.burst
		}
	}
	b.user.tokens(rec, left[sessionRates:])
	return left
}

// charge stores what a session has left after what it has sent.
func (b *buckets) charge(slot uint32, rec *record, left [rateCount]int32) {
	if rec.flags&flagMetered == 0 {
		at, ok := b.all.Alloc()
		if !ok {
			return // cannot happen: there are as many as connections
		}
		rec.flags |= flagMetered
		rec.side = at
		*b.all.At(at) = bucket{slot: slot, at: b.ps.Now()}
	}
	copy(b.all.At(rec.side).tokens[:], left[:])
	b.user.charge(rec, left[sessionRates:])
}

// export returns what a session has left, and since when it has sent too much, with
// times as ages in ticks; nil if it has everything.
func (b *buckets) export(rec *record) []int64 {
	if rec.flags&flagMetered == 0 {
		return nil
	}
	k, now := b.all.At(rec.side), b.ps.Now()
	b.refill(rec, k, now)
	age := func(at uint32) int64 {
		if at == 0 {
			return 0
		}
		return int64(int32(now-at)) + 1
	}
	return []int64{int64(k.tokens[0]), int64(k.tokens[1]), int64(k.tokens[2]), age(k.since), age(k.last)}
}

// restore is the reverse. A session that was slowed down is read again, and slowed down
// again if it sends more.
func (b *buckets) restore(slot uint32, rec *record, v []int64) {
	if len(v) < sessionRates+2 {
		return
	}
	at, ok := b.all.Alloc()
	if !ok {
		return // as in charge
	}
	rec.flags |= flagMetered
	rec.side = at
	k, now := b.all.At(at), b.ps.Now()
	*k = bucket{slot: slot, at: now}
	for i := range k.tokens {
		k.tokens[i] = int32(v[i])
	}
	if v[sessionRates] > 0 {
		k.since = now - uint32(v[sessionRates]-1)
	}
	if v[sessionRates+1] > 0 {
		k.last = now - uint32(v[sessionRates+1]-1)
	}
}

// drop frees the buckets of a session, if it has any, and reads it again if it
// was slowed down.
func (b *buckets) drop(slot uint32, rec *record) {
	if rec.flags&flagSlowed != 0 {
		rec.flags &^= flagSlowed
		b.readOn(slot, rec) // its close frame has to be read
	}
	if rec.flags&flagMetered != 0 {
		b.all.Free(rec.side)
		rec.flags &^= flagMetered | flagSlowed
		rec.side = 0
	}
}

// overrun slows down a session that has run out of tokens and sent more. It
// closes the session and returns false if that has gone on for Rates.Grace.
func (b *buckets) overrun(slot uint32, rec *record, which int) bool {
	now := b.ps.Now()
	b.counters.limit(rateLimits[which])
	if rec.flags&flagMetered == 0 { // see charge
		b.ps.Defer(slot)
		return true
	}
	k := b.all.At(rec.side)
	first := k.last == 0 || now > k.last+streakGap
	if first {
		k.since = now
	}
	rates := b.of(rec)
	k.last = now + b.wait(k, rates)
	if now-k.since >= b.grace && (!first || b.grace == 0) {
		b.closer.end(slot, ReasonRate, fmt.Sprintf("more than %d %s a second", rates[which].perSecond, rateUnits[which]))
		b.closer.halfClose(slot, rec)
		return false
	}
	if first {
		b.answers.reply(slot, &wire.Reply{Err: &wire.CommandError{Code: "rate_limited", Text: fmt.Sprintf(
			"more than %d %s a second (%s): reading pauses; after %d s of it the session is closed with 1008",
			rates[which].perSecond, rateUnits[which], limitNames[rateLimits[which]], b.grace)}})
		if ce := b.opt.Log.Check(zap.DebugLevel, "session slowed down"); ce != nil {
			ce.Write(zap.String("limit", limitNames[rateLimits[which]]), zap.String("sid", b.session(slot)))
		}
	}
	rec.flags |= flagSlowed
	b.ps.Pause(slot)
	b.slowed = append(b.slowed, b.ps.ID(slot))
	return true
}

// streakGap is in ticks. A streak is a time in which a session runs out of tokens
// again and again: each time at most streakGap after it got tokens. Rates.Grace
// bounds a streak.
const streakGap = 2

// wait returns after how many ticks, at least one, every bucket of k has tokens.
func (b *buckets) wait(k *bucket, rates *[rateCount]rate) uint32 {
	wait := uint32(1)
	for i, r := range rates[:sessionRates] {
		if k.tokens[i] <= 0 && r.perSecond > 0 {
			wait = max(wait, uint32(-k.tokens[i]/r.perSecond)+1)
		}
	}
	return wait
}

// resume reads sessions again that were slowed down and have tokens, for the time
// of a chunk. It returns whether there are more to look at.
func (b *buckets) resume() (more bool) {
	for n := 1; b.due > 0; n++ {
		id := b.slowed[0]
		b.slowed = b.slowed[1:]
		b.due--
		if slot, ok := b.ps.Lookup(id); ok && b.rec(slot).flags&flagSlowed != 0 {
			if rec := b.rec(slot); exhausted(b.tokens(rec)) == rateCount {
				rec.flags &^= flagSlowed
				rec.pingedAt = b.ps.Now() // its pong could not be read
				b.readOn(slot, rec)
			} else {
				b.slowed = append(b.slowed, id)
			}
		}
		if n%64 == 0 && b.ps.Expired() {
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

// tick lets resume look at the sessions that wait for tokens, and frees the
// buckets that are full again, a part of them each second.
func (b *buckets) tick() {
	b.due = len(b.slowed)
	now := b.ps.Now()
	for range max(1024, b.all.Len()/32) {
		at, ok := b.all.Next(b.cursor)
		if !ok {
			b.cursor = 0
			break
		}
		b.cursor = at + 1
		if k := b.all.At(at); b.refill(b.rec(k.slot), k, now) && now > k.last+streakGap {
			b.drop(k.slot, b.rec(k.slot))
		}
	}
	b.all.Trim()
	b.user.tick(now)
}

func (b *buckets) close() {
	b.all.Close()
	b.user.close()
}
