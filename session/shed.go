package session

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"belfry/pace"
	"belfry/wire"
)

// Shed is an order to close sessions of this node, a few at a time, whose clients are told
// to come back later, each after another delay.
type Shed struct {
	Reason Reason  // ReasonDrain or ReasonRebalance
	Rate   float64 // sessions a second, of all shards together; at most pace.Ceiling of it in any second
	Most   int     // sessions to close; 0: all that there are, and those that come meanwhile
}

// shedOrder is the part of a Shed for one shard.
type shedOrder struct {
	reason Reason
	rate   float64
	phase  float64 // of its bucket
	most   int     // -1: no limit
}

// shedding closes sessions of a shard by an order, at the pace of a bucket of its own. A
// session that is in the middle of something is passed over, and met again in the next
// round through the slots. Owned by the shard. While there is no order, it costs a look at
// one field in each turn.
type shedding struct {
	env
	h      *shard
	order  shedOrder
	on     bool
	bucket pace.Bucket
	begun  time.Duration // by Server.clock
	next   time.Duration // when the next batch is due
	wake   *time.Timer   // starts a turn for it; nil: there was no order yet
	left   int           // sessions that are due and not ended yet
	looks  int           // slots that may still be looked at for them
	cursor uint32        // next slot
	rounds int           // how often the cursor came to the end
}

// patience is how many rounds a session may be in the middle of something before a drain
// closes it all the same, and drainPatience how long it waits at least.
const (
	patience      = 2
	drainPatience = 5 * time.Second
)

// take takes an order, which replaces the one before. A rate of 0 ends it.
func (s *shedding) take(o shedOrder) {
	if o.rate <= 0 {
		s.stop()
		return
	}
	now := s.srv.clock()
	s.order, s.on, s.left = o, true, 0
	s.begun, s.rounds = now, 0
	s.bucket = pace.NewBucket(o.rate, o.phase, now)
	s.next = now
	if s.wake == nil {
		s.wake = time.AfterFunc(pace.Step, s.ps.Wake)
	}
	s.ps.Wake()
}

func (s *shedding) stop() {
	s.on = false
	if s.wake != nil {
		s.wake.Stop()
	}
}

// run closes the sessions that are due, for the time of a chunk. It says whether there are
// more.
func (s *shedding) run() (more bool) {
	if !s.on {
		return false
	}
	if s.left == 0 {
		now := s.srv.clock()
		if now < s.next {
			return false
		}
		s.left, s.next = s.bucket.Take(now), now+pace.Step
		s.looks = maxLooks + 16*s.left
		if s.order.most >= 0 {
			s.left = min(s.left, s.order.most)
		}
		s.wake.Reset(pace.Step)
	}
	for n := 1; s.left > 0; n++ {
		slot, ok := s.ps.Next(s.cursor)
		if !ok || s.looks == 0 {
			s.giveBack(!ok)
			return false
		}
		s.cursor = slot + 1
		s.looks--
		if s.close(slot) {
			s.left--
			if s.order.most > 0 {
				s.order.most--
			}
		}
		if n%16 == 0 && s.ps.Expired() {
			return s.left > 0
		}
	}
	if s.order.most == 0 {
		s.stop()
	}
	return false
}

// maxLooks is how many slots are looked at in a step besides those of the sessions that
// are due: where most sessions are busy, a step must not walk over all of them.
const maxLooks = 256

// giveBack ends a step in which not enough sessions were found. Those that are due are due
// in the next one, which begins a further round if the cursor came to the end.
func (s *shedding) giveBack(end bool) {
	if end {
		s.cursor = 0
		s.rounds++
	}
	s.bucket.Give(s.left)
	s.left = 0
}

// close ends a session unless it is busy. It returns false if the session goes on.
func (s *shedding) close(slot uint32) bool {
	rec := s.rec(slot)
	patient := s.order.reason != ReasonDrain || s.rounds < patience || s.srv.clock()-s.begun < drainPatience
	switch {
	case rec.state != stateOpen && (rec.state != stateLogin || patient):
		return false
	case patient && s.h.busy(slot, rec):
		return false
	}
	s.h.advise(slot, s.order.reason)
	s.counters.shed[s.order.reason].Add(1)
	return true
}

// busy says whether an open session is in the middle of something: a message that is not
// complete, one that is not sent, or a command that is not answered.
func (h *shard) busy(slot uint32, rec *record) bool {
	return rec.state != stateOpen || h.ps.Unread(slot) || h.ps.Deferred(slot) || h.ps.Backlogged(slot) ||
		rec.flags&flagInbound != 0 && h.assembly.of(slot, rec).Active() || h.undecided(slot, rec)
}

