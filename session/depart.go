package session

import (
	"slices"

	"belfry/message"
	"belfry/poller"
)

// A session of nobody that logs in goes on under a new id in the shard of its user.
// It must get each message to all or to a topic once, although the two shards take
// them from mailboxes of their own. So a cut is made: a mark in the bulk queues of
// both, put while no message is being put (Server.cut). What is before the mark
// reaches the session in the old shard, what is behind it in the new one. The new
// shard records messages behind the mark until the session has arrived.

// relocation is the way of one session to the shard of its user.
type relocation struct {
	// Not changed once it has begun.
	id       poller.ID   // of the session in the old shard
	sid      message.SID // the same
	from, to *shard
	renewal  *renewal
	grant    Grant
	topics   []string      // of the session
	ready    chan struct{} // has a value when the bus carries messages for the user
	canceled chan struct{} // closed by the old shard

	// Owned by the old shard.
	barrier uint64 // number of the last message before the mark, in fanoutRuns.added

	// Owned by the new shard.
	arrival arrivalState
}

// UserReady implements Waiter. Any goroutine.
func (r *relocation) UserReady(uint64) bool {
	select {
	case r.ready <- struct{}{}:
	default:
	}
	return true
}

// TopicReady implements Waiter. It is never called: topics call the shard.
func (r *relocation) TopicReady(uint64) bool { return true }

// departures are the sessions that leave a shard because they log in. Owned by the
// shard.
type departures struct {
	env
	events   *eventing
	renewals *renewals
	closer   *closer
	remotes  *remotes
	buckets  *buckets
	topics   *topics
	assembly *assembly
	fanout   *fanoutRuns

	due []*relocation // behind the mark, in the order of their barriers
}

// begin starts the login of a session of nobody. Until the mark it goes on as it is.
func (ds *departures) begin(slot uint32, rec *record, rn *renewal, g Grant) {
	home, _ := ds.srv.homeOf(g.UID)
	names := ds.topics.of(rec)
	if most := int(ds.opt.sessionLimits(&g.Limits).topics); len(names)+len(ds.renewals.missing(rec, g.Topics)) > most {
		ds.counters.limit(limitTopics)
		ds.renewals.refuse(slot, rec, rn, "too_many_topics", "the session would have more topics than it may (session.max_topics)")
		return
	}
	rn.move = &relocation{id: rn.id, sid: ds.sid(slot), from: ds.srv.shards[ds.index], to: ds.srv.shards[home],
		renewal: rn, grant: g, topics: names, ready: make(chan struct{}, 1), canceled: make(chan struct{})}
	ds.srv.helpers.Add(1)
	go ds.srv.relocate(rn.move)
}

// relocate prepares the new shard and makes the cut. It is a goroutine of its own,
// because it waits.
func (s *Server) relocate(r *relocation) {
	defer s.helpers.Done()
	refused := make(chan string, 1)
	r.to.post(func(h *shard) {
		text := "a fault of this server" // after a panic
		defer func() { refused <- text }()
		text = h.arrivals.expect(r)
	})
	select {
	case text := <-refused:
		if text != "" {
			r.from.post(func(h *shard) { h.departures.refused(r, text) })
			return
		}
	case <-s.done:
		return
	}
	if r.await(s) && s.cutFor(r) {
		return
	}
	r.abandon()
}

// await waits until the bus carries messages for the user to this node. It returns
// false if the relocation was canceled.
func (r *relocation) await(s *Server) bool {
	select {
	case <-r.ready:
		return true
	case <-r.canceled:
	case <-s.done:
	}
	return false
}

// abandon has the new shard expect the session no more. Any goroutine but a shard's.
func (r *relocation) abandon() { r.to.post(func(h *shard) { h.arrivals.drop(r) }) }

// cutFor puts the mark into the bulk queues of both shards. It returns false if the
// relocation was canceled before.
func (s *Server) cutFor(r *relocation) bool {
	shards := []*shard{r.from, r.to}
	if r.from == r.to {
		shards = shards[:1]
	}
	for !reserveBulk(shards) {
		select {
		case <-r.canceled:
			return false
		default:
			if r.to.pubs.sleep() {
				return false
			}
		}
	}
	s.cut.Lock()
	defer s.cut.Unlock()
	for _, h := range shards {
		h.ps.Put(poller.QueueBulk, poller.Mail{Kind: mailCut, Ptr: r})
	}
	return true
}

