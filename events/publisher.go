package events

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"belfry/session"
)

// Options configure a Publisher.
type Options struct {
	Node   string // name of this node
	NodeID uint32 // differs for every node: the first part of ids
	Kinds  []Kind // that are wanted, without Users
	// Bucket returns the user bucket of a user.
	Bucket func(uid string) uint16
	// Publish publishes a message to whoever subscribes to the subject. It may wait for
	// a write to a socket. The error says that the message is lost.
	Publish  func(subject string, p []byte) error
	MaxBytes int64       // of the events that wait; 0: 16 MiB; beyond it events are dropped and counted
	Log      *zap.Logger // nil: nothing is logged
}

// Publisher publishes events. Any goroutine may call its methods; only NodeGone and
// Close wait.
type Publisher struct {
	opt    Options
	wanted [kinds]bool
	prefix string // of ids: it differs for every start of every node
	ended  sync.WaitGroup
	wake   chan struct{} // capacity 1: queue is not empty, or closed is set
	room   chan struct{} // capacity 1: for NodeGone

	mu     sync.Mutex // guards this group; held for a few assignments
	queue  []event
	bytes  int64 // of the queue, and of what run publishes now
	seq    uint64
	closed bool

	published       [kinds]atomic.Uint64
	dropped, failed atomic.Uint64
}

// event is an event that waits.
type event struct {
	kind   Kind
	seq    uint64 // makes the id
	at     time.Time
	client *session.Client // of kinds of sessions
	topic  string
	reason session.Reason
	lasted time.Duration
	node   string // of the session if it is not this one

	users  []string // of Online and Offline the one user, of Users all
	bucket uint16   // of Users
}

// New returns a Publisher. Events wait until Start.
func New(o Options) (*Publisher, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = 16 << 20
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.MaxBytes < 64<<10 || o.MaxBytes > 4<<30 {
		return nil, fmt.Errorf("events: MaxBytes is %d; allowed are %d to %d", o.MaxBytes, 64<<10, 4<<30)
	}
	p := &Publisher{
		opt: o, wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
		prefix: fmt.Sprintf("%08x-%s-e", o.NodeID, strconv.FormatInt(time.Now().UnixMicro(), 36)),
	}
	for _, k := range o.Kinds {
		if k >= Users {
			return nil, errors.New("events: Kinds: allowed are opened to offline")
		}
		p.wanted[k] = true
	}
	p.wanted[Users] = p.wanted[Online]
	return p, nil
}

// Start begins to publish. It is called once.
func (p *Publisher) Start() { p.ended.Go(p.run) }

// Close publishes what waits, and ends. Later events are dropped. It is called before
// the bus closes.
func (p *Publisher) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	wakeUp(p.wake)
	p.ended.Wait()
}

// Flush waits until what was told has been published, or ctx is done. Any goroutine,
// after Start.
func (p *Publisher) Flush(ctx context.Context) {
	for p.Stats().Bytes > 0 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func wakeUp(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Wants reports whether a kind is published.
func (p *Publisher) Wants(k Kind) bool { return p.wanted[k] }

// overhead is what an event takes besides its strings, in bytes.
const overhead = 512

func (e *event) size() int64 {
	n := overhead + len(e.topic)
	if e.client != nil {
		n += len(e.client.Meta)
	}
	for _, uid := range e.users {
		n += 16 + len(uid)
	}
	return int64(n)
}

// add queues an event. It returns false if there is no room.
func (p *Publisher) add(e event, most int64) bool {
	e.at = time.Now()
	size := e.size()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.bytes+size > most {
		return false
	}
	p.seq++
	e.seq = p.seq
	p.bytes += size
	p.queue = append(p.queue, e)
	wakeUp(p.wake)
	return true
}

// tell queues an event, or counts it as dropped.
func (p *Publisher) tell(e event) {
	if !p.add(e, p.opt.MaxBytes) {
		p.dropped.Add(1)
	}
}

// Observer returns what is told of the sessions of this node.
func (p *Publisher) Observer() (o session.Observer) {
	if p.wanted[Opened] {
		o.Opened = func(c *session.Client) { p.tell(event{kind: Opened, client: c}) }
	}
	if p.wanted[Closed] {
		o.Closed = func(c *session.Client, r session.Reason, lasted time.Duration) {
			p.tell(event{kind: Closed, client: c, reason: r, lasted: lasted})
		}
	}
	if p.wanted[Subscribed] {
		o.Subscribed = func(c *session.Client, topic string) { p.tell(event{kind: Subscribed, client: c, topic: topic}) }
	}
	if p.wanted[Unsubscribed] {
		o.Unsubscribed = func(c *session.Client, topic string) { p.tell(event{kind: Unsubscribed, client: c, topic: topic}) }
	}
	return o
}

// User tells that the first session of a user has opened in the cluster, or that the
// last one has ended.
func (p *Publisher) User(uid string, online bool) {
	k := Offline
	if online {
		k = Online
	}
	if p.wanted[k] {
		p.tell(event{kind: k, users: []string{uid}})
	}
}

// Users tells which users of a bucket are online. It keeps uids.
func (p *Publisher) Users(bucket uint16, uids []string) {
	if p.wanted[Users] {
		p.tell(event{kind: Users, bucket: bucket, users: uids})
	}
}

// NodeGone tells that a session of another node has ended with its node. It waits while
// half of MaxBytes is taken, so that the sessions of a large node do not crowd out other
// events. It is for one goroutine.
func (p *Publisher) NodeGone(node, sid, uid string, since time.Time) {
	if !p.wanted[Closed] {
		return
	}
	e := event{kind: Closed, node: node, client: &session.Client{SID: sid, UID: uid}, reason: session.ReasonNodeGone,
		lasted: max(time.Since(since), 0)}
	for !p.add(e, p.opt.MaxBytes/2) {
		p.mu.Lock()
		closed := p.closed
		p.mu.Unlock()
		if closed {
			p.dropped.Add(1)
			return
		}
		<-p.room
	}
}

// Stats are counters since the start.
type Stats struct {
	Published map[string]uint64 // by kind
	Dropped   uint64            // for want of room
	Failed    uint64            // that the bus did not take
	Bytes     int64             // that wait now
}

// Stats returns the counters.
func (p *Publisher) Stats() Stats {
	s := Stats{Published: map[string]uint64{}, Dropped: p.dropped.Load(), Failed: p.failed.Load()}
	for k := range kinds {
		s.Published[k.String()] = p.published[k].Load()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Bytes = p.bytes
	return s
}

// run publishes until Close.
func (p *Publisher) run() {
	for range p.wake {
		p.mu.Lock()
		queue, closed := p.queue, p.closed
		p.queue = nil
		p.mu.Unlock()
		for i := range queue {
			e := &queue[i]
			p.publish(e)
			p.mu.Lock()
			p.bytes -= e.size()
			p.mu.Unlock()
			*e = event{}
			wakeUp(p.room)
		}
		if closed {
			wakeUp(p.room)
			return
		}
	}
}

// publish publishes an event, in several messages if it is long.
func (p *Publisher) publish(e *event) {
	for _, m := range p.messages(e) {
		if err := p.opt.Publish(m.subject, m.payload); err != nil {
			p.failed.Add(1)
			p.opt.Log.Debug("event lost", zap.Stringer("event", e.kind), zap.Error(err))
			return
		}
	}
	p.published[e.kind].Add(1)
}
