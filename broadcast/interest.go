package broadcast

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// interest keeps the subscriptions in step with what the shards hold.
//
// Shards only count, on their own goroutines; the goroutine run subscribes and
// unsubscribes, in batches with one flush each, and tells the shards that
// waited. A subscription is ready once the NATS server has confirmed it.
type interest struct {
	bus   *NATS
	group string // queue group of the user subscriptions, see wildcard.go
	wake  chan struct{}

	// Any goroutine.
	users      [buckets]atomic.Uint32 // readyBit and the number of sessions
	from       [buckets]atomic.Int64  // since when subscribed, see instant
	wanted     atomic.Int32           // buckets with sessions
	wildcardOn atomic.Bool            // all buckets come over one subscription
	epoch      time.Time
	begun      atomic.Int64 // when the fixed subjects were subscribed to, see instant

	mu        sync.Mutex // guards the rest of this group; a leaf, held for a few assignments
	topics    map[string]*topic
	shared    topicList  // to subscribe to: wanted by several shards, see topics.go
	queued    topicList  // to subscribe to: wanted by one
	lingering topicList  // subscribed and left, the oldest first
	leaving   []*topic   // to unsubscribe from
	waiting   []userWait // users to subscribe to or to report ready
	fixed     []string   // subjects every node listens to, to subscribe to

	// Owned by run.
	held       map[uint16]*nats.Subscription // single buckets
	wildcard   *nats.Subscription
	zeroAt     map[uint16]time.Time // when a held bucket was first seen empty
	fewSince   time.Time            // since when the wildcard is not worth it; zero if it is
	replaced   []replaced           // replaced ones that overlap with their successors
	overlap    *time.Timer          // when the first of them is due
	live       map[*nats.Subscription]struct{}
	dropped    uint64   // drops of subscriptions that have ended
	unnotified []notice // shards whose mailbox was full
}

// readyBit marks a bucket whose messages reach this node; the other bits
// count its sessions.
const readyBit = 1 << 31

// notice is a shard to be told that a subscription is ready.
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

type userWait struct {
	bucket uint16
	notice notice // without a waiter: nobody waits
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

// start asks for the subjects that every node listens to.
func (i *interest) start() {
	i.mu.Lock()
	i.fixed = append(i.fixed, subjectAll, i.bus.self, subjectBeacon, subjectPeers)
	i.mu.Unlock()
	wakeUp(i.wake)
}

// joinUser and leaveUser are two atomic operations when the bucket is ready.
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

// holds says whether a user of bucket b is here.
func (i *interest) holds(b uint16) bool { return i.users[b].Load()&^readyBit != 0 }

// since returns from when on subject has been subscribed to without
// interruption. The receiver asks it.
func (i *interest) since(subject string) (time.Time, bool) {
	if b, ok := userBucket(subject); ok {
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

// moment and instant convert between a time and its atomic form, nanoseconds
// after epoch plus one; 0 is none.
func (i *interest) moment(v int64) (time.Time, bool) {
	return i.epoch.Add(time.Duration(v - 1)), v != 0
}

func (i *interest) instant(t time.Time) int64 { return max(int64(t.Sub(i.epoch)), 0) + 1 }
