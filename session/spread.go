package session

import (
	"time"

	"belfry/message"
	"belfry/poller"
)

// spreads send messages with a Message.Spread: each to the sessions that were open when it
// came, one after the other, evenly over that time. A spread has a cursor of its own and
// waits for no other message, and no other message waits for it: so it is outside the
// order of messages. Owned by the shard.
type spreads struct {
	env
	topics *topics

	list    []*spread
	wake    *time.Timer // starts a turn for the next step; nil: none has begun yet
	next    time.Time   // when the next step is due
	hurried bool        // the node stops: what is left is sent at once
	behind  bool        // a step had no time for all that is due
}

// spread is one message.
type spread struct {
	d      *Delivery
	begun  time.Time
	opened uint32 // sessions that opened after this second do not get it
	all    int    // sessions that it was for when it began, about
	given  int    // sessions that it was sent to
	cursor uint32 // next slot
}

// spreadStep is the time between two steps, each of which sends what is due.
const spreadStep = 20 * time.Millisecond

// begin starts the spread of a message.
func (p *spreads) begin(d *Delivery, now time.Time) {
	s := &spread{d: d, begun: now, opened: uint32(now.Unix())}
	p.list = append(p.list, s)
	if s.all = p.ps.Len(); d.Message.Target.Scope == message.ScopeTopics {
		members := 0
		for _, name := range d.Message.Target.Names {
			if t, ok := p.topics.find(name); ok {
				members += len(p.topics.slots(t))
			}
		}
		s.all = members // a session in several of the topics is counted for each
	}
	p.next = now // the first step comes with this turn
	if p.wake == nil {
		p.wake = time.AfterFunc(spreadStep, p.ps.Wake)
	}
}

// hurry has all that is left sent at once, before the sessions are closed.
func (p *spreads) hurry() { p.hurried = true }

// run takes a step if one is due. It works for the time of a chunk, but on some sessions
// at least, and says whether there is more to do now.
func (p *spreads) run() (more bool) {
	if len(p.list) == 0 {
		return false
	}
	return p.runAt(time.Now())
}

// runAt is run at a time.
func (p *spreads) runAt(now time.Time) (more bool) {
	if !p.hurried && !p.behind && now.Before(p.next) {
		return false
	}
	p.next = now.Add(spreadStep)
	defer p.ps.Submit()
	kept := p.list[:0]
	for i, s := range p.list {
		ended := false
		if more {
			kept = append(kept, p.list[i])
			continue
		}
		ended, more = p.step(s, now)
		if !ended {
			kept = append(kept, s)
		}
	}
	clear(p.list[len(kept):])
	if p.list = kept; more && len(kept) > 1 { // the next turn begins with another
		first := kept[0]
		copy(kept, kept[1:])
		kept[len(kept)-1] = first
	}
	p.behind = more
	if len(p.list) > 0 {
		p.wake.Reset(spreadStep)
	}
	return more
}

// due returns to how many sessions a spread should have been sent.
func (s *spread) due(now time.Time) int {
	return int(float64(s.all) * float64(now.Sub(s.begun)) / float64(s.d.Message.Spread))
}

// step sends a message to the sessions that are due. ended says that the message has been
// sent to all; more, that the chunk was over before all that is due were sent.
func (p *spreads) step(s *spread, now time.Time) (ended, more bool) {
	if s.d.Message.Expired() {
		p.counters.expired.Add(1)
		p.end(s)
		return true, false
	}
	rest := p.hurried || now.Sub(s.begun) >= s.d.Message.Spread
	due := s.due(now)
	for n := 1; rest || s.given < due; n++ {
		slot, ok := p.ps.Next(s.cursor)
		if !ok {
			p.end(s)
			return true, false
		}
		s.cursor = slot + 1
		p.visit(s, slot)
		if n%16 == 0 && p.ps.Expired() {
			return false, true
		}
	}
	return false, false
}

// visit sends a message to a session that it is for.
func (p *spreads) visit(s *spread, slot uint32) {
	rec := p.rec(slot)
	if rec.state != stateOpen || rec.flags&flagEcho != 0 || rec.openedAt > s.opened {
		return
	}
	if t := &s.d.Message.Target; t.Scope == message.ScopeTopics && !p.topics.hasAny(rec, t.Names) {
		return
	}
	s.given++ // also if it is excluded: it was counted
	if s.d.excludes(p.topics, slot) {
		return
	}
	p.ps.Send(slot, poller.Shared(s.d.batch(rec.variant)), poller.Data)
	p.counters.deliveries.Add(1)
}

// end gives back what a spread holds.
func (p *spreads) end(s *spread) {
	s.d.done()
}

// stop drops what is left. Called when the shard stops.
func (p *spreads) stop() {
	if p.wake != nil {
		p.wake.Stop()
	}
	for _, s := range p.list {
		p.counters.spreadLost.Add(uint64(max(s.all-s.given, 0)))
		p.end(s)
	}
	p.list = nil
}

// hasAny says whether a session is subscribed to one of the topics.
func (ts *topics) hasAny(rec *record, names []string) bool {
	for _, name := range names {
		if ts.has(rec, name) {
			return true
		}
	}
	return false
}
