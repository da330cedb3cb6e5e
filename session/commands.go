package session

import (
	"fmt"
	"time"

	"belfry/message"
	"belfry/wire"
)

// minPendingSubs is how many sub commands of a session may wait for their
// answers if session.max_topics is less: several may name the same topic.
const minPendingSubs = 16

// pendingSub is a sub command that waits for the bus. It is on the Go heap only
// while it waits.
type pendingSub struct {
	reply   wire.Reply
	pending int  // topics that are not ready
	failed  bool // refused, and the client was told; nothing more is answered
}

// commands does what clients ask for in commands of their encoding: sub, unsub,
// pub, ack, ping. Owned by the shard.
type commands struct {
	env
	topics    *topics
	grants    *grants
	clients   *clients
	events    *eventing
	decisions *decisions
	renewals  *renewals
	answers   *answers
	pubs      *pubQueue
	upgrader  *upgrader // told of upgrades whose topics are ready
	acks      *acks
}

// run does one command.
func (cs *commands) run(slot uint32, rec *record, c *wire.Command) {
	cs.counters.commands[c.Op].Add(1)
	switch c.Op {
	case wire.OpSub:
		cs.subscribe(slot, rec, c)
	case wire.OpUnsub:
		cs.unsubscribe(slot, rec, c.Topics)
		cs.wake() // sub commands are answered before this unsub
		cs.answers.reply(slot, &wire.Reply{Ref: c.Ref})
	case wire.OpPub:
		cs.publish(slot, rec, c)
	case wire.OpSend, wire.OpRPC:
		cs.forward(slot, rec, c)
	case wire.OpPresence:
		cs.presence(slot, rec, c)
	case wire.OpLogin:
		cs.answers.fail(slot, c.Ref, "bad_request", "", "this session needs no login, or has had it")
	case wire.OpAuth:
		cs.renewals.begin(slot, rec, c)
	case wire.OpAck:
		cs.acks.got(slot, c.ID)
	case wire.OpPing:
		cs.answers.reply(slot, &wire.Reply{Ref: c.Ref})
	default:
		cs.answers.fail(slot, c.Ref, "bad_request", "", "not a command of this server")
	}
}

// unsubscribe ends a session's subscriptions to topics.
func (cs *commands) unsubscribe(slot uint32, rec *record, topics []string) {
	told := cs.events.wanted(slot, rec)
	for _, topicName := range topics {
		cs.decisions.withdraw(slot, topicName)
		t, ok := cs.topics.find(topicName)
		if !ok {
			continue
		}
		_, member := cs.topics.member(rec, t)
		cs.topics.leave(rec, t)
		if told && member {
			cs.events.unsubscribed(slot, rec, topicName)
		}
	}
}

// subscribe enters a session into all topics of a command, or into none. The
// command is answered when the bus carries all of them to this node.
func (cs *commands) subscribe(slot uint32, rec *record, c *wire.Command) {
	for _, topicName := range c.Topics {
		if err := message.CheckTopic(topicName); err != nil { // an encoding need not have checked it
			cs.answers.fail(slot, c.Ref, "bad_request", "topics", err.Error())
			return
		}
	}
	most := cs.grants.maxTopics(rec)
	if waiting := max(most, minPendingSubs); cs.decisions.pending(slot) >= waiting {
		cs.counters.limit(limitTopics)
		cs.answers.fail(slot, c.Ref, "too_many_topics", "topics", fmt.Sprintf("%d sub commands wait for their answers; at most %d may", cs.decisions.pending(slot), waiting))
		return
	}
	if asked := cs.unpermitted(rec, c.Topics); len(asked) > 0 {
		cs.decisions.ask(slot, rec, c, asked, func(slot uint32, u *undecided) {
			cs.enter(slot, cs.rec(slot), wire.Reply{Ref: u.ref}, u.topics, permitDecided)
		})
		return
	}
	cs.enter(slot, rec, wire.Reply{Ref: c.Ref}, c.Topics, permitPattern)
}

// enter enters a session into topics that it may subscribe to, or into none. The
// reply to its command follows when the bus carries all of them to this node.
func (cs *commands) enter(slot uint32, rec *record, reply wire.Reply, topics []string, by permit) {
	most := cs.grants.maxTopics(rec)
	before := rec.count
	sub := &pendingSub{reply: reply}
	told := cs.events.wanted(slot, rec) && by != permitGranted
	var joined []string // if told
	for _, topicName := range topics {
		if int(rec.count) >= most {
			if !cs.topics.has(rec, topicName) {
				cs.counters.limit(limitTopics)
				sub.failed = true
				cs.topics.leaveNewest(rec, before)
				cs.answers.fail(slot, reply.Ref, "too_many_topics", "topics", fmt.Sprintf("a session may have 1 to %d topics", most))
				return
			}
		}
		t, isNew, err := cs.topics.join(slot, rec, topicName)
		if err != nil {
			cs.counters.limit(limitMemory)
			sub.failed = true
			cs.topics.leaveNewest(rec, before)
			cs.answers.fail(slot, reply.Ref, "unavailable", "", "this server's tables are full")
			return
		}
		cs.topics.permitBy(rec, t, by)
		if !cs.topics.at(t).ready {
			cs.topics.await(t, waiter{cs.ps.ID(slot), sub})
			sub.pending++
		}
		if told && isNew {
			joined = append(joined, topicName)
		}
	}
	if sub.pending > 0 {
		cs.decisions.begin(slot)
	} else {
		cs.answers.reply(slot, &reply)
	}
	cs.events.subscribed(slot, rec, joined)
}

// wake tells upgrades and sub commands that a topic they waited for is ready or
// gone.
func (cs *commands) wake() {
	for w, more := cs.topics.takeWoken(); more; w, more = cs.topics.takeWoken() {
		slot, ok := cs.ps.Lookup(w.id)
		switch {
		case !ok:
		case w.sub != nil:
			cs.subscribed(slot, w.sub)
		default:
			cs.upgrader.ready(slot)
		}
	}
}

// subscribed counts down what a sub command waits for.
func (cs *commands) subscribed(slot uint32, sub *pendingSub) {
	if sub.pending--; sub.pending > 0 || sub.failed {
		return
	}
	if rec := cs.rec(slot); rec.state == stateOpen {
		cs.decisions.end(slot)
		cs.answers.reply(slot, &sub.reply)
		cs.renewals.recheck(slot, rec)
	}
}

// publish hands a client's message to the shard's publisher, so that the shard
// waits neither for the bus nor for a full mailbox.
func (cs *commands) publish(slot uint32, rec *record, c *wire.Command) {
	if cs.opt.Publish == nil {
		cs.answers.fail(slot, c.Ref, "forbidden", "", "clients may not publish here (auth.publish)")
		return
	}
	if !cs.grants.mayPublish(rec, &c.Target) {
		cs.answers.fail(slot, c.Ref, "forbidden", "to", "you may not publish to this target (auth.publish); to users, sessions and all only clients with the pattern * may")
		return
	}
	m := &message.Message{Target: c.Target, Kind: c.Kind, Payload: c.Payload, Received: time.Now()}
	switch cs.pubs.add(slot, c.Ref, m) {
	case pubNoRoom:
		cs.counters.limit(limitInbound)
		cs.answers.fail(slot, c.Ref, "unavailable", "", "too many bytes are being published; try again")
	case pubQueueFull:
		cs.counters.limit(limitPubs)
		cs.answers.fail(slot, c.Ref, "unavailable", "", "too many messages are being published (session.publish_queue); try again")
	}
}
