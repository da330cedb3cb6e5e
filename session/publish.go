package session

import (
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
)

// pub is a message of a client on its way to Options.Publish.
type pub struct {
	from poller.ID
	ref  string
	msg  *message.Message
	size int // bytes charged until it is published
}

// pubQueue is what a shard's clients publish, on its way from the shard to the
// shard's publisher goroutine, and the results on their way back.
type pubQueue struct {
	// Not changed after init.
	srv   *Server
	ps    *poller.Shard
	queue chan pub // nil if Options.Publish is; closed by stop

	// Owned by the shard.
	answers  *answers
	renewals *renewals
	own      map[poller.ID]int // bytes that wait for the publisher, by session

	mu      sync.Mutex  // guards results
	results []pubResult // until the shard takes them
}

func (q *pubQueue) init(e *env, a *answers, rs *renewals) {
	q.srv, q.ps, q.answers, q.renewals = e.srv, e.ps, a, rs
	if e.opt.Publish != nil {
		q.queue = make(chan pub, e.opt.PublishQueue)
		q.own = map[poller.ID]int{}
	}
}

// stop ends the publisher once it has published what was queued.
func (q *pubQueue) stop() {
	if q.queue != nil {
		close(q.queue)
	}
}

// pubResult is what became of a pub.
type pubResult struct {
	from  poller.ID
	size  int
	reply wire.Reply
}

// Clients' messages that wait to be published may take one part in pubShare of
// Poller.InboundBytes: a slow bus must not keep other clients from finishing
// their messages.
const pubShare = 2

// pubOverhead is charged for a pub beside its payload and names, in bytes.
const pubOverhead = 256

// pubSize returns the bytes that a message is charged with.
func pubSize(m *message.Message) int {
	n := pubOverhead + len(m.Payload)
	for _, name := range m.Target.Names {
		n += len(name) + 16
	}
	return n
}

// pubAdded says what became of a message that a client wants published.
type pubAdded uint8

const (
	pubQueued    pubAdded = iota
	pubNoRoom             // the session or the node has too many bytes waiting
	pubQueueFull          // Options.PublishQueue messages wait
)

// add queues a client's message for the publisher. Called by the shard; it does
// not block.
func (q *pubQueue) add(slot uint32, ref string, m *message.Message) pubAdded {
	p := pub{q.ps.ID(slot), ref, m, pubSize(m)}
	if !q.charge(slot, &p) {
		return pubNoRoom
	}
	select {
	case q.queue <- p:
		return pubQueued
	default:
		q.unchargeNode(&p)
		q.uncharge(p.from, p.size)
		return pubQueueFull
	}
}

// charge counts p for its session and the node. It returns false if the session
// would then have more bytes waiting than are left for all other sessions. So a
// session that publishes faster than the bus takes messages is refused at half
// of the share, and sessions that publish little find room.
func (q *pubQueue) charge(slot uint32, p *pub) bool {
	own := int64(q.own[p.from] + p.size)
	total := q.srv.pubBytes.Add(int64(p.size))
	if own > q.srv.opt.Poller.InboundBytes/pubShare-total || !q.ps.ChargeNode(slot, int(own), p.size) {
		q.srv.pubBytes.Add(-int64(p.size))
		return false
	}
	q.own[p.from] = int(own)
	return true
}

// unchargeNode takes p off the node's counts. Any goroutine.
func (q *pubQueue) unchargeNode(p *pub) {
	q.srv.pubBytes.Add(-int64(p.size))
	q.ps.UnchargeNode(p.size)
}

// uncharge takes size bytes off a session's count.
func (q *pubQueue) uncharge(id poller.ID, size int) {
	if left := q.own[id] - size; left > 0 {
		q.own[id] = left
	} else {
		delete(q.own, id)
	}
}

// addResult leaves a result to the shard, and says whether the shard has to be
// called. All results share one place in its mailbox: with a place each, clients
// that publish would make pushes wait.
func (q *pubQueue) addResult(p pubResult) (call bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.results = append(q.results, p)
	return len(q.results) == 1
}

