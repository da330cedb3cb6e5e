package session

import (
	"context"
	"hash/fnv"
	"slices"
	"sync/atomic"
	"time"

	"belfry/poller"
)

// delivery is one message on its way to the shards of this node. It is shared
// by them and does not change, but for what is encoded when it is first needed.
type delivery struct {
	msg     *Message
	key     uint64 // what the policy latest-only replaces by
	exclude name   // valid if excluding
	without bool
	batches [maxEncodings]atomic.Pointer[poller.Batch]
}

func (s *Server) newDelivery(m *Message) *delivery {
	d := &delivery{msg: m, key: conflationKey(m)}
	if m.Exclude != "" {
		if n, ok := parseID(m.Exclude, &s.opt.Key); ok && n.node == s.opt.Node {
			d.exclude, d.without = n, true
		}
	}
	// Encoded here, on the publisher's goroutine, for every encoding that
	// anybody speaks; a shard does it only for one that has just appeared.
	for i := range s.opt.Encodings {
		if s.speakers[i].Load() > 0 {
			d.batch(&s.opt, uint8(i))
		}
	}
	return d
}

// conflationKey hashes a message's key, or its target if it has none, to
// something other than 0.
func conflationKey(m *Message) uint64 {
	f := fnv.New64a()
	if m.Key != "" {
		f.Write([]byte{'k'})
		f.Write([]byte(m.Key))
	} else {
		f.Write([]byte{'0' + byte(m.Target.Scope)})
		for _, n := range m.Target.Names {
			f.Write([]byte(n))
			f.Write([]byte{0})
		}
	}
	return f.Sum64() | 1
}

// batch returns the message's frame in an encoding, built at the first call.
func (d *delivery) batch(o *Options, encoding uint8) *poller.Batch {
	p := &d.batches[encoding]
	if b := p.Load(); b != nil {
		return b
	}
	frame := o.Encodings[encoding].AppendMessage(make([]byte, 0, len(d.msg.Payload)+frameRoom), d.msg)
	p.CompareAndSwap(nil, poller.NewBatch(poller.NewFrame(slices.Clip(frame), d.key)))
	return p.Load()
}

// frameRoom is what an encoding usually adds to a payload, in bytes.
const frameRoom = 16

// frame returns the only frame of batch.
func (d *delivery) frame(o *Options, encoding uint8) *poller.Frame {
	return d.batch(o, encoding).Frame(0)
}

// excludes says whether the session is the one that is not to get the message.
func (d *delivery) excludes(h *shard, slot uint32) bool {
	return d.without && int(d.exclude.shard) == h.index && d.exclude.id == h.ps.ID(slot)
}

// OverloadedError says that a message was not delivered to anybody because
// something on this node is full. What is asked for may be tried again.
type OverloadedError struct{ What string }

func (e *OverloadedError) Error() string { return "overloaded: " + e.What + " is full" }

// Pace waits while the shards that a message to users or sessions would go to
// have more waiting than they should, in all no longer than told or until ctx
// is done, and returns whether it had to. Called before Deliver it slows down
// whoever pushes faster than the sockets can be written to, where Deliver alone
// refuses. done, never nil, is to be called after Deliver: until then the place
// that was waited for is kept. (Of several shards, that of the last: a shard is
// not to stand still because a push to it waits for another.)
func (s *Server) Pace(ctx context.Context, t Target, wait time.Duration) (waited bool, done func()) {
	late := time.Now().Add(wait)
	var entry poller.Entry
	for home, is := range s.homes(t) {
		if !is {
			continue
		}
		entry.Done()
		w, e := s.shards[home].ps.Uncrowded(ctx, time.Until(late))
		waited, entry = waited || w, e
	}
	return waited, entry.Done
}

// homes marks the shards to which a message to users or sessions goes.
func (s *Server) homes(t Target) []bool {
	homes := make([]bool, len(s.shards))
	for _, name := range t.Names {
		switch t.Scope {
		case ScopeUsers:
			home, _ := s.homeOf(name)
			homes[home] = true
		case ScopeSessions:
			if n, ok := s.ours(name); ok {
				homes[n.shard] = true
			}
		}
	}
	return homes
}

// ours returns what sid says if this node made it.
func (s *Server) ours(sid string) (name, bool) {
	n, ok := parseID(sid, &s.opt.Key)
	return n, ok && n.node == s.opt.Node && int(n.shard) < len(s.shards)
}

