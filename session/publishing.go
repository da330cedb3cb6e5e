package session

import "belfry/poller"

// publishing says how many bytes of a shard's clients wait for its publisher.
type publishing struct{ own map[poller.ID]int }

// published is what became of a pub.
type published struct {
	size  int
	reply *Reply
}

// pubShare is the part of Poller.InboundBytes that clients' messages may take
// while they wait to be published, 1 in so many: a bus that is slow must not
// keep others from finishing their messages.
const pubShare = 2

// pubOverhead is charged for a pub beside its bytes.
const pubOverhead = 256

func pubSize(m *Message) int {
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
	own := int64(h.publishing.own[p.from] + p.size)
	total := h.srv.pubBytes.Add(int64(p.size))
	if own > h.srv.opt.Poller.InboundBytes/pubShare-total || !h.ps.ChargeNode(slot, int(own), p.size) {
		h.srv.pubBytes.Add(-int64(p.size))
		return false
	}
	h.publishing.own[p.from] = int(own)
	return true
}

// unchargePub takes p off the node's counts. Any goroutine.
func (h *shard) unchargePub(p *pub) {
	h.srv.pubBytes.Add(-int64(p.size))
	h.ps.UnchargeNode(p.size)
}

// done takes size bytes off a session's count.
func (q *publishing) done(id poller.ID, size int) {
	if left := q.own[id] - size; left > 0 {
		q.own[id] = left
	} else {
		delete(q.own, id)
	}
}

// published answers a pub, if its session is still there.
func (h *shard) published(id poller.ID, p *published) {
	h.publishing.done(id, p.size)
	if slot, ok := h.ps.Lookup(id); ok {
		h.reply(slot, p.reply)
	}
}