// undecided says whether a session waits for a decision, or for the answer of a backend.
func (h *shard) undecided(slot uint32, rec *record) bool {
	id := h.ps.ID(slot)
	return rec.flags&(flagAuth|flagLeaving|flagReclaimed|flagHeld) != 0 || h.decisions.unanswered[id] > 0 || h.decisions.waiting[id] != nil ||
		h.renewals.waiting[id] != nil || h.pubs.own[id] > 0 || !h.eventing.answered(slot, rec) || h.eventing.busy(slot, rec)
}

// advise ends a session whose client is told when to come back. The text of the close
// frame has the delay for clients that get no bye.
func (h *shard) advise(slot uint32, r Reason) {
	after := h.delays.Next()
	text := fmt.Sprintf("%s, reconnect after %.1f s", r.Text(), after.Seconds())
	h.closer.endAs(slot, r, wire.Close{Code: r.Code(), Text: text, Reconnect: true, After: after})
}

// newDelays returns the delays of a shard.
func (o *Options) newDelays() pace.Delays {
	return pace.NewDelays(o.ReconnectAfter, o.ReconnectSpread, rand.Uint32())
}

// Shed closes sessions by an order, which replaces the one before, and returns when the
// shards have it. Each shard gets a part of the rate and of Most by its share of the
// connections, once, and keeps time on its own. Sessions in the middle of a message or of
// a command are passed over and met again later; ReasonDrain closes them at the latest
// when they were met three times and five seconds have passed. Shutdown ends the order.
// Any goroutine but a shard's.
func (s *Server) Shed(ctx context.Context, o Shed) error {
	if o.Reason != ReasonDrain && o.Reason != ReasonRebalance || o.Rate <= 0 || o.Most < 0 {
		return fmt.Errorf("session: an order to shed %+v; allowed are ReasonDrain and ReasonRebalance, a Rate above 0 and a Most of at least 0", o)
	}
	held := make([]atomic.Int64, len(s.shards))
	if err := s.onceOnEach(ctx, func(h *shard) { held[h.index].Store(int64(h.ps.Len())) }); err != nil {
		return err
	}
	connections := make([]int, len(held))
	for i := range held {
		connections[i] = int(held[i].Load())
	}
	return s.orderShards(ctx, o.parts(connections))
}

// parts divides an order among shards with so many connections.
func (o Shed) parts(connections []int) []shedOrder {
	all := 0
	for _, n := range connections {
		all += n + 1 // a shard without any may get some
	}
	parts := make([]shedOrder, len(connections))
	before, offset := 0, rand.Float64() // each shard has its turn if Most is less than the shards
	upTo := func(n int) int { return int(float64(o.Most)*float64(n)/float64(all) + offset) }
	for i, n := range connections {
		parts[i] = shedOrder{reason: o.Reason, rate: o.Rate * float64(n+1) / float64(all), phase: float64(len(parts)-i-1) / float64(len(parts)), most: -1}
		if o.Most > 0 {
			if parts[i].most = upTo(before+n+1) - upTo(before); parts[i].most == 0 {
				parts[i].rate = 0 // no order
			}
		}
		before += n + 1
	}
	return parts
}

// StopShedding ends the order of Shed, and returns when no shard closes sessions by it any
// more. Any goroutine but a shard's.
func (s *Server) StopShedding(ctx context.Context) error { return s.orderShards(ctx, nil) }

// orderShards gives the shards their orders; nil: they have none any more.
func (s *Server) orderShards(ctx context.Context, parts []shedOrder) error {
	return s.onceOnEach(ctx, func(h *shard) {
		if parts == nil {
			h.shedding.stop()
			return
		}
		h.shedding.take(parts[h.index])
	})
}

// onceOnEach calls f on each shard and waits.
func (s *Server) onceOnEach(ctx context.Context, f func(h *shard)) error {
	return s.onEach(ctx, s.shards, func(*shard) func(h *shard) bool {
		return func(h *shard) bool {
			f(h)
			return false
		}
	})
}

// Shedded returns how many sessions were closed by orders for a reason, since the start.
// Any goroutine.
func (s *Server) Shedded(r Reason) (n uint64) {
	for _, h := range s.shards {
		n += h.counters.shed[r].Load()
	}
	return n
}

// Sessions returns the number of open sessions. Any goroutine.
func (s *Server) Sessions() int { return int(max(s.sessions.Load(), 0)) }
