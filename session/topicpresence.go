package session

import (
	"errors"
	"sync"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
)

// TopicPresence answers clients who ask which sessions are subscribed to a topic, on all
// nodes.
type TopicPresence interface {
	// Ask calls answer once, from any goroutine, also before it returns: with a JSON
	// value, or with an error, which the client does not see. It is called on a shard
	// and must not block.
	Ask(topic string, answer func(data []byte, err error))
}

// errAsking says that too many questions wait.
var errAsking = errors.New("too many questions")

// presence asks about the subscribers of a topic for a client that may know them.
func (cs *commands) presence(slot uint32, rec *record, c *wire.Command) {
	topic := c.Topics[0]
	if err := message.CheckTopic(topic); err != nil { // an encoding need not have checked it
		cs.answers.fail(slot, c.Ref, "bad_request", "topic", err.Error())
		return
	}
	if cs.opt.TopicPresence == nil || !cs.grants.permits(rec, cs.srv.permitted.Load().presence, nil, topic) {
		cs.answers.fail(slot, c.Ref, "forbidden", "topic", "no pattern of session.presence permits it")
		return
	}
	if cs.decisions.pending(slot) >= minPendingSubs {
		cs.answers.fail(slot, c.Ref, "unavailable", "", "too many commands of this session wait for their answers")
		return
	}
	if cs.srv.asking.Add(1) > int64(cs.opt.MaxAsking) {
		cs.srv.asking.Add(-1)
		cs.counters.limit(limitAsking)
		cs.answers.fail(slot, c.Ref, "unavailable", "", "too many questions wait for their answers; try again")
		return
	}
	// The session does not log in while the answer is due: it would get another id.
	cs.decisions.begin(slot)
	id, ref := cs.ps.ID(slot), c.Ref
	var once sync.Once
	answer := func(data []byte, err error) {
		once.Do(func() {
			cs.srv.asking.Add(-1)
			cs.env.decided(func(h *shard) { h.commands.presenceAnswered(id, ref, data, err) })
		})
	}
	defer func() {
		if v := recover(); v != nil {
			answer(nil, errAsking)
			panic(v) // the poller reports it
		}
	}()
	cs.opt.TopicPresence.Ask(topic, answer)
}

// presenceAnswered passes an answer on, if the session is still there.
func (cs *commands) presenceAnswered(id poller.ID, ref string, data []byte, err error) {
	slot, live := cs.ps.Lookup(id)
	if !live {
		return
	}
	cs.decisions.end(slot)
	rec := cs.rec(slot)
	switch {
	case rec.state != stateOpen:
	case err != nil:
		cs.answers.fail(slot, ref, "unavailable", "", "the subscribers could not be found out; try again")
	default:
		cs.answers.reply(slot, &wire.Reply{Ref: ref, Kind: message.Text, Data: data, JSON: true})
	}
	cs.renewals.recheck(slot, rec)
}
