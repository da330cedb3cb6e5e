package session

import (
	"math/bits"
	"slices"
	"time"

	"belfry/message"
	"belfry/poller"
)

// Bounds of what one pass sends to a session in one write.
const (
	runMessages = 64 // a bit each in a mask
	runBytes    = 64 << 10
	runTopics   = message.MaxTargetNames // they are searched for each session
)

// fanoutItem is a message that waits for its pass. It holds a place in the bulk
// lane of the shard's mailbox until it was sent.
type fanoutItem struct {
	d       *Delivery
	topics  []uint32     // of those that it names, the ones that exist here
	ids     []poller.ID  // of a message to users: the sessions that it is for
	users   []uint32     // and the hashes of their uids
	changed uint64       // shard.usersChanged when ids was made
	queue   poller.Queue // where it holds a place
}

func (q *fanoutItem) listBytes() int64 { return int64(8 * len(q.ids)) }

// scope tells messages that can share a pass.
func (q *fanoutItem) scope() message.Scope { return q.d.Message.Target.Scope }

// fanout goes through many sessions and gives each the messages that were
// waiting when it began, in one write. It works in chunks bounded by time, so
// that events and single pushes get their turn between them. Messages that
// come meanwhile wait for the next pass and are sent together there.
type fanout struct {
	env
	topics    *topics
	latencies *latencies

	waiting []fanoutItem
	users   map[uint32]int // messages to users that wait or are being sent, by hash of the uid

	// The pass that runs.
	current   []fanoutItem // in order
	active    bool
	runNumber uint32 // marks the sessions it has visited
	all       bool   // every session; else those of ids, or the members of topics
	ids       []poller.ID
	full      uint64 // mask with a bit for each message
	cursor    uint32 // next slot, or next place in the members of topics[turn]
	topicAt   int
	masks     []topicMask
	cache     []joined // by variant
	excluding bool     // some message excludes sessions
	sent      uint64
}

// joined is the messages of a mask as the bytes of one write.
type joined struct {
	mask  uint64
	batch *poller.Frames
	more  map[uint64]*poller.Frames // of other masks; at most maxMasks
}

// topicMask says which of the pass's messages go to a topic.
type topicMask struct {
	topic uint32
	mask  uint64
}

func (p *fanout) init(e *env, ts *topics, l *latencies) {
	p.env, p.topics, p.latencies = *e, ts, l
	p.cache = make([]joined, len(e.srv.protocols.variants))
}

// add queues a message. OnWork follows in the same turn.
func (p *fanout) add(q fanoutItem) {
	for _, user := range q.users {
		if p.users == nil {
			p.users = map[uint32]int{}
		}
		p.users[user]++
	}
	p.waiting = append(p.waiting, q)
}

// hasUser says whether a message to the user of that hash waits or is being
// sent, and so has to be waited for by others.
func (p *fanout) hasUser(user uint32) bool { return len(p.users) > 0 && p.users[user] > 0 }

// sameIDs returns the sessions of the newest message that waits if it is for
// the same users and no user's sessions have changed since.
func (p *fanout) sameIDs(d *Delivery, changed uint64) []poller.ID {
	if len(p.waiting) == 0 {
		return nil
	}
	q := &p.waiting[len(p.waiting)-1]
	if q.ids == nil || q.changed != changed || !slices.Equal(q.d.Message.Target.Names, d.Message.Target.Names) {
		return nil
	}
	return q.ids
}

// run works until there is nothing to do or the time is over, and returns
// whether there is more.
func (p *fanout) run() (more bool) {
	defer p.flushCounters()
	defer p.ps.Submit()
	for p.active || p.begin() {
		if !p.runChunk() {
			return true
		}
		p.finish()
	}
	return false
}

// begin takes the oldest waiting messages of one sort as the next pass.
func (p *fanout) begin() bool {
	if len(p.waiting) == 0 {
		return false
	}
	first := &p.waiting[0]
	p.all, p.ids = first.scope() == message.ScopeAll, first.ids
	n, size, topics := 0, 0, 0
	for _, q := range p.waiting {
		size += len(q.d.Message.Payload)
		topics += len(q.topics)
		if n == runMessages || n > 0 && (size > runBytes || topics > runTopics) || q.scope() != first.scope() || !sameList(q.ids, p.ids) {
			break
		}
		n++
	}
	p.current = append(p.current[:0], p.waiting[:n]...)
	clear(p.waiting[:n])
	if p.waiting = p.waiting[n:]; len(p.waiting) == 0 {
		p.waiting = nil
	}
	if p.runNumber++; p.runNumber == 0 {
		p.runNumber = 1
	}
	p.active, p.cursor, p.topicAt = true, 0, 0
	p.full = ^uint64(0) >> (runMessages - n)
	p.excluding = false
	p.masks = p.masks[:0]
	for i, q := range p.current {
		p.excluding = p.excluding || q.d.excluding()
		for _, t := range q.topics {
			p.addMask(t, 1<<i)
		}
	}
	p.counters.fanoutRuns.Add(1)
	p.counters.coalesced.Add(uint64(n - 1))
	return true
}

// sameList says whether two lists of sessions are equal; they mostly are one.
func sameList(a, b []poller.ID) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
}

func (p *fanout) addMask(t uint32, bit uint64) {
	for i := range p.masks {
		if p.masks[i].topic == t {
			p.masks[i].mask |= bit
			return
		}
	}
	p.masks = append(p.masks, topicMask{t, bit})
}

