package poller

// inbox is the shard's own end of its mailbox. Owned by the shard's goroutine.
type inbox struct {
	box      *mailbox
	more     bool // the last look left mail in a lane, for want of time
	drained  bool // the lanes were looked into since the shard last waited for events
	readable bool // the eventfd is, and with it the epoll set that netpoll watches
	kept     bool // the handler keeps the place of the mail at hand
}

// called says whether the lanes have to be looked into. The flag counts as well
// as the eventfd, which may be behind many others in the epoll set's order.
func (in *inbox) called() bool { return in.readable || in.box.awake.Load() }

// begin is called before the lanes are drained: a goroutine that posts after it
// wakes the shard again. While other work remains (busy) the eventfd stays
// readable, and with it the epoll set.
func (in *inbox) begin(busy bool) {
	if !busy {
		readCount(in.box.wakeFD)
		in.readable = false
	}
	in.box.awake.Store(false)
	in.more, in.drained = false, true
}

// drain hands the mail of a lane to deliver, at most as many items as the lane
// has places, until late, which is asked after each, ends it.
func (in *inbox) drain(lane Queue, deliver func(Mail), late func(n int64) bool) {
	l := &in.box.queues[lane]
	for n := int64(1); n <= l.size; n++ {
		m, ok := l.ring.pop()
		if !ok {
			return
		}
		in.kept = lane == QueueBulk
		deliver(m)
		if !in.kept {
			l.taken.Add(-1)
		}
		if late(n) {
			in.more = true
			return
		}
	}
}

// stayReadable makes the eventfd readable, so that netpoll calls the shard
// again at once.
func (in *inbox) stayReadable() {
	if !in.readable {
		in.readable = true
		writeCount(in.box.wakeFD, 1)
	}
}

// discard empties the lanes of a shard that takes no more turns.
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

// mailBytes is after how many bytes written a lane looks at the clock: one
// item may be for many connections.
const mailBytes = 16 << 10

// readMail hands the mail over, control first. Each lane takes what it holds
// at the start. Only control takes all of it; the others have the time of a
// chunk each, but handle some of it always, so that no lane starves another or
// the sockets.
func (s *Shard) readMail() {
	if !s.inbox.called() {
		return
	}
	s.inbox.begin(s.busy())
	for _, lane := range Queues() {
		s.chunk.begin()
		looked := s.sender.progress()
		s.inbox.drain(lane, s.dispatch, func(n int64) bool {
			written := s.sender.progress()
			if n%16 != 0 && written-looked < mailBytes {
				return false
			}
			looked = written
			return lane != QueueControl && s.Expired()
		})
		s.guard.protect(0, s.Submit) // before what is for many
		switch lane {
		case QueueSingle:
			s.box.single.admit()
		case QueueMove:
			s.box.wakeDenied(s.loop.shards)
		}
	}
}

// KeepPlace is called within OnMail, with mail of any lane. The mail's place then
// stays taken until Release gives it back, as it always does with LaneBulk.
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
		p.done.Done()
	default:
		s.handler.OnMail(m)
	}
}
