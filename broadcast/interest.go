package broadcast

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// interest keeps the NATS subscriptions in step with the users and topics that
// the shards have.
//
// Shards only count, on their own goroutines. The goroutine run subscribes and
// unsubscribes in batches, with one flush for each batch, and notifies the shards
// that waited. A subscription is ready when the NATS server has confirmed it.
type interest struct {
	bus   *NATS
	group string // queue group of the user subscriptions, see wildcard.go
	wake  chan struct{}

	// Any goroutine.
	users      [userBuckets]atomic.Uint32 // readyBit and the number of sessions
	from       [userBuckets]atomic.Int64  // subscribed since this instant
	wanted     atomic.Int32               // user buckets with sessions
	wildcardOn atomic.Bool                // one subscription covers all user buckets
	epoch      time.Time                  // instants are relative to it
	begun      atomic.Int64               // the fixed subjects are subscribed since this instant

	mu        sync.Mutex // guards the rest of this group; held for a few assignments, see doc.go
	topics    map[string]*topic
	shared    topicList  // to be subscribed: wanted by several shards, see topics.go
	queued    topicList  // to be subscribed: wanted by one shard
	lingering topicList  // subscribed and not wanted any more, the oldest first
	leaving   []*topic   // to be unsubscribed
	waiting   []userWait // user buckets to subscribe to, or sessions to notify
	fixed     []string   // subjects of every node, to be subscribed

	// Owned by run.
	held       map[uint16]*nats.Subscription // single user buckets
	wildcard   *nats.Subscription
	zeroAt     map[uint16]time.Time // when a held user bucket was first seen empty
	fewSince   time.Time            // since when few user buckets are wanted; zero if many are
	replaced   []replaced           // subscriptions that overlap with their successors
	overlap    *time.Timer          // fires when the first of replaced is due
	live       map[*nats.Subscription]struct{}
	dropped    uint64   // messages dropped in subscriptions that have ended
	unnotified []notice // notices to shards whose mailbox was full
}

// readyBit is set while messages for the user bucket reach this node. The other
// bits count its sessions.
const readyBit = 1 << 31

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

// userWait is a session whose user bucket was not ready when the session came.
type userWait struct {
	bucket uint16
	notice notice // without a waiter if the session does not wait
}

func newInterest(b *NATS, instance string, start time.Time) *interest {
	return &interest{
		bus: b, group: "belfry-" + instance, wake: make(chan struct{}, 1),
		epoch:   start,
		overlap: time.NewTimer(time.Hour),
		live:    make(map[*nats.Subscription]struct{}),
		topics:  make(map[string]*topic),
		held:    make(map[uint16]*nats.Subscription),
		zeroAt:  make(map[uint16]time.Time),
	}
}

// start queues the subjects that every node subscribes to.
func (i *interest) start() {
	i.mu.Lock()
	i.fixed = append(i.fixed, subjectAll, i.bus.self, subjectBeacon, subjectPeers, subjectReport, subjectEvery, controlSubject(i.bus.id))
	i.mu.Unlock()
	wakeUp(i.wake)
}

// joinUser implements Interest.JoinUser for a user bucket. It takes the lock only
// if the user bucket is not ready.
func (i *interest) joinUser(b uint16, w Waiter, token uint64) bool {
	v := i.users[b].Add(1)
	if v&^readyBit == 1 {
		i.wanted.Add(1)
	}
	if v&readyBit != 0 {
		return true
	}
	wait := userWait{bucket: b}
	connected := i.bus.connected.Load()
	if connected {
		wait.notice = notice{w, token, true}
	}
	i.mu.Lock()
	i.waiting = append(i.waiting, wait)
	i.mu.Unlock()
	wakeUp(i.wake)
	return !connected
}

func (i *interest) leaveUser(b uint16) {
	if v := i.users[b].Add(^uint32(0)); v&^readyBit == 0 {
		i.wanted.Add(-1)
	}
}

// holds reports whether this node has a session of user bucket b.
func (i *interest) holds(b uint16) bool { return i.users[b].Load()&^readyBit != 0 }

// since returns the time since which subject has been subscribed to without
// interruption, and false if it is not subscribed now. The receiver calls it.
func (i *interest) since(subject string) (time.Time, bool) {
	if b, ok := userBucketOfSubject(subject); ok {
		return i.moment(i.from[b].Load())
	}
	if len(subject) > len(subjectTopic) && subject[:len(subjectTopic)] == subjectTopic {
		i.mu.Lock()
		defer i.mu.Unlock()
		t := i.topics[subject[len(subjectTopic):]]
		if t == nil || !t.ready {
			return time.Time{}, false
		}
		return t.from, true
	}
	if subject == subjectAll || subject == i.bus.self {
		return i.moment(i.begun.Load())
	}
	return time.Time{}, false
}

// instant returns a time as an int64 for atomic variables: the nanoseconds since
// epoch plus one, so that 0 can mean no time.
func (i *interest) instant(t time.Time) int64 { return max(int64(t.Sub(i.epoch)), 0) + 1 }

// moment returns the time of an instant, and false for 0.
func (i *interest) moment(v int64) (time.Time, bool) {
	return i.epoch.Add(time.Duration(v - 1)), v != 0
}
