package poller

import (
	"golang.org/x/sys/unix"

	"belfry/offheap"
)

// conns are the connections of a shard: their records, the epoll set that
// watches them, the clock that stamps them and the list of connections to be
// closed. It is all that the sending half needs to know of connections.
type conns struct {
	slab          *offheap.Slab
	epfd          int32
	gen           uint32         // of the connection opened last
	now           uint32         // the shard's clock: ticks it lived
	pendingCloses []pendingClose // closed at the end of the turn
}

// pendingClose is a connection waiting to be closed. Closing is put off to the end
// of a turn so that no slot is reused and OnClose is never called inside
// another call of the handler.
type pendingClose struct {
	id     ID
	reason Reason
	err    error
}

func (x *conns) at(slot uint32) *conn { return (*conn)(x.slab.Ptr(slot)) }

func (x *conns) id(slot uint32) ID { return ID(uint64(x.at(slot).gen)<<32 | uint64(slot)) }

// alive says whether slot still is the connection it was when gen was read
// and has not been given up.
func (x *conns) alive(slot, gen uint32) bool {
	if !x.slab.Live(slot) {
		return false
	}
	c := x.at(slot)
	return c.gen == gen && c.flags&flagClosing == 0
}

// closeLater puts a connection on the list of those to be closed. Doing it twice
// does nothing.
func (x *conns) closeLater(slot uint32, cause Reason, err error) {
	c := x.at(slot)
	if c.flags&flagClosing != 0 {
		return
	}
	c.flags |= flagClosing
	x.pendingCloses = append(x.pendingCloses, pendingClose{x.id(slot), cause, err})
}

// register adds a connection to the epoll set.
func (x *conns) register(slot uint32, c *conn) {
	if c.flags&(flagInSet|flagClosing) != 0 {
		return
	}
	if e := sysEpollCtl(x.epfd, unix.EPOLL_CTL_ADD, c.fd, c.events(), uint64(x.id(slot))); e != 0 {
		x.closeLater(slot, ReasonRead, e)
		return
	}
	c.flags |= flagInSet
}

// updateEvents changes the events that the epoll set reports of a connection to those
// that it waits for now.
func (x *conns) updateEvents(slot uint32, c *conn) {
	if c.flags&flagInSet == 0 || c.flags&flagClosing != 0 {
		return // accept and arrive register it when the handler is done
	}
	armed := c.flags & (flagInOff | flagOutOn)
	events := c.events()
	if c.flags&(flagInOff|flagOutOn) == armed {
		return
	}
	if e := sysEpollCtl(x.epfd, unix.EPOLL_CTL_MOD, c.fd, events, uint64(x.id(slot))); e != 0 {
		x.closeLater(slot, ReasonWrite, e)
	}
}

// events returns the events that the connection waits for, and notes in its
// flags that the epoll set is told so.
func (c *conn) events() uint32 {
	c.flags &^= flagInOff | flagOutOn
	var events uint32 = unix.EPOLLIN
	if c.flags&flagPaused != 0 {
		c.flags |= flagInOff
		events = unix.EPOLLRDHUP // a paused reader still has to see that the peer is gone
	}
	if c.backlog != 0 {
		c.flags |= flagOutOn
		events |= unix.EPOLLOUT
	}
	return events
}
