package gateway

import (
	"time"

	"belfry/session"
)

// event is something of a session that a backend is told. One goroutine at a time
// uses it: the shard that made it, then the router, then the worker that calls.
type event struct {
	kind   Kind
	client *session.Client
	in     *session.Inbound // of a Message
	topic  string           // of Subscribe and Unsubscribe
	reason session.Reason   // of Disconnect
	lasted time.Duration    // of Disconnect
	node   string           // name of the session's node if it is not this one
	at     time.Time
	seq    uint64 // makes the id

	route    *route // nil: the router has not seen it yet
	refusal  cause  // why a message is not sent at all; causeNone: it is
	tries    int    // calls that have failed
	answered bool   // the client has got its answer, or nobody awaits one
	size     int64  // in bytes, as QueueBytes counts it
	next     *event // in its session's queue
}

// overhead is what an event takes besides its payload, in bytes: the event, the
// client, its strings, and the call that is made of it.
const overhead = 1 << 10

func newEvent(kind Kind, c *session.Client) *event {
	return &event{kind: kind, client: c, at: time.Now(), size: overhead + int64(len(c.Meta)+len(c.Kept))}
}

// queue has the events of one session that are not done, the oldest first. It is
// guarded by Gateway.mu.
type queue struct {
	sid         string
	first, last *event
	messages    int   // of the events
	bytes       int64 // of the messages
	paused      bool  // the session waits for Resume
	next        *queue
}

func (q *queue) push(e *event) {
	if q.first == nil {
		q.first = e
	} else {
		q.last.next = e
	}
	q.last = e
	if e.kind == Message {
		q.messages++
		q.bytes += e.size
	}
}

// pop removes the first event.
func (q *queue) pop() *event {
	e := q.first
	q.first, e.next = e.next, nil
	if e.kind == Message {
		q.messages--
		q.bytes -= e.size
	}
	return e
}

// list is a list of queues. A queue is in one list at most.
type list struct {
	first, last *queue
	n           int
}

func (l *list) push(q *queue) {
	if l.first == nil {
		l.first = q
	} else {
		l.last.next = q
	}
	l.last = q
	l.n++
}

// pop removes the first queue; nil if there is none.
func (l *list) pop() *queue {
	q := l.first
	if q != nil {
		l.first, q.next = q.next, nil
		l.n--
	}
	return q
}
