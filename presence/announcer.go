package presence

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"belfry/message"
)

// AnnouncerOptions are what an Announcer works with.
type AnnouncerOptions struct {
	Reader *Reader // counts subscribers, and lists the topics of this node
	// Publish publishes a message to all nodes. Deliver gives one to the sessions of
	// this node only. An error says that nobody got it.
	Publish, Deliver func(*message.Message) error
	Match            func(topic string) bool // says of which topics is told
	Members          int                     // of topics with more subscribers only the count is told; 0: of all
	Bytes            int                     // longest list of members, as JSON; of topics with a longer one only the count is told
	Rate             int                     // topics per second; of 16 times as many the changes may wait
	Wait             time.Duration           // for the answers of other nodes
	Log              *zap.Logger
}

// Announcer tells the subscribers of topics who has joined and left. What happens to a
// topic within a second is told together, and what cancels out is not told. Each node
// tells of its own sessions. When a node is gone, every other one tells its own sessions
// how many subscribers are left. Any goroutine may call its methods; only Close waits.
type Announcer struct {
	opt   AnnouncerOptions
	wake  chan struct{} // capacity 1: there is work for run
	stop  context.Context
	end   context.CancelFunc
	ended sync.WaitGroup

	inbox struct { // what shards have told
		sync.Mutex // held for an append
		list       []memberEvent
		wake       chan struct{} // capacity 1: list is not empty
	}

	mu      sync.Mutex // guards this group; see take for how long it is held. No shard takes it
	topics  map[string]*topicNews
	queue   []string // the names in topics, in the order in which they are told
	recount bool     // the counts of all topics of this node are to be told
	after   string   // the last topic of which the recount has taken care

	told            [message.MemberCount + 1]atomic.Uint64
	dropped, failed atomic.Uint64
}

// topicNews is what is not yet told of a topic. A topic whose count was told stays until
// its rest is over.
type topicNews struct {
	changes map[string]memberChange // by session id; nil: only the count is told
	due     bool                    // the count is told
	here    bool                    // only to this node: no change of this node is told
	rest    time.Time               // nothing is told before
}

// memberChange is the net change of a session since the topic was last told of.
type memberChange struct {
	joined bool
	uid    string
}

// memberEvent is a change of a topic.
type memberEvent struct {
	topic, sid string
	memberChange
}

const (
	maxInbox        = 1 << 16     // changes that feed has not taken yet
	pause           = time.Second // between two messages of a node about a topic
	maxRest         = time.Minute // after a count
	waitingPerRate  = 16          // topics that wait, for each that may be told in a second
	restedPerSecond = 1000        // a count is sent to about so many sessions a second, by all nodes
)

// NewAnnouncer makes an Announcer. Changes wait until Start.
func NewAnnouncer(o AnnouncerOptions) *Announcer {
	a := &Announcer{opt: o, wake: make(chan struct{}, 1), topics: map[string]*topicNews{}}
	a.inbox.wake = make(chan struct{}, 1)
	a.stop, a.end = context.WithCancel(context.Background())
	return a
}

// Start begins to tell. It is called once, after the bus has started.
func (a *Announcer) Start() {
	a.ended.Go(a.feed)
	a.ended.Go(a.run)
}

// Close ends it. What waits is not told: the node is about to close its sessions, and
// the others count them when it is gone.
func (a *Announcer) Close() {
	a.end()
	a.ended.Wait()
}

// Joined implements session.TopicWatcher.
func (a *Announcer) Joined(topic, sid, uid string) {
	a.put(memberEvent{topic, sid, memberChange{true, uid}})
}

// Left implements session.TopicWatcher.
func (a *Announcer) Left(topic, sid, uid string) {
	a.put(memberEvent{topic, sid, memberChange{false, uid}})
}

// NodeGone says that sessions of another node have ended of which nobody knows the
// topics.
func (a *Announcer) NodeGone() {
	a.mu.Lock()
	a.recount, a.after = true, ""
	a.mu.Unlock()
	awaken(a.wake)
}

