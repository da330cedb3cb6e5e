package handover

import (
	"encoding/binary"
	"encoding/json"
	"sync"
	"time"

	"belfry/message"
)

// link is what the old process does on the bus for sessions in the successor. The topics
// that it joins for them stay joined until the hand-over has ended.
type link struct {
	t          *transfer
	publishing sync.WaitGroup

	mu     sync.Mutex
	joined map[string]int // topics, and how often
}

// CodeLater is the code of a PublishError by which the old process says that it publishes
// nothing any more: the successor does it when it serves.
const CodeLater = "later"

// PublishError is the answer to a client whose message was not published.
type PublishError struct {
	Code  string `json:"code"`
	Field string `json:"field,omitempty"`
	Text  string `json:"text"`
}

func (e *PublishError) Error() string { return e.Text }

// serve answers a frame; it returns false if the frame is for somebody else. It does not
// wait for the bus.
func (l *link) serve(f *frame) bool {
	switch f.kind {
	case kindJoin:
		if len(f.payload) > 8 {
			l.join(f.payload[:8], f.payload[8:])
		}
	case kindLeave:
		l.leave(string(f.payload))
	case kindPublish:
		if len(f.payload) >= 16 {
			l.publishing.Go(func() { l.publish(f.payload) }) // at most one for each shard of the successor at a time
		}
	default:
		return false
	}
	return true
}

func (l *link) join(token, topic []byte) {
	l.mu.Lock()
	l.joined[string(topic)]++
	l.mu.Unlock()
	// The bus waits for nobody who is told that a topic is ready.
	l.t.opt.Node.JoinTopic(topic, func() { go func() { _ = l.t.c.write(kindJoined, token) }() })
}

func (l *link) leave(topic string) {
	l.mu.Lock()
	n := l.joined[topic]
	if n > 1 {
		l.joined[topic] = n - 1
	} else {
		delete(l.joined, topic)
	}
	l.mu.Unlock()
	if n > 0 {
		l.t.opt.Node.LeaveTopic([]byte(topic))
	}
}

// publish publishes a message of a client in the successor: token, wait in ns, message.
func (l *link) publish(p []byte) {
	m, err := parseMessage(p[16:])
	if err == nil {
		err = l.t.opt.Node.Publish(m, time.Duration(binary.LittleEndian.Uint64(p[8:])))
	}
	answer := append([]byte(nil), p[:8]...)
	if err != nil {
		answer = append(answer, mustJSON(publishError(err))...)
	}
	_ = l.t.c.write(kindPublished, answer)
}

// publishError returns err as a PublishError.
func publishError(err error) *PublishError {
	if e, ok := err.(*PublishError); ok {
		return e
	}
	return &PublishError{Code: "unavailable", Text: err.Error()}
}

// end leaves what is still joined for the successor.
func (l *link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for topic, n := range l.joined {
		for range n {
			l.t.opt.Node.LeaveTopic([]byte(topic))
		}
	}
	clear(l.joined)
}

// remote is the other end: the bus as sessions in the successor see it before the
// commit.
type remote struct {
	out *stream // its queue: shards do not wait for the old process

	mu     sync.Mutex
	next   uint64
	ready  map[uint64]func()
	result map[uint64]chan *PublishError
	over   bool          // the node has its own bus
	ended  chan struct{} // closed when over is set
}

func newRemote(c *conn) *remote {
	return &remote{out: newStream(c, 0), ready: map[uint64]func(){}, result: map[uint64]chan *PublishError{}, ended: make(chan struct{})}
}

// errOver is the answer to a publication whose fate is not known.
var errOver = &PublishError{Code: "unavailable", Text: "the server restarts; try again"}

// joinTopic asks the old process for the messages of a topic. ready is called once when
// they come, from another goroutine. It returns false if the node has its own bus.
func (r *remote) joinTopic(topic []byte, ready func()) bool {
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return false
	}
	r.next++
	token := r.next
	r.ready[token] = ready
	r.mu.Unlock()
	p := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(topic)), token)
	_ = r.out.put(item{kind: kindJoin, payload: append(p, topic...)}) // if it fails, the hand-over does
	return true
}

func (r *remote) leaveTopic(topic []byte) bool {
	r.mu.Lock()
	over := r.over
	r.mu.Unlock()
	if !over {
		_ = r.out.put(item{kind: kindLeave, payload: append([]byte(nil), topic...)})
	}
	return !over
}

// publish publishes through the old process and waits for the result. ok is false if the
// node has its own bus, for which it waits if the old process publishes nothing any more.
func (r *remote) publish(m *message.Message, wait time.Duration) (err error, ok bool) {
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return nil, false
	}
	r.next++
	token := r.next
	result := make(chan *PublishError, 1)
	r.result[token] = result
	r.mu.Unlock()
	p := binary.LittleEndian.AppendUint64(nil, token)
	p = binary.LittleEndian.AppendUint64(p, uint64(wait))
	if r.out.put(item{kind: kindPublish, payload: appendMessage(p, m)}) != nil {
		return errOver, true
	}
	switch e := <-result; {
	case e == nil:
		return nil, true
	case e.Code == CodeLater:
		<-r.ended
		return nil, false
	default:
		return e, true
	}
}

// serve takes an answer of the old process; it returns false if f is none.
func (r *remote) serve(f *frame) bool {
	if f.kind != kindJoined && f.kind != kindPublished {
		return false
	}
	if len(f.payload) < 8 {
		return true
	}
	token := binary.LittleEndian.Uint64(f.payload)
	r.mu.Lock()
	ready, result := r.ready[token], r.result[token]
	delete(r.ready, token)
	delete(r.result, token)
	r.mu.Unlock()
	if ready != nil {
		ready()
	}
	if result != nil {
		var e *PublishError
		if len(f.payload) > 8 {
			e = new(PublishError)
			if json.Unmarshal(f.payload[8:], e) != nil {
				e = errOver
			}
		}
		result <- e
	}
	return true
}

// end says that the node has its own bus, which has joined all topics, or that this
// process gives everything back. Who still waits gets an answer.
func (r *remote) end() {
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return
	}
	ready, result := r.ready, r.result
	r.over, r.ready, r.result = true, nil, nil
	close(r.ended)
	r.mu.Unlock()
	for _, f := range ready {
		f()
	}
	for _, c := range result {
		c <- errOver
	}
}
