package broadcast

import (
	"time"

	"github.com/nats-io/nats.go"
)

// A topic moves through these lists. None of them can grow with the rate at which
// clients come and go:
//
//	shared, queued  wanted, not subscribed yet. If the last subscriber leaves,
//	                the topic is removed and is never subscribed
//	(no list)       being subscribed (at most joinBatch), or subscribed and
//	                wanted
//	lingering       subscribed and not wanted, for Options.Linger, at most
//	                Options.MaxLingering
//	leaving         to be unsubscribed; each topic was subscribed before

// joinBatch is the number of topics that are subscribed with one flush. It is
// small, so that a new topic does not wait long for the topics before it. It is
// large enough that the round trip of a flush does not limit the rate.
const joinBatch = 512

// topic is a topic that is wanted, or was wanted a moment ago. Guarded by
// interest.mu, except sub, which run owns.
type topic struct {
	name    string
	refs    int // shards that want it
	ready   bool
	from    time.Time // ready since then
	idleAt  time.Time // when the last shard left
	waiters []notice  // at most one for each shard
	sub     *nats.Subscription

	list       *topicList // the list that the topic is in, nil for none
	next, prev *topic
}

// await adds a notice for the shard w, to be sent when t is ready. If the shard
// already waits (it left and came back), await only replaces its token.
func (t *topic) await(w Waiter, token uint64) {
	for i := range t.waiters {
		if t.waiters[i].waiter == w {
			t.waiters[i].token = token
			return
		}
	}
	t.waiters = append(t.waiters, notice{w, token, false})
}

// topicList is a doubly linked queue: any topic can leave it.
type topicList struct {
	first, last *topic
	n           int
}

func (l *topicList) push(t *topic) {
	t.list, t.prev, t.next = l, l.last, nil
	if l.last == nil {
		l.first = t
	} else {
		l.last.next = t
	}
	l.last = t
	l.n++
}

// leave removes t from its list, if it is in one.
func (t *topic) leave() {
	l := t.list
	if l == nil {
		return
	}
	if t.prev == nil {
		l.first = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		l.last = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.list, t.prev, t.next = nil, nil, nil
	l.n--
}

// joinTopic implements Interest.JoinTopic.
func (i *interest) joinTopic(name []byte, w Waiter, token uint64) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	t := i.topics[string(name)]
	if t == nil {
		t = &topic{name: string(name)}
		i.topics[t.name] = t
		i.queued.push(t)
		wakeUp(i.wake)
	}
	t.refs++
	switch t.list {
	case &i.lingering:
		t.leave()
	case &i.queued: // topics of several shards go first: one client cannot delay them with invented topics
		if t.refs > 1 {
			t.leave()
			i.shared.push(t)
		}
	}
	if t.ready || !i.bus.connected.Load() {
		return true
	}
	// run may already be subscribing to the topic. It reads the waiters under
	// the lock when it marks the topic ready, so it finds this one.
	t.await(w, token)
	return false
}

// leaveTopic implements Interest.LeaveTopic.
func (i *interest) leaveTopic(name []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	t := i.topics[string(name)]
	if t == nil || t.refs == 0 {
		return
	}
	if t.refs--; t.refs > 0 {
		return
	}
	switch {
	case t.ready:
		i.linger(t)
	case t.list != nil: // not subscribed yet
		t.leave()
		delete(i.topics, t.name)
	default: // being subscribed: markTopics lets it linger
	}
}

// linger keeps the subscription of a topic that is not wanted any more. If too
// many topics linger, it unsubscribes the one that has lingered longest. The
// caller holds mu.
func (i *interest) linger(t *topic) {
	t.idleAt = i.bus.opt.clock.now()
	i.lingering.push(t)
	if i.lingering.n > i.bus.opt.MaxLingering {
		i.forget(i.lingering.first)
		i.bus.count.leftEarly.Add(1)
		wakeUp(i.wake)
	}
}

// forget removes a topic and makes run unsubscribe from it. The caller holds mu.
func (i *interest) forget(t *topic) {
	t.leave()
	delete(i.topics, t.name)
	i.leaving = append(i.leaving, t)
}

// takeTopics appends the next topics to subscribe to dst. Shared topics get three
// quarters of a batch, and what the other topics leave of the rest: clients can
// invent shared topics too. The caller holds mu.
func (i *interest) takeTopics(dst []*topic) []*topic {
	take := func(l *topicList, most int) {
		for l.n > 0 && len(dst) < most {
			t := l.first
			t.leave()
			dst = append(dst, t)
		}
	}
	take(&i.shared, joinBatch-joinBatch/4)
	take(&i.queued, joinBatch)
	take(&i.shared, joinBatch)
	return dst
}

// markTopics marks topics that the server has confirmed as ready. It returns the
// notices for the shards that waited.
func (i *interest) markTopics(topics []*topic, now time.Time) (notices []notice) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, t := range topics {
		t.ready, t.from = true, now
		if t.refs > 0 {
			notices = append(notices, t.waiters...)
		} else { // the last subscriber left meanwhile
			i.linger(t)
		}
		t.waiters = nil
	}
	return notices
}

// sweepTopics unsubscribes from topics that have lingered for Options.Linger.
func (i *interest) sweepTopics(now time.Time) {
	i.mu.Lock()
	for i.lingering.n > 0 && now.Sub(i.lingering.first.idleAt) >= i.bus.opt.Linger {
		i.forget(i.lingering.first)
	}
	i.bus.count.topics.Store(int64(len(i.topics)))
	i.bus.count.lingering.Store(int64(i.lingering.n))
	leaving := i.leaving
	i.leaving = nil
	i.mu.Unlock()
	i.leave(leaving)
}

// leave unsubscribes from topics that forget removed.
func (i *interest) leave(topics []*topic) {
	for _, t := range topics {
		i.unsubscribe(t.sub)
	}
}

// requeue queues everything again that join was working on when it panicked. The
// next tick tries again.
func (i *interest) requeue(topics []*topic, fixed []string) {
	for _, t := range topics {
		if !t.ready { // read without the lock: only run sets it
			i.unsubscribe(t.sub)
			t.sub = nil
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, t := range topics {
		switch {
		case t.ready:
		case t.refs == 0:
			delete(i.topics, t.name)
		default:
			i.queued.push(t)
		}
	}
	i.fixed = append(fixed, i.fixed...)
}

// retry wakes run if something is queued, as after requeue.
func (i *interest) retry() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.shared.n+i.queued.n+len(i.fixed) > 0 {
		wakeUp(i.wake)
	}
}
