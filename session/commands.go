package session

import (
	"errors"
	"fmt"
	"time"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
)

// minPendingSubs is how many sub commands of a session may wait for their answers
// where session.max_topics is less: several may name the same topic.
const minPendingSubs = 16

// pendingSub is a sub command that waits for the bus.
type pendingSub struct {
	ref     string
	pending int  // topics
	failed  bool // and answered
}

// pub is a message of a client on its way to Options.Publish.
type pub struct {
	from poller.ID
	ref  string
	msg  *message.Message
	size int // charged until it is published
}

// command does what a client asks for.
func (h *shard) command(slot uint32, rec *record, c *wire.Command) {
	h.counters.commands[c.Op].Add(1)
	h.read.left[rateCommands] -= int32(max(1, len(c.Topics), len(c.Target.Names)))
	switch c.Op {
	case wire.OpSub:
		h.subscribe(slot, rec, c)
	case wire.OpUnsub:
		for _, topicName := range c.Topics {
			if t, ok := h.topics.find(h.topicHash([]byte(topicName)), []byte(topicName)); ok {
				h.leaveTopic(rec, t)
			}
		}
		h.wakeWaiters() // whose answers come before this one's
		h.reply(slot, &wire.Reply{Ref: c.Ref})
	case wire.OpPub:
		h.publish(slot, c)
	case wire.OpLogin:
		h.fail(slot, c.Ref, "bad_request", "", "this session needs no login, or has had it")
	default:
		h.reply(slot, &wire.Reply{Ref: c.Ref})
	}
}

func (h *shard) fail(slot uint32, ref, code, field, text string) {
	h.reply(slot, &wire.Reply{Ref: ref, Err: &wire.CommandError{Code: code, Field: field, Text: text, Ref: ref}})
}

// subscribe enters a session into topics, all or none of those that are
// asked for. It is answered when the bus carries all of them to this node.
func (h *shard) subscribe(slot uint32, rec *record, c *wire.Command) {
	for _, topicName := range c.Topics {
		if !h.opt.MaySubscribe(topicName) {
			h.fail(slot, c.Ref, "forbidden", "topics", fmt.Sprintf("%q is not open to you (session.open_topics)", topicName))
			return
		}
	}
	if most := max(h.opt.MaxTopics, minPendingSubs); int(rec.awaited) >= most {
		h.counters.limit(limitTopics)
		h.fail(slot, c.Ref, "too_many_topics", "topics", fmt.Sprintf("%d sub commands wait for their answers; at most %d may", rec.awaited, most))
		return
	}
	before := rec.count
	sub := &pendingSub{ref: c.Ref}
	for _, topicName := range c.Topics {
		if int(rec.count) >= h.opt.MaxTopics {
			if _, ok := h.memberOf(rec, topicName); !ok {
				h.counters.limit(limitTopics)
				sub.failed = true
				h.undo(rec, before)
				h.fail(slot, c.Ref, "too_many_topics", "topics", fmt.Sprintf("a session may have 1 to %d topics", h.opt.MaxTopics))
				return
			}
		}
		t, _, err := h.joinTopic(slot, rec, topicName)
		if err != nil {
			h.counters.limit(limitMemory)
			sub.failed = true
			h.undo(rec, before)
			h.fail(slot, c.Ref, "unavailable", "", "this server's tables are full")
			return
		}
		if !h.topics.at(t).ready {
			h.topics.await(t, waiter{h.ps.ID(slot), sub})
			sub.pending++
		}
	}
	if sub.pending == 0 {
		h.reply(slot, &wire.Reply{Ref: c.Ref})
		return
	}
	rec.awaited++
}

func (h *shard) memberOf(rec *record, topicName string) (t uint32, ok bool) {
	if t, ok = h.topics.find(h.topicHash([]byte(topicName)), []byte(topicName)); ok {
		_, ok = h.member(rec, t)
	}
	return t, ok
}

// undo takes back the newest memberships until as many are left as before.
func (h *shard) undo(rec *record, before uint16) {
	for rec.count > before {
		h.leaveTopic(rec, h.topics.links.At(rec.topics-1).topic)
	}
}

// subscribed counts down what a sub command waits for.
func (h *shard) subscribed(slot uint32, sub *pendingSub) {
	if sub.pending--; sub.pending > 0 || sub.failed {
		return
	}
	if rec := h.rec(slot); rec.state == stateOpen {
		rec.awaited--
		h.reply(slot, &wire.Reply{Ref: sub.ref})
	}
}

// reply answers a command.
func (h *shard) reply(slot uint32, r *wire.Reply) {
	rec := h.rec(slot)
	if rec.state != stateOpen {
		return
	}
	if r.Err != nil {
		h.counters.commandError(r.Err.Code)
	}
	e := h.variantOf(rec).Encoding
	if h.read.on && h.read.slot == slot {
		w := h.say(rec, h.read.out)
		e.Reply(w, r)
		if h.read.out = w.Bytes(); len(h.read.out) >= flushAnswers {
			h.flushAnswers(slot)
		}
		return
	}
	w := h.say(rec, h.buf[:0])
	e.Reply(w, r)
	if h.buf = w.Bytes(); len(h.buf) > 0 {
		h.ps.Send(slot, poller.Bytes(h.buf), poller.Data)
	}
}

// publish hands a client's message to the shard's publisher, so that neither
// the bus nor a full mailbox can hold the shard up.
func (h *shard) publish(slot uint32, c *wire.Command) {
	if h.opt.Publish == nil {
		h.fail(slot, c.Ref, "forbidden", "", "clients may not publish here (session.publish)")
		return
	}
	m := &message.Message{Target: c.Target, Kind: c.Kind, Payload: c.Payload, Received: time.Now()}
	p := pub{h.ps.ID(slot), c.Ref, m, pubSize(m)}
	if !h.chargePub(slot, &p) {
		h.counters.limit(limitInbound)
		h.fail(slot, c.Ref, "unavailable", "", "too many bytes are being published; try again")
		return
	}
	select {
	case h.pubs <- p:
	default:
		h.unchargePub(&p)
		h.pubQueue.uncharge(p.from, p.size)
		h.counters.limit(limitPubs)
		h.fail(slot, c.Ref, "unavailable", "", "too many messages are being published (session.publish_queue); try again")
	}
}

// publishError is what a client is told about an error of Options.Publish,
// which may choose the words by returning a *wire.CommandError.
func publishError(err error, ref string) *wire.CommandError {
	var told *wire.CommandError
	if errors.As(err, &told) {
		return &wire.CommandError{Code: told.Code, Field: told.Field, Text: told.Text, Ref: ref}
	}
	var field *message.FieldError
	if errors.As(err, &field) {
		return &wire.CommandError{Code: "bad_request", Field: field.Field, Text: field.Detail, Ref: ref}
	}
	return &wire.CommandError{Code: "unavailable", Text: err.Error(), Ref: ref}
}
