package poller

// outboxes keep sockets for which the mailboxes of other shards had no room. They
// belong to the shard's goroutine.
type outboxes struct {
	from    int          // index of this shard
	queued  [][]*arrival // by index of the other shard, oldest first
	waiting int          // sockets in all queues
}

func newOutboxes(from, shards int) outboxes {
	return outboxes{from: from, queued: make([][]*arrival, shards)}
}

// send posts a socket to another shard, behind those that wait for the same
// shard. It returns false if the socket has to wait.
func (o *outboxes) send(a *arrival, to *Shard) bool {
	if len(o.queued[to.index]) == 0 && to.box.post(QueueMove, Mail{Ptr: a}) {
		return true
	}
	o.queued[to.index] = append(o.queued[to.index], a)
	o.waiting++
	return false
}

// flush tries to post the sockets again, oldest first. A shard without room will
// wake this shard when it has read its mailbox.
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
			post() // the other shard may have made room before the flag was set
		}
		o.waiting -= n
		clear(items[:n])
		if o.queued[to] = items[n:]; n == len(items) {
			o.queued[to] = nil
		}
	}
}

// discard hands all sockets to drop.
func (o *outboxes) discard(drop func(*arrival)) {
	for to, items := range o.queued {
		for _, a := range items {
			drop(a)
		}
		o.queued[to] = nil
	}
	o.waiting = 0
}

// wakeDenied wakes the shards whose sockets wait for room here. In a rare race a
// shard is not woken; it then tries again at its next tick.
func (b *mailbox) wakeDenied(shards []*Shard) {
	for i := range b.denied {
		if b.denied[i].Load() && b.denied[i].Swap(false) {
			shards[i].box.wake()
		}
	}
}

// retryMoves tries again to post sockets for which other shards had no room.
func (s *Shard) retryMoves() {
	if s.moves.waiting == 0 {
		return
	}
	if s.moves.flush(s.loop.shards); s.moves.waiting == 0 {
		s.acceptor.movesDone()
	}
}
