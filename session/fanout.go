package session

import (
	"math/bits"
	"slices"
	"time"

	"belfry/message"
	"belfry/poller"
)

// Bounds of what one fan-out run sends to a session in one write.
const (
	runMessages = 64                     // each has a bit in a mask
	runBytes    = 64 << 10               // of payloads
	runTopics   = message.MaxTargetNames // the run searches them for each session
)

// fanoutItem is a message that waits for a fan-out run or is in one. It holds a
// place in the shard's mailbox until it was sent.
type fanoutItem struct {
	d       *Delivery
	topics  []uint32     // the topics that it names, as far as they exist on this shard
	ids     []poller.ID  // the sessions of a message to users
	users   []uint32     // the hashes of their uids
	changed uint64       // users.changed when ids was made
	queue   poller.Queue // in which it holds a place
}

// listBytes returns the bytes of its list of sessions.
func (q *fanoutItem) listBytes() int64 { return int64(8 * len(q.ids)) }

// scope returns the scope of the target; messages of one scope can share a run.
func (q *fanoutItem) scope() message.Scope { return q.d.Message.Target.Scope }

// fanoutRuns sends messages to many sessions, in fan-out runs. A run walks over the
// sessions and gives each of them, in one write, the messages that were waiting
// when the run began. It works in chunks bounded by time, so that events and single
// pushes are served between two chunks. Messages that arrive meanwhile wait for
// the next run and are sent together there. Owned by the shard.
type fanoutRuns struct {
	env
	topics    *topics
	latencies *latencies

	leaving *departures // sessions that get messages up to one of them, and no more
	giving  *giving     // sessions that go to another process
	taking  *taking     // and that came from one
	acks    *acks       // counts for tallies

	waiting []fanoutItem
	added   uint64         // messages that were added since the start
	begun   uint64         // those whose run has begun
	users   map[uint32]int // how many messages to a user wait or are being sent, by hash of the uid

	// The run in progress.
	current   []fanoutItem // its messages, in order
	active    bool
	runNumber uint32 // in the records of the sessions it has visited
	all       bool   // it visits every session; else the sessions in ids, or the members of topics
	ids       []poller.ID
	full      uint64 // the mask with a bit for each message
	counted   uint64 // the mask of the messages that have a tally
	cursor    uint32 // next slot, next place in ids, or next place in the members of masks[topicAt]
	topicAt   int
	masks     []topicMask
	cache     []joined // by variant
	excluding bool     // some message excludes sessions or topics
	sent      uint64
}

// joined holds the messages of a mask as the bytes of one write.
type joined struct {
	mask  uint64
	batch *poller.Frames
	more  map[uint64]*poller.Frames // by other masks; at most maxMasks
}

// topicMask says which messages of the run go to a topic.
type topicMask struct {
	topic uint32
	mask  uint64
}

func (p *fanoutRuns) init(e *env, ts *topics, l *latencies) {
	p.env, p.topics, p.latencies = *e, ts, l
	p.cache = make([]joined, len(e.srv.protocols.variants))
}

// add queues a message. Shard.OnWork runs later in the same turn.
func (p *fanoutRuns) add(q fanoutItem) {
	for _, user := range q.users {
		if p.users == nil {
			p.users = map[uint32]int{}
		}
		p.users[user]++
	}
	p.waiting = append(p.waiting, q)
	p.added++
}

// hasUser says whether a message to a user with that hash waits or is being sent.
// A later message to the user must not overtake it.
func (p *fanoutRuns) hasUser(user uint32) bool { return len(p.users) > 0 && p.users[user] > 0 }

// sameIDs returns the list of sessions of the newest waiting message, if it is for
// the same users and no user's sessions have changed since; else nil.
func (p *fanoutRuns) sameIDs(d *Delivery, changed uint64) []poller.ID {
	if len(p.waiting) == 0 {
		return nil
	}
	q := &p.waiting[len(p.waiting)-1]
	if q.ids == nil || q.changed != changed || !slices.Equal(q.d.Message.Target.Names, d.Message.Target.Names) {
		return nil
	}
	return q.ids
}

// run works until no message waits or the chunk is over, and returns whether there
// is more to do.
func (p *fanoutRuns) run() (more bool) {
	defer p.flushCounters()
	defer p.ps.Submit()
	for {
		if !p.active {
			p.leaving.run()
			p.giving.run()
			if p.giving.holds() || !p.begin() {
				return false
			}
		}
		if !p.runChunk() {
			return true
		}
		p.finish()
	}
}

