package session

import (
	"slices"

	"belfry/message"
	"belfry/poller"
)

// arrivalState is what the new shard knows of a relocation.
type arrivalState struct {
	topics   []uint32 // kept in the tables until the session has arrived (topic.queued)
	user     bool     // the bus was told of the session's user
	begun    bool     // the mark has come
	mark     uint64   // number of the last message before the mark, in fanoutRuns.added
	recorded []recorded
	overflow bool      // more than maxRecorded messages came
	id       poller.ID // of the session in this shard; 0: it has not come yet
	held     bool      // it waits for the mark, or for messages before the mark
	gone     bool      // it does not come, or is open
}

// recorded is a message to all or to topics that came behind the mark.
type recorded struct {
	d    *Delivery
	item uint64 // its number in fanoutRuns.added; 0: it was sent at once
}

// maxRecorded is how many messages are recorded for one session. It arrives within
// a few turns of the two shards; one that would get more is closed as too slow.
const maxRecorded = 4096

// arrivals are the sessions that other sessions become in this shard by a login. Owned
// by the shard.
type arrivals struct {
	env
	users    *users
	topics   *topics
	fanout   *fanoutRuns
	upgrader *upgrader
	closer   *closer
	acks     *acks // counts for tallies

	expected []*relocation
}

// expect prepares for a session: its topics and its user stay in the tables, and the
// bus carries their messages to this node. It returns why the session cannot come, ""
// if it can.
func (as *arrivals) expect(r *relocation) string {
	a := &r.arrival
	if which := as.upgrader.refusesNewest(&r.grant); which != NoCap {
		return as.counters.reached(which)
	}
	for _, name := range r.topics {
		t, ok := as.topics.find(name)
		if !ok {
			var err error
			if t, err = as.topics.create(as.topics.hashOf([]byte(name)), name); err != nil {
				as.counters.limit(limitMemory)
				as.release(r)
				return "this server's tables are full"
			}
		}
		as.topics.at(t).queued++
		a.topics = append(a.topics, t)
	}
	a.user = true
	if as.opt.Interest.JoinUser([]byte(r.grant.UID), r, 0) {
		r.UserReady(0)
	}
	as.expected = append(as.expected, r)
	return ""
}

// mark takes the mark: what comes behind it is for the session.
func (as *arrivals) mark(r *relocation) {
	r.arrival.begun, r.arrival.mark = true, as.fanout.added
}

// record keeps a message for the sessions that are on their way here. queued says
// whether it waits for a fan-out run, as the last one.
func (as *arrivals) record(d *Delivery, queued bool) {
	item := uint64(0)
	if queued {
		item = as.fanout.added
	}
	for _, r := range as.expected {
		a := &r.arrival
		if !a.begun || !wants(&d.Message.Target, r.topics) {
			continue
		}
		if len(a.recorded) >= maxRecorded {
			a.overflow = true
			continue
		}
		d.left.Add(1) // its bytes count until the session has got it
		a.recorded = append(a.recorded, recorded{d, item})
	}
}

// wants says whether a target may include a session with these topics.
func wants(to *message.Target, topics []string) bool {
	if to.Scope == message.ScopeTopics {
		return slices.ContainsFunc(to.Names, func(name string) bool { return slices.Contains(topics, name) })
	}
	return to.Scope == message.ScopeAll
}

// passed says whether all messages before the mark have begun to be sent. Messages
// before the mark reached the session in its old shard.
func (as *arrivals) passed(r *relocation) bool {
	return r.arrival.begun && as.fanout.begun >= r.arrival.mark
}

// hold makes a session that has arrived wait for the messages before the mark.
func (as *arrivals) hold(slot uint32, o *upgrade) {
	r := o.move
	r.arrival.id = as.ps.ID(slot)
	if !as.passed(r) {
		r.arrival.held = true
		o.awaited++
	}
}

// run goes on with the sessions that have waited for the mark.
func (as *arrivals) run() {
	for i := 0; i < len(as.expected); i++ {
		r := as.expected[i]
		if !r.arrival.held || !as.passed(r) {
			continue
		}
		r.arrival.held = false
		if slot, ok := as.ps.Lookup(r.arrival.id); ok {
			as.ps.Protect(r.arrival.id, func() { as.upgrader.ready(slot) }) // which may drop r
			i = -1
		}
	}
}

// open gives a session, which has got its hello, the messages that were recorded. The
// fan-out run in progress does not visit it; runs that begin later do.
func (as *arrivals) open(slot uint32, rec *record, r *relocation) {
	rec.fanoutRun = as.fanout.runNumber
	for _, m := range r.arrival.recorded {
		if m.item > as.fanout.begun || rec.state != stateOpen {
			continue
		}
		if m.d.without && m.d.exclude == r.sid || m.d.excludes(as.topics, slot) || !as.matches(rec, &m.d.Message.Target) {
			continue
		}
		as.ps.Send(slot, poller.Shared(m.d.batch(rec.variant)), poller.Data)
		as.counters.deliveries.Add(1)
		if m.d.tally != nil {
			as.acks.reached(slot, m.d)
			as.ps.Submit() // before drop, which may end the delivery
		}
	}
	overflow := r.arrival.overflow
	as.drop(r)
	if overflow {
		as.counters.limit(limitFrames)
		as.closer.end(slot, ReasonSlow, "")
	}
}

// matches says whether a target to all or to topics includes a session.
func (as *arrivals) matches(rec *record, to *message.Target) bool {
	return to.Scope == message.ScopeAll || slices.ContainsFunc(to.Names, func(name string) bool { return as.topics.has(rec, name) })
}

// drop ends the expectation of a session. A second call does nothing.
func (as *arrivals) drop(r *relocation) {
	if r.arrival.gone {
		return
	}
	r.arrival.gone = true
	as.expected = slices.DeleteFunc(as.expected, func(other *relocation) bool { return other == r })
	if len(as.expected) == 0 {
		as.expected = nil
	}
	as.release(r)
}

// release gives back what was kept for a session.
func (as *arrivals) release(r *relocation) {
	a := &r.arrival
	for _, m := range a.recorded {
		m.d.done()
	}
	a.recorded = nil
	for _, t := range a.topics {
		as.topics.at(t).queued--
		as.topics.drop(t)
	}
	a.topics = nil
	if a.user {
		a.user = false
		as.opt.Interest.LeaveUser([]byte(r.grant.UID))
	}
}

// stop gives back everything.
func (as *arrivals) stop() {
	for len(as.expected) > 0 {
		as.drop(as.expected[0])
	}
}
