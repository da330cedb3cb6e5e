package session

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
)

// pubQueue is between a shard and its publisher.
type pubQueue struct {
	own map[poller.ID]int // the shard's: bytes that wait for the publisher, by session

	mu      sync.Mutex  // guards told
	results []pubResult // what became of pubs, until the shard takes it
}

// pubResult is what became of a pub.
type pubResult struct {
	from  poller.ID
	size  int
	reply wire.Reply
}

// pubShare is the part of Poller.InboundBytes that clients' messages may take
// while they wait to be published, 1 in so many: a bus that is slow must not
// keep others from finishing their messages.
const pubShare = 2

// pubOverhead is charged for a pub beside its bytes.
const pubOverhead = 256

func pubSize(m *message.Message) int {
	n := pubOverhead + len(m.Payload)
	for _, name := range m.Target.Names {
		n += len(name) + 16
	}
	return n
}

// chargePub counts p for its session and the node. It returns false if what the
// session has waiting would then be more than what is left for all others: a
// session that publishes faster than the bus takes it is refused at half of the
// share, and those that publish little find room.
func (h *shard) chargePub(slot uint32, p *pub) bool {
	own := int64(h.pubQueue.own[p.from] + p.size)
	total := h.srv.pubBytes.Add(int64(p.size))
	if own > h.srv.opt.Poller.InboundBytes/pubShare-total || !h.ps.ChargeNode(slot, int(own), p.size) {
		h.srv.pubBytes.Add(-int64(p.size))
		return false
	}
	h.pubQueue.own[p.from] = int(own)
	return true
}

// unchargePub takes p off the node's counts. Any goroutine.
func (h *shard) unchargePub(p *pub) {
	h.srv.pubBytes.Add(-int64(p.size))
	h.ps.UnchargeNode(p.size)
}

// uncharge takes size bytes off a session's count.
func (q *pubQueue) uncharge(id poller.ID, size int) {
	if left := q.own[id] - size; left > 0 {
		q.own[id] = left
	} else {
		delete(q.own, id)
	}
}

// addResult leaves what became of a pub to the shard, and says whether that has to
// be called: one place in its mailbox serves for all, or clients that publish
// would make pushes wait.
func (q *pubQueue) addResult(p pubResult) (call bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.results = append(q.results, p)
	return len(q.results) == 1
}

func (q *pubQueue) takeResults() []pubResult {
	q.mu.Lock()
	defer q.mu.Unlock()
	told := q.results
	q.results = nil
	return told
}

// answerPubs answers pubs whose sessions are still there.
func (h *shard) answerPubs() {
	for _, p := range h.pubQueue.takeResults() {
		h.pubQueue.uncharge(p.from, p.size)
		if slot, ok := h.ps.Lookup(p.from); ok {
			h.ps.Protect(p.from, func() { h.reply(slot, &p.reply) })
		}
	}
}

// publisher is a goroutine of each shard that publishes what its clients send,
// in order. It ends when the shard closes pubs.
func (h *shard) publisher() {
	defer h.srv.helpers.Done()
	for p := range h.pubs {
		if !h.pubQueue.addResult(h.publishNow(&p)) {
			continue
		}
		for over := false; !over && !h.ps.Post(poller.QueueSingle, poller.Mail{Kind: mailPublished}); {
			over = h.sleep() // then nobody is left to be told; what was taken is published all the same
		}
	}
}

// sleep waits a moment, and says whether the shards are being stopped.
func (h *shard) sleep() (over bool) {
	select {
	case <-h.srv.done:
		return true
	case <-time.After(time.Millisecond):
		return false
	}
}

// publishNow publishes p, which is charged for no longer whatever comes of it.
func (h *shard) publishNow(p *pub) (done pubResult) {
	done = pubResult{p.from, p.size, wire.Reply{Ref: p.ref}}
	defer func() {
		h.unchargePub(p)
		if v := recover(); v != nil {
			h.srv.faults.Add(1)
			h.opt.Log.Error("publishing panicked; the message is lost", zap.Any("panic", v), zap.Stack("stack"))
			done.reply.Err = &wire.CommandError{Code: "unavailable", Text: "a fault of this server", Ref: p.ref}
		}
	}()
	if p.msg.Target.Scope <= message.ScopeTopics {
		h.awaitBulk()
	}
	if err := h.opt.Publish(p.msg, message.Wait{Time: clientWait}); err != nil {
		done.reply.Err = publishError(err, p.ref)
	} else {
		done.reply.ID = p.msg.ID
	}
	return done
}

// What clients publish waits while its shards are behind, so that backends
// find room: to users and sessions in the order of arrival, as their pushes
// do, and to topics and all while a bulk lane has more than one in
// clientShare places taken.
const (
	clientWait  = time.Second
	clientShare = 4
)

// awaitBulk waits while a bulk lane is too full for what clients publish.
func (h *shard) awaitBulk() {
	for late := time.Now().Add(clientWait); h.srv.bulkFill() > 1.0/clientShare && time.Now().Before(late); {
		if h.sleep() {
			return
		}
	}
}

// bulkFill returns which part of the fullest bulk lane is taken.
func (s *Server) bulkFill() (part float64) {
	for _, h := range s.shards {
		part = max(part, h.ps.Fill(poller.QueueBulk))
	}
	return part
}