// runChunk goes on where the last chunk stopped. It returns false if the time is
// over before the pass is.
func (p *fanout) runChunk() (done bool) {
	ps := p.ps
	for n := 1; ; n++ {
		slot, ok := p.next(ps)
		if !ok {
			return true
		}
		if (p.visit(slot) || n%64 == 0) && ps.Expired() {
			return false
		}
	}
}

// next returns the next session and moves the cursor beyond it.
func (p *fanout) next(ps *poller.Shard) (slot uint32, ok bool) {
	if p.all {
		slot, ok = ps.Next(p.cursor)
		p.cursor = slot + 1
		return slot, ok
	}
	for int(p.cursor) < len(p.ids) {
		p.cursor++
		if slot, ok = ps.Lookup(p.ids[p.cursor-1]); ok {
			return slot, true
		}
	}
	for ; p.topicAt < len(p.masks); p.topicAt++ {
		members := p.topics.slots(p.masks[p.topicAt].topic)
		if int(p.cursor) < len(members) {
			p.cursor++
			return members[p.cursor-1], true
		}
		p.cursor = 0
	}
	return 0, false
}

// visit gives a session its messages, unless it has them or came later. It
// returns whether it is time to look at the clock.
func (p *fanout) visit(slot uint32) (pause bool) {
	rec := p.rec(slot)
	if rec.state != stateOpen || rec.fanoutRun == p.runNumber || rec.flags&flagEcho != 0 {
		return false
	}
	rec.fanoutRun = p.runNumber
	mask := p.full
	if !p.all && len(p.masks) > 1 {
		mask = p.topicsMask(rec)
	}
	if p.excluding {
		for i, q := range p.current {
			if q.d.excludes(p.topics, slot) {
				mask &^= 1 << i
			}
		}
		if mask == 0 {
			return false
		}
	}
	b := p.batch(rec.variant, mask)
	p.sent += uint64(b.Len())
	return p.ps.Send(slot, poller.Shared(b), poller.Data)
}

// topicsMask returns the messages for the topics that a session is subscribed to.
func (p *fanout) topicsMask(rec *record) (mask uint64) {
	for n := rec.topics; n != 0; {
		m := p.topics.links.At(n - 1)
		for i := range p.masks {
			if p.masks[i].topic == m.topic {
				mask |= p.masks[i].mask
			}
		}
		n = m.next
	}
	return mask
}

// maxMasks bounds the combinations of messages that a pass keeps joined, for
// each variant; with passBytes, 16 MiB.
const maxMasks = 256

// batch returns the messages of mask as the bytes of one write. Nearly always
// they are those of the session before.
func (p *fanout) batch(variant uint8, mask uint64) *poller.Frames {
	c := &p.cache[variant]
	if c.batch != nil && c.mask == mask {
		return c.batch
	}
	b := c.more[mask]
	if b == nil {
		b = p.joinFrames(variant, mask)
		if c.more == nil && c.batch != nil { // the second combination of this pass
			c.more = make(map[uint64]*poller.Frames)
		}
		if c.more != nil && len(c.more) < maxMasks {
			c.more[mask] = b
		}
	}
	c.mask, c.batch = mask, b
	return b
}

// joinFrames builds the batch of a mask.
func (p *fanout) joinFrames(variant uint8, mask uint64) *poller.Frames {
	if bits.OnesCount64(mask) == 1 {
		return p.current[bits.TrailingZeros64(mask)].d.batch(variant)
	}
	var frames [runMessages]*poller.Frame
	n := 0
	for m := mask; m != 0; m &= m - 1 {
		frames[n] = p.current[bits.TrailingZeros64(m)].d.frame(variant)
		n++
	}
	return poller.NewFrames(frames[:n]...)
}

// finish gives back what the pass held.
func (p *fanout) finish() {
	p.ps.Submit() // its last sends are part of it
	p.active, p.ids = false, nil
	clear(p.cache)
	now := time.Now()
	for _, q := range p.current {
		if received := q.d.Message.Received; !received.IsZero() {
			to, _ := p.latencies.of(q.d)
			to.observe(now.Sub(received))
		}
		p.release(q)
	}
	clear(p.current)
}

func (p *fanout) release(q fanoutItem) {
	p.ps.Release(q.queue, 1)
	q.d.done()
	p.srv.mailBytes.Add(-q.listBytes())
	for _, user := range q.users {
		if p.users[user]--; p.users[user] == 0 {
			delete(p.users, user)
		}
	}
	for _, t := range q.topics {
		p.topics.at(t).queued--
		p.topics.drop(t)
	}
}

// drop gives up all that is left, at the end of the shard.
func (p *fanout) drop() {
	if p.active {
		p.finish()
	}
	for _, q := range p.waiting {
		p.release(q)
	}
	p.waiting = nil
}

// flushCounters brings the counters up to date, once a chunk.
func (p *fanout) flushCounters() {
	p.counters.deliveries.Add(p.sent)
	p.sent = 0
}

// visited returns how many of a topic's members, from the first on, the pass
// has behind it, if it is at that topic.
func (p *fanout) visited(t uint32) uint32 {
	if !p.active || p.all || p.topicAt >= len(p.masks) || p.masks[p.topicAt].topic != t {
		return 0
	}
	return p.cursor
}

// stepBack moves the border back by one: a member before it is leaving.
func (p *fanout) stepBack() { p.cursor-- }
