package broadcast

import (
	"time"

	"github.com/nats-io/nats.go"
)

// A topic goes through these places, of which each is bounded by something
// else than the rate at which clients come and go:
//
//	shared, queued  wanted, not subscribed yet: as many as are wanted. A topic
//	                that is left here is forgotten and was never subscribed
//	(no list)       being subscribed (joinBatch), or subscribed and wanted
//	lingering       subscribed, nobody wants it: Options.MaxLingering, for
//	                Options.Linger
//	leaving         to be unsubscribed: each was subscribed before

// joinBatch is how many topics are subscribed to with one flush: few enough
// that one that is joined now does not wait long for those before, and enough
// that the round trip of a flush does not bound the rate.
const joinBatch = 512

// topic is a topic that somebody wants, or wanted a moment ago. Guarded by
// interest.mu, except sub, which run owns.
type topic struct {
	name    string
	refs    int // shards that want it
	ready   bool
	from    time.Time
	idleAt  time.Time // when it was left
	waiters []notice  // one a shard
	sub     *nats.Subscription

	list       *topicList // the one it is in
	next, prev *topic
}

// await has the shard told when t is ready. A shard that left and came back
// waits once, with its newest token.
func (t *topic) await(w Waiter, token uint64) {
	for i := range t.waiters {
		if t.waiters[i].waiter == w {
			t.waiters[i].token = token
			return
		}
	}
	t.waiters = append(t.waiters, notice{w, token, false})
}

// topicList is a queue of topics that any of them can leave.
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

// leave takes t out of the list it is in, if any.
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
	case &i.queued: // what several shards want comes before what one client invents
		if t.refs > 1 {
			t.leave()
			i.shared.push(t)
		}
	}
	if t.ready || !i.bus.connected.Load() {
		return true
	}
	// run may have taken the topic before the waiter was there, but it looks
	// at the waiters again, under the lock, when it marks the topic ready.
	t.await(w, token)
	return false
}

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
	case t.list != nil: // not subscribed yet, and now it need not be
		t.leave()
		delete(i.topics, t.name)
	default: // run sees to it when the server has confirmed it
	}
}

// linger keeps a topic that nobody wants for a while, at the expense of the
// one that has lingered longest if there are too many. Guarded by mu.
func (i *interest) linger(t *topic) {
	t.idleAt = i.bus.opt.clock.now()
	i.lingering.push(t)
	if i.lingering.n > i.bus.opt.MaxLingering {
		i.forget(i.lingering.first)
		i.bus.count.leftEarly.Add(1)
		wakeUp(i.wake)
	}
}

// forget has run unsubscribe from a topic. Guarded by mu.
func (i *interest) forget(t *topic) {
	t.leave()
	delete(i.topics, t.name)
	i.leaving = append(i.leaving, t)
}

// takeTopics moves the next topics to subscribe to into dst. Shared ones have
// most of a batch, and never all of it: they can be made up too. Guarded by mu.
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

// markTopics marks topics that the server has confirmed and returns who waited.
func (i *interest) markTopics(topics []*topic, now time.Time) (told []notice) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, t := range topics {
		t.ready, t.from = true, now
		if t.refs > 0 {
			told = append(told, t.waiters...)
		} else { // left meanwhile
			i.linger(t)
		}
		t.waiters = nil
	}
	return told
}

// sweepTopics ends the topics that lingered long enough.
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

// leave unsubscribes from topics that were forgotten.
func (i *interest) leave(topics []*topic) {
	for _, t := range topics {
		i.unsubscribe(t.sub)
	}
}

// requeue takes back what join met a fault with; the next tick tries again.
func (i *interest) requeue(topics []*topic, waiting []userWait, fixed []string) {
	for _, t := range topics {
		if !t.ready { // only run makes it so
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
	i.waiting = append(waiting, i.waiting...)
	i.fixed = append(fixed, i.fixed...)
}

func (i *interest) retry() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.shared.n+i.queued.n+len(i.waiting)+len(i.fixed) > 0 {
		wakeUp(i.wake)
	}
}
