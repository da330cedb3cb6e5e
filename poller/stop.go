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
		s.kill(slot, CauseStop, ErrClosed)
	}
	s.reap()
	s.closeArrivals()
	s.protect(0, s.handler.OnStop)
	s.stopped.Store(true)
}

// closeArrivals closes sockets that nobody will open any more.
func (s *Shard) closeArrivals() {
	for i := range s.outboxes {
		for _, a := range s.outboxes[i].items {
			sysClose(int32(a.FD))
		}
		s.outboxes[i].items = nil
	}
	s.waiting = 0
	for _, lane := range Lanes() {
		for {
			m, ok := s.box.lanes[lane].ring.pop()
			if !ok {
				break
			}
			switch p := m.Ptr.(type) {
			case *arrival:
				sysClose(int32(p.FD))
			case listenRequest:
				p.done.Done()
			}
		}
	}
}
