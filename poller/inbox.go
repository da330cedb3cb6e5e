package poller

// inbox is the shard's own end of its mailbox. It belongs to the shard's goroutine.
type inbox struct {
	box      *mailbox
	more     bool // mail was left in a queue, because the chunk was over
	drained  bool // the queues were read since the shard last waited for events
	readable bool // the eventfd is readable, and with it the epoll set that netpoll watches
	kept     bool // the handler keeps the place of the current item
}

// called says whether the queues must be read. The flag is checked too, because
// the event of the eventfd may come behind many others.
func (in *inbox) called() bool { return in.readable || in.box.awake.Load() }

// begin is called before the queues are read: a goroutine that posts later wakes
// the shard again. While other work remains (busy), the eventfd stays readable,
// and with it the epoll set.
func (in *inbox) begin(busy bool) {
	if !busy {
		readCount(in.box.wakeFD)
		in.readable = false
	}
	in.box.awake.Store(false)
	in.more, in.drained = false, true
}

// drain hands the items of a queue to deliver, until the queue is empty, late
// returns true, or as many items were handed over as the queue has places. late
// is called after each item with their number.
func (in *inbox) drain(q Queue, deliver func(Mail), late func(n int64) bool) {
	mq := &in.box.queues[q]
	for n := int64(1); n <= mq.size; n++ {
		m, ok := mq.ring.pop()
		if !ok {
			return
		}
		in.kept = q == QueueBulk
		deliver(m)
		if !in.kept {
			mq.taken.Add(-1)
		}
		if late(n) {
			in.more = true
			return
		}
	}
}

// stayReadable makes the eventfd readable, so that netpoll starts the next turn at
// once.
func (in *inbox) stayReadable() {
	if !in.readable {
		in.readable = true
		writeCount(in.box.wakeFD, 1)
	}
}

// discard empties the queues of a shard that takes no more turns.
func (in *inbox) discard(drop func(Mail)) {
	for i := range in.box.queues {
		for {
			m, ok := in.box.queues[i].ring.pop()
			if !ok {
				break
			}
			drop(m)
		}
	}
}

// mailBytes is how many bytes are written at most before the clock is looked at:
// one item may be for many connections.
const mailBytes = 16 << 10

// readMail hands the items of the mailbox to the handler, if there are any. The
// control queue is read completely. Each other queue has a chunk of time but
// always hands over some items, so that no queue starves another or the sockets.
func (s *Shard) readMail() {
	if !s.inbox.called() {
		return
	}
	s.inbox.begin(s.busy())
	for _, q := range Queues() {
		s.chunk.begin()
		looked := s.sender.progress()
		s.inbox.drain(q, s.dispatch, func(n int64) bool {
			written := s.sender.progress()
			if n%16 != 0 && written-looked < mailBytes {
				return false
			}
			looked = written
			return q != QueueControl && s.Expired()
		})
		s.guard.protect(0, s.Submit) // the next queue may have work on many connections
		switch q {
		case QueueSingle:
			s.box.single.admit()
		case QueueMove:
			s.box.wakeDenied(s.loop.shards)
		}
	}
}

// KeepPlace is called within OnMail. The item's place in its queue then stays
// taken until Release gives it back, as every place in QueueBulk does.
func (s *Shard) KeepPlace() { s.inbox.kept = true }

func (s *Shard) dispatch(m Mail) {
	defer s.guard.recoverConn(0)
	switch p := m.Ptr.(type) {
	case *arrival:
		s.openArrival(p)
	case stopRequest:
		s.stop()
	case listenRequest:
		s.acceptor.stop()
		p.done()
	case holdRequest:
		s.acceptor.hold()
		p.done()
	case acceptRequest:
		s.acceptor.accepts()
		p.done()
	default:
		s.handler.OnMail(m)
	}
}
