package broadcast

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// interest keeps the NATS subscriptions in step with the topics that the shards
// have. One subscription covers all users, so users are only counted.
//
// Shards only count, on their own goroutines. The goroutine run subscribes and
// unsubscribes in batches, with one flush for each batch, and notifies the shards
// that waited. A subscription is ready when the NATS server has confirmed it.
type interest struct {
	bus  *NATS
	wake chan struct{}

	// Any goroutine.
	users  [userBuckets]atomic.Int32 // sessions
	wanted atomic.Int32              // user buckets with sessions
	epoch  time.Time                 // instants are relative to it
	begun  atomic.Int64              // the fixed subjects are subscribed since this instant

	mu        sync.Mutex // guards the rest of this group; held for a few assignments, see doc.go
	topics    map[string]*topic
	shared    topicList // to be subscribed: wanted by several shards, see topics.go
	queued    topicList // to be subscribed: wanted by one shard
	lingering topicList // subscribed and not wanted any more, the oldest first
	leaving   []*topic  // to be unsubscribed
	waiting   []notice  // to sessions of users that came before the fixed subjects were subscribed
	fixed     []string  // subjects of every node, to be subscribed
	overhear  bool      // relays to other nodes are wanted, see overhear.go

	// Owned by run.
	relays     *nats.Subscription // to the relays of all nodes; nil: there is none
	live       map[*nats.Subscription]struct{}
	dropped    uint64   // messages dropped in subscriptions that have ended
	unnotified []notice // notices to shards whose mailbox was full

	ahead       []*topic // subscribed by subscribeAhead, before takeOver
	unconfirmed bool     // takeOver made subscriptions that the process before did not have
}

// notice tells a shard that a subscription is ready.
type notice struct {
	waiter Waiter
	token  uint64
	user   bool
}

func (n notice) send() bool {
	if n.user {
		return n.waiter.UserReady(n.token)
	}
	return n.waiter.TopicReady(n.token)
}

func newInterest(b *NATS, start time.Time) *interest {
	return &interest{
		bus: b, wake: make(chan struct{}, 1), epoch: start,
		live: make(map[*nats.Subscription]struct{}), topics: make(map[string]*topic),
	}
}

// start queues the subjects that every node subscribes to.
func (i *interest) start() {
	i.mu.Lock()
	i.fixed = append(i.fixed, subjectAll, i.bus.self, subjectBeacon, subjectPeers, subjectReport, subjectEvery, controlSubject(i.bus.id), subjectUsers)
	if i.bus.router.Load() != nil {
		i.fixed = append(i.fixed, i.bus.relaySubject, subjectFence, routeSubject(i.bus.id))
		i.overhear = true // no home knows this node yet
	}
	i.mu.Unlock()
	wakeUp(i.wake)
}

// joinUser implements Interest.JoinUser for a user bucket. It takes the lock only
// before the fixed subjects are subscribed.
func (i *interest) joinUser(b uint16, w Waiter, token uint64) bool {
	if i.users[b].Add(1) == 1 {
		i.wanted.Add(1)
	}
	if i.begun.Load() != 0 || !i.bus.connected.Load() {
		return true
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.begun.Load() != 0 { // begin notifies those that wait under the lock
		return true
	}
	i.waiting = append(i.waiting, notice{w, token, true})
	return false
}

func (i *interest) leaveUser(b uint16) {
	if i.users[b].Add(-1) == 0 {
		i.wanted.Add(-1)
	}
}

// holds reports whether this node has a session of user bucket b.
func (i *interest) holds(b uint16) bool { return i.users[b].Load() > 0 }

// begin records that the fixed subjects are subscribed, and returns the notices for
// those who waited for it.
func (i *interest) begin(now time.Time) (waiting []notice) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.begun.Store(i.instant(now))
	waiting, i.waiting = i.waiting, nil
	return waiting
}

// since returns the time since which subject has been subscribed to without
// interruption, and false if it is not subscribed now. The receiver calls it.
func (i *interest) since(subject string) (time.Time, bool) {
	if len(subject) > len(subjectTopic) && subject[:len(subjectTopic)] == subjectTopic {
		i.mu.Lock()
		defer i.mu.Unlock()
		t := i.topics[subject[len(subjectTopic):]]
		if t == nil || !t.ready {
			return time.Time{}, false
		}
		return t.from, true
	}
	if _, user := userBucketOfSubject(subject); user || subject == subjectAll || subject == i.bus.self {
		return i.moment(i.begun.Load())
	}
	return time.Time{}, false
}

// instant returns a time as an int64 for atomic variables: the nanoseconds since
// epoch, plus one if t is not before it, so that 0 can mean no time. Instants before epoch
// are those of the process before this one.
func (i *interest) instant(t time.Time) int64 {
	v := int64(t.Sub(i.epoch))
	if v >= 0 {
		v++
	}
	return v
}

// moment returns the time of an instant, and false for 0.
func (i *interest) moment(v int64) (time.Time, bool) {
	if v == 0 {
		return time.Time{}, false
	}
	if v > 0 {
		v--
	}
	return i.epoch.Add(time.Duration(v)), true
}