func awaken(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put takes a change from a shard.
func (a *Announcer) put(e memberEvent) {
	a.inbox.Lock()
	defer a.inbox.Unlock()
	if len(a.inbox.list) >= maxInbox {
		a.dropped.Add(1)
		return
	}
	a.inbox.list = append(a.inbox.list, e)
	awaken(a.inbox.wake)
}

// feed takes the changes out of the inbox, so that shards do not wait for mu.
func (a *Announcer) feed() {
	for {
		select {
		case <-a.inbox.wake:
		case <-a.stop.Done():
			return
		}
		a.inbox.Lock()
		list := a.inbox.list
		a.inbox.list = nil
		a.inbox.Unlock()
		a.mu.Lock()
		for i := range list {
			a.change(&list[i])
		}
		a.mu.Unlock()
	}
}

// change notes that a session has joined or left. The caller holds mu.
func (a *Announcer) change(e *memberEvent) {
	n := a.news(e.topic)
	if n == nil {
		a.dropped.Add(1)
		return
	}
	n.here = false // the others are told, too
	switch before, changed := n.changes[e.sid]; {
	case n.due: // only the count is told
	case changed && before.joined != e.joined:
		delete(n.changes, e.sid)
	case len(n.changes) >= 2*a.opt.Members: // as many may leave as join
		n.due, n.changes = true, nil
	default:
		if n.changes == nil {
			n.changes = map[string]memberChange{}
		}
		n.changes[e.sid] = e.memberChange
	}
}

// news returns what waits for a topic, nil if there is no room. The caller holds mu.
func (a *Announcer) news(topic string) *topicNews {
	n := a.topics[topic]
	if n == nil && len(a.queue) < waitingPerRate*a.opt.Rate {
		n = &topicNews{}
		a.topics[topic] = n
		a.queue = append(a.queue, topic)
		awaken(a.wake)
	}
	return n
}

// run tells once a second while there is something to tell.
func (a *Announcer) run() {
	tick := time.NewTimer(pause)
	defer tick.Stop()
	for {
		select {
		case <-a.wake:
		case <-a.stop.Done():
			return
		}
		tick.Reset(pause)
		select {
		case <-tick.C:
		case <-a.stop.Done():
			return
		}
		a.listTopics()
		if a.tell(a.take(time.Now())) {
			awaken(a.wake)
		}
	}
}

// piece is a topic that is told of now.
type piece struct {
	topic string
	*topicNews
}

// take takes what is to be told now out of the queue, Rate topics at most. It looks at
// each topic that waits: some thousands by default.
func (a *Announcer) take(now time.Time) (list []piece) {
	a.mu.Lock()
	defer a.mu.Unlock()
	rest := a.queue[:0]
	for _, topic := range a.queue {
		n := a.topics[topic]
		switch {
		case now.Before(n.rest) || len(list) == a.opt.Rate:
			rest = append(rest, topic)
			continue
		case n.due || len(n.changes) > 0:
			list = append(list, piece{topic, n})
		}
		delete(a.topics, topic)
	}
	clear(a.queue[len(rest):])
	if a.queue = rest; len(rest) == 0 {
		a.queue = nil
	}
	return list
}

// AnnouncerStats are counters since the start.
type AnnouncerStats struct {
	Told    map[string]uint64 // messages: join, leave, count
	Failed  uint64            // topics of which could not be told in time; their count is told later
	Dropped uint64            // changes for want of room
	Waiting int               // topics that wait, those that rest included
}

// Stats returns the counters.
func (a *Announcer) Stats() AnnouncerStats {
	s := AnnouncerStats{Told: map[string]uint64{}, Failed: a.failed.Load(), Dropped: a.dropped.Load()}
	for k := message.MemberJoin; k <= message.MemberCount; k++ {
		s.Told[k.String()] = a.told[k].Load()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Waiting = len(a.queue)
	return s
}