// begin starts a run with the oldest waiting messages of one scope. It returns
// false if no message waits.
func (p *fanoutRuns) begin() bool {
	if len(p.waiting) == 0 {
		return false
	}
	first := &p.waiting[0]
	p.all, p.ids = first.scope() == message.ScopeAll, first.ids
	n, size, topics := 0, 0, 0
	barrier, leaving := p.leaving.barrier()
	border, came := p.taking.next()
	for _, q := range p.waiting {
		size += len(q.d.Message.Payload)
		topics += len(q.topics)
		if n == runMessages || n > 0 && (size > runBytes || topics > runTopics) || q.scope() != first.scope() || !sameList(q.ids, p.ids) ||
			leaving && p.begun+uint64(n) == barrier || came && p.begun+uint64(n) == border {
			break
		}
		n++
	}
	p.begun += uint64(n)
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
	p.excluding, p.counted = false, 0
	p.masks = p.masks[:0]
	for i, q := range p.current {
		if q.d.tally != nil {
			p.counted |= 1 << i
		}
		p.excluding = p.excluding || q.d.excluding()
		if q.d.Message.Expired() {
			p.counters.expired.Add(1)
			p.full &^= 1 << i
			p.excluding = true // some session may get nothing
			continue
		}
		for _, t := range q.topics {
			p.addMask(t, 1<<i)
		}
	}
	if p.giving.out != nil {
		for i := range p.current {
			p.giving.forward(p.current[i].d)
		}
	}
	p.counters.fanoutRuns.Add(1)
	p.counters.coalesced.Add(uint64(n - 1))
	return true
}

// sameList says whether two lists of sessions are equal; usually they are the same
// slice.
func sameList(a, b []poller.ID) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
}

func (p *fanoutRuns) addMask(t uint32, bit uint64) {
	for i := range p.masks {
		if p.masks[i].topic == t {
			p.masks[i].mask |= bit
			return
		}
	}
	p.masks = append(p.masks, topicMask{t, bit})
}

// runChunk continues the run. It returns false if the chunk is over before the
// run is.
func (p *fanoutRuns) runChunk() (done bool) {
	if p.counted != 0 {
		return p.runCounted()
	}
	ps := p.ps
	for n := 1; ; n++ {
		slot, ok := p.next(ps)
		if !ok {
			return true
		}
		if _, pause := p.visit(slot); (pause || n%64 == 0) && ps.Expired() {
			return false
		}
	}
}

// next returns the next session to visit and moves the cursor beyond it.
func (p *fanoutRuns) next(ps *poller.Shard) (slot uint32, ok bool) {
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

// visit gives a session its messages, unless it was visited or opened after the
// run began. It returns which, and whether it is time to look at the clock.
func (p *fanoutRuns) visit(slot uint32) (mask uint64, pause bool) {
	rec := p.rec(slot)
	if rec.state != stateOpen || rec.fanoutRun == p.runNumber || rec.flags&flagEcho != 0 {
		return 0, false
	}
	rec.fanoutRun = p.runNumber
	if p.taking.until != nil && p.taking.has(slot) {
		return 0, false
	}
	mask = p.full
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
			return 0, false
		}
	}
	b := p.batch(rec.variant, mask)
	p.sent += uint64(b.Len())
	return mask, p.ps.Send(slot, poller.Shared(b), poller.Data)
}

// topicsMask returns the messages for the topics that a session is subscribed to.
func (p *fanoutRuns) topicsMask(rec *record) (mask uint64) {
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

// maxMasks is how many combinations of messages a run keeps joined for each
// variant; with runBytes that is at most 16 MiB.
const maxMasks = 256

// batch returns the messages of a mask as the bytes of one write. Nearly always
// the mask is that of the session before.
func (p *fanoutRuns) batch(variant uint8, mask uint64) *poller.Frames {
	c := &p.cache[variant]
	if c.batch != nil && c.mask == mask {
		return c.batch
	}
	b := c.more[mask]
	if b == nil {
		b = p.joinFrames(variant, mask)
		if c.more == nil && c.batch != nil { // the second combination of this run
			c.more = make(map[uint64]*poller.Frames)
		}
		if c.more != nil && len(c.more) < maxMasks {
			c.more[mask] = b
		}
	}
	c.mask, c.batch = mask, b
	return b
}

// joinFrames joins the frames of the messages of a mask.
func (p *fanoutRuns) joinFrames(variant uint8, mask uint64) *poller.Frames {
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

// finish ends the run and gives back what its messages held.
func (p *fanoutRuns) finish() {
	p.ps.Submit() // the last sends are part of the run
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

// release gives back what a message holds: its place, its bytes, its topics.
func (p *fanoutRuns) release(q fanoutItem) {
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

// drop releases all messages. Called when the shard stops.
func (p *fanoutRuns) drop() {
	if p.active {
		p.finish()
	}
	for _, q := range p.waiting {
		p.release(q)
	}
	p.waiting = nil
}

// flushCounters adds the sends of a chunk to the counters.
func (p *fanoutRuns) flushCounters() {
	p.counters.deliveries.Add(p.sent)
	p.sent = 0
}

// visited returns how many members of a topic the run has visited, counted from
// the first; 0 if the run is not at that topic.
func (p *fanoutRuns) visited(t uint32) uint32 {
	if !p.active || p.all || p.topicAt >= len(p.masks) || p.masks[p.topicAt].topic != t {
		return 0
	}
	return p.cursor
}

// stepBack moves the cursor back by one: a member before it is leaving.
func (p *fanoutRuns) stepBack() { p.cursor-- }
