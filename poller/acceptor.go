package poller

import (
	"syscall"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// acceptBatch is how many connections one listener may give before the shard's
// other events are served. After each acceptStep of them the shard looks whether
// something else comes first: accepting and reading a request takes some 30 µs.
const (
	acceptBatch = 16
	acceptStep  = 4
)

// acceptor owns the listeners of a shard. It belongs to the shard's goroutine,
// and to New before that runs.
//
// The epoll set is level-triggered and would report a listener again and again
// that cannot be accepted from. So listeners are out of the set while accepting
// is paused.
type acceptor struct {
	conns    *conns // for its epoll set
	counters *Counters
	log      *zap.Logger
	shard    int                       // for the log
	open     func(fd int32, state any) // takes an accepted connection, with PortRange.State
	enough   func() bool               // says that other work should not wait any longer

	listeners []*listener
	due       []*listener // have connections, says the current batch of events
	first     int         // of due; it changes with each batch

	// Reasons why accepting is paused.
	exhausted bool // accept said that something has run out
	movesFull bool // sockets wait for room in other shards' mailboxes
	held      bool // connections are for another process, see Loop.Hold
}

// listener is one listening socket of one shard.
type listener struct {
	fd    int32
	index int  // in acceptor.listeners
	inSet bool // in the epoll set
	state any  // PortRange.State
}

// Labels of the errors of accept that are counted.
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

// add takes over a listening socket.
func (x *acceptor) add(fd int32, state any) error {
	ln := &listener{fd: fd, index: len(x.listeners), state: state}
	x.listeners = append(x.listeners, ln)
	if x.held {
		return nil
	}
	return x.watch(ln)
}

func (x *acceptor) watch(ln *listener) error {
	if e := sysEpollCtl(x.conns.epfd, unix.EPOLL_CTL_ADD, ln.fd, unix.EPOLLIN, keyListener+uint64(ln.index)<<32); e != 0 {
		return e
	}
	ln.inSet = true
	return nil
}

// acceptDue accepts from the listeners in due, until that is enough. One of them is
// always accepted from: a shard with much other work must not refuse new clients.
func (x *acceptor) acceptDue() {
	due := x.due
	x.due = due[:0]
	x.first++
	for i := range due {
		x.accept(due[(x.first+i)%len(due)])
		if x.enough() {
			return
		}
	}
}

// accept takes a batch of connections from a listener, or a part of it if that is
// enough. more is false if none are left, or accepting is paused.
func (x *acceptor) accept(ln *listener) (more bool) {
	for n := range acceptBatch {
		if n > 0 && n%acceptStep == 0 && x.enough() {
			return true
		}
		if !ln.inSet {
			return false
		}
		fd, e := sysAccept(ln.fd)
		switch e {
		case 0:
			x.counters.Accepted.Add(1)
			x.open(fd, ln.state)
		case syscall.EAGAIN:
			return false
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
			// Something has run out, and accept would fail again (man 2 accept).
			i := acceptErrnoIndex(e)
			x.counters.acceptErrors[i].Add(1)
			x.log.Warn("cannot accept connections at the moment", zap.String("errno", acceptErrnoNames[i]), zap.Int("shard", x.shard))
			x.exhausted = true
			x.pause()
			return false
		case syscall.EINTR, syscall.ECONNABORTED:
		default:
			// An error of one connection's network; the next connection may be fine.
			x.counters.acceptErrors[acceptErrnoIndex(e)].Add(1)
		}
	}
	return true
}

// paused says whether accepting is paused.
func (x *acceptor) paused() bool { return x.exhausted || x.movesFull || x.held }

// hold leaves new connections to another process, accepts takes them again.
func (x *acceptor) hold() {
	x.held = true
	x.pause()
}

func (x *acceptor) accepts() {
	x.held = false
	x.resume()
}

// pause takes the listeners out of the epoll set.
func (x *acceptor) pause() {
	for _, ln := range x.listeners {
		if ln.inSet {
			sysEpollCtl(x.conns.epfd, unix.EPOLL_CTL_DEL, ln.fd, 0, 0)
			ln.inSet = false
		}
	}
}

// waitForMoves pauses accepting until movesDone: sockets wait for room in other
// shards' mailboxes.
func (x *acceptor) waitForMoves() {
	if !x.movesFull {
		x.movesFull = true
		x.pause()
	}
}

// movesDone says that no socket waits for another shard's mailbox any more.
func (x *acceptor) movesDone() {
	x.movesFull = false
	x.resume()
}

// retry accepts again after something had run out. It is called when a
// connection was closed and once a second.
func (x *acceptor) retry() {
	x.exhausted = false
	x.resume()
}

func (x *acceptor) resume() {
	if x.paused() {
		return
	}
	for _, ln := range x.listeners {
		if !ln.inSet {
			if err := x.watch(ln); err != nil {
				x.exhausted = true // until the next retry
			}
		}
	}
}

// stop accepts the connections that the kernel has completed already, and
// closes the listeners. Their number is bounded, because clients may connect
// as fast as they are accepted.
func (x *acceptor) stop() {
	if x.held { // they are for the process that has the same sockets
		x.close()
		return
	}
	listeners := x.listeners
	x.listeners = nil // resume must not find them
	for _, ln := range listeners {
		ln.inSet = true
		for n := 0; x.accept(ln) && n < listenBacklog/acceptStep; n++ {
		}
		// Closing alone might leave it in the set: a child process that has not
		// called exec yet may hold a copy of the descriptor.
		sysEpollCtl(x.conns.epfd, unix.EPOLL_CTL_DEL, ln.fd, 0, 0)
		sysClose(ln.fd)
	}
}

// close closes the listeners of a shard that takes no turns.
func (x *acceptor) close() {
	for _, ln := range x.listeners {
		sysClose(ln.fd)
	}
	x.listeners = nil
}
