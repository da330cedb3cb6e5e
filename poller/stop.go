package poller

import "sync"

// Requests that a Loop puts into a shard's control lane.
type (
	stopRequest   struct{}
	listenRequest struct{ done *sync.WaitGroup }
)

// stop closes all that the shard has. The turn that called it closes done.
func (s *Shard) stop() {
	s.stopListening()
	for slot, ok := s.slab.Next(0); ok; slot, ok = s.slab.Next(slot + 1) {
		s.closeLater(slot, ReasonStop, ErrClosed)
	}
	s.runCloses()
	s.closeArrivals()
	s.protect(0, s.handler.OnStop)
	s.handler = stoppedHandler{}
	s.stopped.Store(true)
}

// stoppedHandler takes a handler's place once that has had its OnStop, for what is
// left of the turn.
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

// discard gives back what a shard has that takes no turns: not yet, or not
// any more.
func (s *Shard) discard() {
	for _, ln := range s.listeners {
		sysClose(ln.fd)
	}
	s.listeners = nil
	s.closeArrivals()
	s.closeSet()
}

// closeArrivals closes sockets that nobody will open any more.
func (s *Shard) closeArrivals() {
	s.moves.discard(s.dropArrival)
	s.inbox.discard(func(m Mail) {
		switch p := m.Ptr.(type) {
		case *arrival:
			s.dropArrival(p)
		case listenRequest:
			p.done.Done()
		}
	})
}
