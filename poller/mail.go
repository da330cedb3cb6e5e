package poller

// drainMail hands the mail over, control first. Each lane takes what is there
// when it starts and single and bulk mail only for the time of a chunk, but
// some of it always, so that no lane starves another or the sockets.
func (s *Shard) drainMail() {
	s.mailDue = false
	s.mailed = true
	for _, lane := range Lanes() {
		l := &s.box.lanes[lane]
		s.deadline = s.loop.clock() + s.opt.Chunk
		looked := s.sender.progress()
		for n := int64(1); n <= l.size; n++ {
			m, ok := l.ring.pop()
			if !ok {
				break
			}
			s.kept = lane == LaneBulk
			s.deliver(m)
			if !s.kept {
				l.taken.Add(-1)
			}
			if written := s.sender.progress(); n%16 == 0 || written-looked >= mailBytes {
				looked = written
				if lane != LaneControl && s.Expired() {
					s.mailDue = true
					break
				}
			}
		}
		s.protect(0, s.Submit) // before what is for many
		switch lane {
		case LaneSingle:
			s.box.single.open()
		case LaneMove:
			s.wakeDenied()
		}
	}
}

// mailBytes is after how many bytes written a lane looks at the clock: one
// piece of mail may be for many connections.
const mailBytes = 16 << 10

// Keep is called within OnMail, with mail of any lane, and has its place stay
// taken until Release gives it back, as always with mail of LaneBulk.
func (s *Shard) Keep() { s.kept = true }

func (s *Shard) deliver(m Mail) {
	defer s.recoverConn(0)
	switch p := m.Ptr.(type) {
	case *arrival:
		s.arrive(p)
	case stopRequest:
		s.stop()
	case listenRequest:
		s.stopListening()
		p.done.Done()
	default:
		s.handler.OnMail(m)
	}
}