// takeResults returns the results that the shard has not seen.
func (q *pubQueue) takeResults() []pubResult {
	q.mu.Lock()
	defer q.mu.Unlock()
	results := q.results
	q.results = nil
	return results
}

// answer answers the pub commands that are done, if their sessions still exist.
// Called by the shard.
func (q *pubQueue) answer() {
	for _, p := range q.takeResults() {
		q.uncharge(p.from, p.size)
		if slot, ok := q.ps.Lookup(p.from); ok {
			q.ps.Protect(p.from, func() {
				q.answers.reply(slot, &p.reply)
				q.renewals.recheck(slot, q.renewals.rec(slot))
			})
		}
	}
}

// run is the publisher: a goroutine of each shard that publishes what the
// shard's clients send, in order. It ends after stop, when the queue is empty.
func (q *pubQueue) run() {
	defer q.srv.helpers.Done()
	for p := range q.queue {
		if !q.addResult(q.publishNow(&p)) {
			continue
		}
		for over := false; !over && !q.ps.Post(poller.QueueSingle, poller.Mail{Kind: mailPublished}); {
			over = q.sleep() // then no shard is left to answer; the queue is published all the same
		}
	}
}

// sleep waits for a millisecond, and says whether the shards are being stopped.
func (q *pubQueue) sleep() (over bool) {
	select {
	case <-q.srv.done:
		return true
	case <-time.After(time.Millisecond):
		return false
	}
}

// publishNow publishes p. Whatever the result, the node is no longer charged
// for p.
func (q *pubQueue) publishNow(p *pub) (done pubResult) {
	done = pubResult{p.from, p.size, wire.Reply{Ref: p.ref}}
	defer func() {
		q.unchargeNode(p)
		if v := recover(); v != nil {
			q.srv.faults.Add(1)
			q.srv.opt.Log.Error("publishing panicked; the message is lost", zap.Any("panic", v), zap.Stack("stack"))
			done.reply.Err = &wire.CommandError{Code: "unavailable", Text: "a fault of this server", Ref: p.ref}
		}
	}()
	if p.msg.Target.Scope <= message.ScopeTopics {
		q.awaitBulk()
	}
	if err := q.srv.opt.Publish(p.msg, message.Wait{Time: clientWait}); err != nil {
		done.reply.Err = publishError(err, p.ref)
	} else {
		done.reply.ID = p.msg.ID
	}
	return done
}

// What clients publish waits for up to clientWait while its shards are behind, so
// that the pushes of backends find room. A message to users or sessions waits in
// the order of arrival, as pushes do. A message to topics or all waits while more
// than one place in clientShare of some shard's bulk queue is taken.
const (
	clientWait  = time.Second
	clientShare = 4
)

// awaitBulk waits while a bulk queue is too full for what clients publish.
func (q *pubQueue) awaitBulk() {
	for late := time.Now().Add(clientWait); q.srv.bulkFill() > 1.0/clientShare && time.Now().Before(late); {
		if q.sleep() {
			return
		}
	}
}

// bulkFill returns which part of the fullest bulk queue is taken, 0 to 1.
func (s *Server) bulkFill() (part float64) {
	for _, h := range s.shards {
		part = max(part, h.ps.Fill(poller.QueueBulk))
	}
	return part
}

// publishError is what a client is told about an error of Options.Publish,
// which may choose the words by returning a *wire.CommandError.
func publishError(err error, ref string) *wire.CommandError {
	var told *wire.CommandError
	if errors.As(err, &told) {
		return &wire.CommandError{Code: told.Code, Field: told.Field, Text: told.Text, Ref: ref}
	}
	var field *message.FieldError
	if errors.As(err, &field) {
		return &wire.CommandError{Code: "bad_request", Field: field.Field, Text: field.Detail, Ref: ref}
	}
	return &wire.CommandError{Code: "unavailable", Text: err.Error(), Ref: ref}
}
