package session

import (
	"context"
	"hash/fnv"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
)

// delivery is one message on its way to the shards of this node. It is shared
// by them and does not change, but for what is encoded when it is first needed.
type delivery struct {
	srv     *Server
	msg     *message.Message
	key     uint64      // what the policy latest-only replaces by
	exclude message.SID // valid if without
	without bool
	size    int64                           // bytes, the payload and what it was encoded to
	batches []atomic.Pointer[poller.Frames] // by variant
	shards  atomic.Int32                    // that are not done with it
}

// newDelivery encodes m, on the publisher's goroutine, for every encoding that
// anybody speaks; a shard does it only for one that has just appeared. ok is
// false if an encoding panicked.
func (s *Server) newDelivery(m *message.Message) (d *delivery, ok bool) {
	d, ok = &delivery{srv: s, msg: m, key: conflationKey(m), size: int64(len(m.Payload))}, true
	if m.Target.Exclude != "" {
		if n, ok := message.ParseSID(m.Target.Exclude, &s.opt.Key); ok && n.Node == s.opt.Node {
			d.exclude, d.without = n, true
		}
	}
	d.batches = make([]atomic.Pointer[poller.Frames], len(s.perVariant))
	for i := range s.perVariant {
		if s.perVariant[i].Load() > 0 {
			frame, encoded := d.encode(uint8(i))
			d.batches[i].Store(poller.NewFrames(poller.NewFrame(frame, d.key)))
			d.size += int64(len(frame))
			ok = ok && encoded
		}
	}
	return d, ok
}

// encode builds the message's frame for a variant. One that panics gives no
// bytes: sending nothing harms nobody, and the fault costs this message only.
func (d *delivery) encode(variant uint8) (frame []byte, ok bool) {
	v := &d.srv.protocols.variants[variant]
	w := d.srv.writers.Get().(*wire.Writer)
	defer func() {
		if r := recover(); r != nil {
			d.srv.faults.Add(1)
			d.srv.opt.Log.Error("an encoding panicked; its clients do not get the message", zap.String("transport", v.Transport.Name()),
				zap.String("encoding", v.Encoding.Name()), zap.String("id", d.msg.ID), zap.Any("panic", r), zap.Stack("stack"))
			frame, ok = nil, false
		}
	}()
	w.Reset(v.Transport, make([]byte, 0, len(d.msg.Payload)+frameRoom))
	v.Encoding.Message(w, d.msg)
	frame = slices.Clip(w.Bytes())
	w.Reset(nil, nil)
	d.srv.writers.Put(w)
	return frame, true
}

// done says that a shard has sent the message to all its sessions.
func (d *delivery) done() {
	if d.shards.Add(-1) == 0 {
		d.srv.mailBytes.Add(-d.size)
	}
}

