package poller

// Requests of a Loop, posted to a shard's control queue.
type (
	stopRequest   struct{}
	listenRequest struct{ done func() }
)

// stop closes the listeners and all connections, and ends the handler. The turn
// in which it is called closes done.
func (s *Shard) stop() {
	s.acceptor.stop()
	s.dropAll()
	for slot, ok := s.slab.Next(0); ok; slot, ok = s.slab.Next(slot + 1) {
		s.closeLater(slot, ReasonStop, ErrClosed)
	}
	s.closePending()
	s.closeArrivals()
	s.guard.protect(0, s.handler.OnStop)
	s.handler = stoppedHandler{}
	s.stopped.Store(true)
}

// stoppedHandler replaces a handler after its OnStop, for the rest of the turn.
type stoppedHandler struct{}

func (stoppedHandler) OnOpen(uint32, any)              {}
func (stoppedHandler) OnMoved(uint32, any)             {}
func (stoppedHandler) OnData(_ uint32, p []byte) int   { return len(p) }
func (stoppedHandler) OnTimer(uint32)                  {}
func (stoppedHandler) OnClose(uint32, Reason, error)   {}
func (stoppedHandler) OnMail(Mail)                     {}
func (stoppedHandler) OnTick()                         {}
func (stoppedHandler) OnWork() bool                    { return false }
func (stoppedHandler) OnSubmitted()                    {}
func (stoppedHandler) OnSendFailed(uint32, SendResult) {}
func (stoppedHandler) OnStop()                         {}

// discard gives back what a shard holds. The shard was not started yet, or takes
// no turns any more.
func (s *Shard) discard() {
	s.acceptor.close()
	s.closeArrivals()
	s.closeSet()
}

// closeArrivals closes sockets that wait to be opened here or in other shards.
func (s *Shard) closeArrivals() {
	s.moves.discard(s.dropArrival)
	s.inbox.discard(func(m Mail) {
		switch p := m.Ptr.(type) {
		case *arrival:
			s.dropArrival(p)
		case listenRequest:
			p.done()
		case holdRequest:
			p.done()
		case acceptRequest:
			p.done()
		}
	})
}