// deliver starts on a message that came by mail.
func (h *shard) deliver(d *delivery) {
	n := h.stage(d)
	h.counters.deliveries.Add(uint64(n))
	if d.msg.Target.Scope >= ScopeUsers && !d.msg.Received.IsZero() && n > 0 {
		h.unsent = append(h.unsent, unsent{d.msg.Received, n})
	}
	if h.ps.Staged() == 0 {
		h.OnSubmitted()
	}
}

// unsent is a push whose sends are staged.
type unsent struct {
	received time.Time
	sends    int
}

// OnSubmitted implements poller.Handler. Only now have the pushes reached the
// sockets.
func (h *shard) OnSubmitted() {
	if len(h.unsent) == 0 {
		return
	}
	now := time.Now()
	for _, u := range h.unsent {
		for range u.sends {
			h.latency.observe(now.Sub(u.received))
		}
	}
	h.unsent = h.unsent[:0]
}

// stage stages the sends of a message, or hands it to the pass, and returns how
// many it staged.
func (h *shard) stage(d *delivery) (n int) {
	switch d.msg.Target.Scope {
	case ScopeAll:
		h.pass.add(queued{d: d})
	case ScopeTopics:
		n = h.deliverTopics(d)
	case ScopeUsers:
		for i, uid := range d.msg.Target.Names {
			home, hash := h.srv.homeOf(uid)
			if home == h.index && !slices.Contains(d.msg.Target.Names[:i], uid) {
				n += h.deliverUser(d, hash, uid)
			}
		}
	case ScopeSessions:
		for i, sid := range d.msg.Target.Names {
			id, ok := h.srv.ours(sid)
			if !ok || int(id.shard) != h.index || slices.Contains(d.msg.Target.Names[:i], sid) {
				continue
			}
			if slot, ok := h.ps.Lookup(id.id); ok {
				n += h.send(slot, d)
			}
		}
	}
	return n
}

func (h *shard) deliverUser(d *delivery, hash uint32, uid string) (n int) {
	slot, ok := h.findUser(hash, []byte(uid))
	for ok {
		older := h.rec(slot).older
		n += h.send(slot, d)
		slot, ok = older-1, older != 0
	}
	return n
}

// send stages a message for one session, if that is to get it, and returns 1
// then.
func (h *shard) send(slot uint32, d *delivery) int {
	rec := h.rec(slot)
	if rec.state != stateOpen || rec.flags&flagEcho != 0 || d.excludes(h, slot) {
		return 0
	}
	h.ps.Stage(slot, d.batch(h.opt, rec.encoding))
	return 1
}

// smallTopic is how many members a topic may have for its messages to be sent
// at once instead of in a pass.
const smallTopic = 64

// deliverTopics starts on a message to topics. If they are small, and nothing
// that waits names one of them, it need not wait for the pass that is running.
func (h *shard) deliverTopics(d *delivery) (n int) {
	q := queued{d: d}
	members, waiting := 0, false
	for _, topicName := range d.msg.Target.Names {
		t, ok := h.topics.find(h.topicHash([]byte(topicName)), []byte(topicName))
		if !ok || slices.Contains(q.topics, t) {
			continue
		}
		q.topics = append(q.topics, t)
		members += h.topics.at(t).members.Len()
		waiting = waiting || h.topics.at(t).queued > 0
	}
	switch {
	case members == 0 && !waiting:
		h.ps.Release(poller.LaneBulk, 1)
	case members <= smallTopic && !waiting:
		n = h.deliverSmall(d, q.topics)
		h.ps.Release(poller.LaneBulk, 1)
	default:
		for _, t := range q.topics {
			h.topics.at(t).queued++
		}
		h.pass.add(q)
	}
	return n
}

// deliverSmall sends a message to all members of some topics, once to each.
func (h *shard) deliverSmall(d *delivery, topics []uint32) (sent int) {
	var slots [smallTopic]uint32
	n := 0
	for _, t := range topics {
		for _, slot := range h.topics.slots(t) {
			if len(topics) == 1 || !slices.Contains(slots[:n], slot) {
				slots[n] = slot
				n++
			}
		}
	}
	for _, slot := range slots[:n] {
		sent += h.send(slot, d)
	}
	return sent
}
