package poller

// outboxes keep sockets that the full mailboxes of other shards refused, until
// there is room. Owned by the shard's goroutine.
type outboxes struct {
	from    int          // index of the shard
	queued  [][]*arrival // by shard that they go to, oldest first
	waiting int          // in all
}

func newOutboxes(from, shards int) outboxes {
	return outboxes{from: from, queued: make([][]*arrival, shards)}
}

// send posts a to a shard, behind the sockets that wait for it already. It
// returns false if a has to wait.
func (o *outboxes) send(a *arrival, to *Shard) bool {
	if len(o.queued[to.index]) == 0 && to.box.post(QueueMove, Mail{Ptr: a}) {
		return true
	}
	o.queued[to.index] = append(o.queued[to.index], a)
	o.waiting++
	return false
}

// flush posts the sockets again, oldest first. A shard that has no room is
// asked to wake this one when it has drained some of its own.
func (o *outboxes) flush(shards []*Shard) {
	for to, items := range o.queued {
		box, n := &shards[to].box, 0
		post := func() bool {
			for n < len(items) && box.queues[QueueMove].room() && box.post(QueueMove, Mail{Ptr: items[n]}) {
				n++
			}
			return n == len(items)
		}
		if !post() {
			box.denied[o.from].Store(true)
			post() // room that came before the other shard could see the flag
		}
		o.waiting -= n
		clear(items[:n])
		if o.queued[to] = items[n:]; n == len(items) {
			o.queued[to] = nil
		}
	}
}

// discard gives every socket to drop.
func (o *outboxes) discard(drop func(*arrival)) {
	for to, items := range o.queued {
		for _, a := range items {
			drop(a)
		}
		o.queued[to] = nil
	}
	o.waiting = 0
}

// wakeDenied has the shards whose sockets wait for room here try again. A shard
// that is refused in the instant in which another's refusal is counted may miss
// that: it tries at its next tick.
func (b *mailbox) wakeDenied(shards []*Shard) {
	for i := range b.denied {
		if b.denied[i].Load() && b.denied[i].Swap(false) {
			shards[i].box.wake()
		}
	}
}

// retryMoves tries again what mailboxes refused.
func (s *Shard) retryMoves() {
	if s.moves.waiting == 0 {
		return
	}
	if s.moves.flush(s.loop.shards); s.moves.waiting == 0 {
		s.acceptor.movesDone()
	}
}
