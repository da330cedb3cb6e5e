package poller

import (
	"syscall"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// acceptBatch is how many connections one listener may give before the
// shard's other events get their turn.
const acceptBatch = 16

// The errors of accept that mean that something has run out (man 2 accept).
// They would come again at once, so listeners leave the set until a
// connection closes or a second has passed.
const acceptErrnos = 5

var acceptErrnoNames = [acceptErrnos]string{"EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "other"}

func acceptErrnoIndex(e syscall.Errno) int {
	switch e {
	case syscall.EMFILE:
		return 0
	case syscall.ENFILE:
		return 1
	case syscall.ENOBUFS:
		return 2
	case syscall.ENOMEM:
		return 3
	}
	return 4
}

// acceptState says why a shard does not accept at the moment.
type acceptState struct {
	exhausted bool // accept said that something has run out
	movesFull bool // sockets wait for other shards' mailboxes
}

// What has happened when listeners may be looked at again.
type resumeEvent uint8

const (
	resumeClosed resumeEvent = iota // a connection closed
	resumeTick                      // a second has passed
	resumeSent                      // waiting sockets have moved
)

func (s *Shard) watchListener(ln *listener) error {
	if e := sysEpollCtl(s.epfd, unix.EPOLL_CTL_ADD, ln.fd, unix.EPOLLIN, keyListener+uint64(ln.index)<<32); e != 0 {
		return e
	}
	ln.inSet = true
	return nil
}

// pauseAccept takes the listeners out of the set: it is level-triggered and
// would report them again and again.
func (s *Shard) pauseAccept() {
	for _, ln := range s.listeners {
		if ln.inSet {
			sysEpollCtl(s.epfd, unix.EPOLL_CTL_DEL, ln.fd, 0, 0)
			ln.inSet = false
		}
	}
}

func (s *Shard) resumeAccept(cause resumeEvent) {
	switch cause {
	case resumeSent:
		s.accepting.movesFull = false
	default:
		s.accepting.exhausted = false
	}
	if s.accepting != (acceptState{}) {
		return
	}
	for _, ln := range s.listeners {
		if !ln.inSet {
			if err := s.watchListener(ln); err != nil {
				s.accepting.exhausted = true // try again in a second
			}
		}
	}
}

// accept takes a batch of new connections from a listener, and says whether
// there may be more to be had at once.
func (s *Shard) accept(ln *listener) (more bool) {
	for range acceptBatch {
		if !ln.inSet {
			return false
		}
		fd, e := sysAccept(ln.fd)
		switch e {
		case 0:
			s.Counters.Accepted.Add(1)
			s.openAccepted(fd, ln.state)
		case syscall.EAGAIN:
			return false
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
			s.Counters.acceptErrors[acceptErrnoIndex(e)].Add(1)
			s.opt.Log.Warn("cannot accept connections at the moment", zap.String("errno", acceptErrnoNames[acceptErrnoIndex(e)]), zap.Int("shard", s.index))
			s.accepting.exhausted = true
			s.pauseAccept()
			return false
		case syscall.EINTR, syscall.ECONNABORTED:
		default:
			// Errors of the network that accept passes on; the next may be fine.
			s.Counters.acceptErrors[acceptErrnoIndex(e)].Add(1)
		}
	}
	return true
}

// openAccepted opens an accepted connection and reads at once: TCP_DEFER_ACCEPT
// makes it likely that the request is there. Only what is still this shard's
// afterwards goes into its epoll set.
func (s *Shard) openAccepted(fd int32, state any) {
	slot, ok := s.open(fd)
	if !ok {
		s.Counters.AcceptRefused.Add(1)
		sysClose(fd)
		return
	}
	id := s.ID(slot)
	defer s.recoverConn(id)
	s.handler.OnOpen(slot, state)
	if s.alive(slot, uint32(id>>32)) {
		s.read(slot, s.at(slot))
	}
	if s.alive(slot, uint32(id>>32)) {
		s.opened(slot)
	}
}

// opened has a connection that is still this shard's after its first read wait
// for events.
func (s *Shard) opened(slot uint32) {
	id := s.ID(slot)
	if w, ok := s.handler.(HalfOpener); ok {
		w.OnHalfOpen(slot)
	}
	if s.alive(slot, uint32(id>>32)) {
		s.register(slot, s.at(slot))
	}
}

// stopListening accepts what the kernel has completed already and closes the
// listeners.
func (s *Shard) stopListening() {
	listeners := s.listeners
	s.listeners = nil // whatever comes now does not resume them
	for _, ln := range listeners {
		// Not for ever: clients may come as fast as they are accepted.
		ln.inSet = true
		for n := 0; s.accept(ln) && n < listenBacklog/acceptBatch; n++ {
		}
		// Not left to close: a copy of the descriptor, in a child process that
		// has not got to its exec yet, would keep it in the set.
		sysEpollCtl(s.epfd, unix.EPOLL_CTL_DEL, ln.fd, 0, 0)
		sysClose(ln.fd)
	}
}