// conflationKey hashes a message's key, or its target if it has none, to
// something other than 0.
func conflationKey(m *message.Message) uint64 {
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

// batch returns the message's frame in an encoding.
func (d *delivery) batch(variant uint8) *poller.Frames {
	p := &d.batches[variant]
	if b := p.Load(); b != nil {
		return b
	}
	frame, _ := d.encode(variant)
	p.CompareAndSwap(nil, poller.NewFrames(poller.NewFrame(frame, d.key)))
	return p.Load()
}

// frameRoom is what an encoding usually adds to a payload, in bytes.
const frameRoom = 16

// frame returns the only frame of batch.
func (d *delivery) frame(variant uint8) *poller.Frame { return d.batch(variant).At(0) }

// excluding says whether some session may have to be left out.
func (d *delivery) excluding() bool { return d.without || len(d.msg.Target.ExcludeTopics) > 0 }

// excludes says whether the session does not receive the message although the
// target's names match it.
func (d *delivery) excludes(h *shard, slot uint32) bool {
	if d.without && int(d.exclude.Shard) == h.index && poller.ID(d.exclude.Conn) == h.ps.ID(slot) {
		return true
	}
	for _, name := range d.msg.Target.ExcludeTopics {
		if t, ok := h.topics.find(h.topicHash([]byte(name)), []byte(name)); ok {
			if _, subscribed := h.member(h.rec(slot), t); subscribed {
				return true
			}
		}
	}
	return false
}

// Pace waits while the shards of a message to users or sessions are crowded,
// for at most wait in all or until ctx is done, and returns whether it had to.
// Called before Deliver it slows backends down that push faster than sockets
// can be written to, where Deliver alone refuses. If most pushes wait for one of
// the shards already, or 1.5 × most for all shards of the node, it returns an
// *message.OverloadedError at once, so that pushes to a busy shard do not take all the
// requests that the API may serve. done, never nil, is to be called after
// Deliver; until then the place that was waited for is kept. (Of several
// shards, that of the last: a shard must not stand still because a push to it
// waits for another.)
func (s *Server) Pace(ctx context.Context, t message.Target, wait time.Duration, most int) (waited bool, done func(), err error) {
	late := time.Now().Add(wait)
	var entry poller.Entry
	for home, is := range s.homes(t) {
		if !is {
			continue
		}
		if s.shards[home].ps.TooManyWait(most) {
			return waited, entry.Done, &message.OverloadedError{What: "the queue of pushes that wait for a busy shard is full"}
		}
		entry.Done()
		w, e := s.shards[home].ps.Uncrowded(ctx, time.Until(late))
		waited, entry = waited || w, e
	}
	return waited, entry.Done, nil
}

// homes marks the shards to which a message to users or sessions goes.
func (s *Server) homes(t message.Target) []bool {
	homes := make([]bool, len(s.shards))
	for _, name := range t.Names {
		switch t.Scope {
		case message.ScopeUsers:
			home, _ := s.homeOf(name)
			homes[home] = true
		case message.ScopeSessions:
			if n, ok := s.ours(name); ok {
				homes[n.Shard] = true
			}
		}
	}
	return homes
}

// ours returns what sid says if this node made it.
func (s *Server) ours(sid string) (message.SID, bool) {
	n, ok := message.ParseSID(sid, &s.opt.Key)
	return n, ok && n.Node == s.opt.Node && int(n.Shard) < len(s.shards)
}

// deliver starts on a message that came by mail.
func (h *shard) deliver(d *delivery) {
	n, waits := 0, false
	defer func() { // also when something in it panics
		if waits {
			return
		}
		if d.msg.Target.Scope <= message.ScopeTopics {
			h.ps.Release(poller.LaneBulk, 1)
		}
		d.done()
	}()
	n, waits = h.stage(d)
	h.counters.deliveries.Add(uint64(n))
	if to, many := h.latencyOf(d); !d.msg.Received.IsZero() && n > 0 {
		if many {
			n = 1
		}
		h.unsent = append(h.unsent, unsent{d.msg.Received, n, to})
	}
	if h.ps.Staged() == 0 {
		h.OnSubmitted()
	}
}

// unsent is a push whose sends are staged.
type unsent struct {
	received time.Time
	sends    int
	to       *latency
}

// latencyOf returns where the time that a message takes is counted: of one to
// users and sessions for each send, of one to many once.
func (h *shard) latencyOf(d *delivery) (to *latency, many bool) {
	if d.msg.Target.Scope >= message.ScopeUsers {
		return &h.latency, false
	}
	return &h.fanoutLatency, true
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
			u.to.observe(now.Sub(u.received))
		}
	}
	h.unsent = h.unsent[:0]
}

// stage stages the sends of a message and returns how many, or hands it to the
// pass: then it waits.
func (h *shard) stage(d *delivery) (n int, waits bool) {
	switch d.msg.Target.Scope {
	case message.ScopeAll:
		h.pass.add(queued{d: d, lane: poller.LaneBulk})
		return 0, true
	case message.ScopeTopics:
		return h.deliverTopics(d)
	case message.ScopeUsers:
		return h.deliverUsers(d)
	}
	for i, sid := range d.msg.Target.Names {
		id, ok := h.srv.ours(sid)
		if !ok || int(id.Shard) != h.index || slices.Contains(d.msg.Target.Names[:i], sid) {
			continue
		}
		if slot, ok := h.ps.Lookup(poller.ID(id.Conn)); ok {
			n += h.send(slot, d)
		}
	}
	return n, false
}

// send stages a message for one session, if that is to get it, and returns 1
// then.
func (h *shard) send(slot uint32, d *delivery) int {
	rec := h.rec(slot)
	if rec.state != stateOpen || rec.flags&flagEcho != 0 || d.excludes(h, slot) {
		return 0
	}
	h.ps.Send(slot, poller.Shared(d.batch(rec.variant)), poller.Data)
	return 1
}