// reserveBulk takes a place in the bulk queue of each shard, or in none.
func reserveBulk(shards []*shard) bool {
	for i, h := range shards {
		if !h.ps.Reserve(poller.QueueBulk) {
			for _, taken := range shards[:i] {
				taken.ps.Release(poller.QueueBulk, 1)
			}
			return false
		}
	}
	return true
}

// refused answers an auth command whose session the new shard does not take.
func (ds *departures) refused(r *relocation, text string) {
	if slot, ok := ds.ps.Lookup(r.id); ok && ds.renewals.waiting[r.id] == r.renewal {
		r.renewal.move = nil
		ds.renewals.refuse(slot, ds.rec(slot), r.renewal, "forbidden", text)
	}
}

// mark takes the mark. From now on the session gets only what waits for a fan-out run.
func (ds *departures) mark(r *relocation) {
	slot, ok := ds.ps.Lookup(r.id)
	if !ok || ds.renewals.waiting[r.id] != r.renewal || r.renewal.move != r {
		go r.abandon() // it has ended, or its command was given up
		return
	}
	ds.rec(slot).flags |= flagLeaving
	r.barrier = ds.fanout.added
	ds.due = append(ds.due, r)
}

// cancel gives up a relocation whose session ends, or whose command was given up.
func (ds *departures) cancel(rec *record, r *relocation) {
	if rec.flags&flagLeaving == 0 {
		close(r.canceled) // mark finds out if the mark was put already
		return
	}
	rec.flags &^= flagLeaving
	ds.due = slices.DeleteFunc(ds.due, func(other *relocation) bool { return other == r })
	go r.abandon()
}

// barrier returns the number of the last message that the first session to leave is
// still to get. ok is false if none is to leave.
func (ds *departures) barrier() (n uint64, ok bool) {
	if len(ds.due) == 0 {
		return 0, false
	}
	return ds.due[0].barrier, true
}

// run moves the sessions that have got everything before their mark. No fan-out run
// is in progress.
func (ds *departures) run() {
	for len(ds.due) > 0 && ds.due[0].barrier <= ds.fanout.begun {
		r := ds.due[0]
		if ds.due = ds.due[1:]; len(ds.due) == 0 {
			ds.due = nil
		}
		if slot, ok := ds.ps.Lookup(r.id); ok {
			ds.ps.Protect(r.id, func() { ds.depart(slot, r) })
		}
	}
}

// depart moves a session to its new shard. What it was ends here.
func (ds *departures) depart(slot uint32, r *relocation) {
	rec := ds.rec(slot)
	o := ds.srv.newUpgrade()
	o.variant, o.answered, o.ref, o.move, o.grant, o.placed = rec.variant, true, r.renewal.ref, r, r.grant, true
	o.joined = ds.topics.joined(rec)
	o.tokens, o.metered = ds.buckets.tokens(rec), rec.flags&flagMetered != 0
	ds.events.carry(slot, rec, o)
	rec.flags &^= flagLeaving // so that drop does not cancel the relocation
	r.renewal.move = nil
	ds.renewals.forget(slot, rec)
	rec.state, rec.reason = stateJoin, ReasonLogin // before unregister, which may wake waiters
	ds.closer.unregister(slot, nil)
	o.remote, o.counted = ds.remotes.take(slot) // after Closed, which is told of it
	ds.counters.closed[ReasonLogin].Add(1)
	ds.assembly.drop(slot, rec)
	ds.srv.waiting.Add(1) // while it moves
	ds.ps.Move(slot, r.to.index, o, nil)
}

// joinedTopic is a subscription that a session takes to another shard.
type joinedTopic struct {
	name string
	by   permit
}

// joined returns the subscriptions of a session, the oldest first.
func (ts *topics) joined(rec *record) (all []joinedTopic) {
	for n := rec.topics; n != 0; {
		m := ts.links.At(n - 1)
		all = append(all, joinedTopic{string(ts.name(m.topic)), m.permit()})
		n = m.next
	}
	slices.Reverse(all)
	return all
}

// of returns the topics of a session, the oldest first.
func (ts *topics) of(rec *record) (names []string) {
	for _, j := range ts.joined(rec) {
		names = append(names, j.name)
	}
	return names
}
