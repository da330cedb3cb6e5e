package poller

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"belfry/offheap"
)

// conns are the connections of a shard: their records, the epoll set that
// watches them, the clock that stamps them, and the list of connections to
// close. The halves for sending and receiving know nothing else of connections.
// All fields but live belong to the shard's goroutine.
type conns struct {
	slab          *offheap.Slab
	epfd          int32
	gen           uint32         // generation of the connection opened last
	now           uint32         // the shard's clock, in ticks
	pendingCloses []pendingClose // closed at the end of the turn
	retired       int            // slots that are never used again
	frozen        int            // connections that are frozen
	unwatched     []ID           // paused connections that are new, and not registered with epoll yet

	live atomic.Int64 // open connections; other goroutines read it
}

// pendingClose is a connection waiting to be closed. Closing is put off to the
// end of a turn, so that no slot is reused and OnClose is never called inside
// another call of the handler.
type pendingClose struct {
	id     ID
	reason Reason
	err    error
}

func (x *conns) at(slot uint32) *conn { return (*conn)(x.slab.Ptr(slot)) }

func (x *conns) id(slot uint32) ID { return ID(uint64(x.at(slot).gen)<<32 | uint64(slot)) }

// lookup returns the slot of a connection. ok is false if it has ended or will
// be closed at the end of the turn.
func (x *conns) lookup(id ID) (slot uint32, ok bool) {
	slot = id.Slot()
	return slot, x.alive(slot, id.gen())
}

// alive says whether the slot still holds the connection of that generation
// and the connection is not about to be closed.
func (x *conns) alive(slot, gen uint32) bool {
	if !x.slab.Live(slot) {
		return false
	}
	c := x.at(slot)
	return c.gen == gen && c.flags&flagClosing == 0
}

// open takes a slot for a descriptor. It does not register it with epoll. ok is
// false if all slots are in use.
func (x *conns) open(fd int32) (slot uint32, ok bool) {
	slot, ok = x.slab.Alloc()
	if !ok {
		return 0, false
	}
	if x.gen++; x.gen == 0 {
		x.gen = 1
	}
	c := x.at(slot)
	c.fd, c.gen = fd, x.gen
	c.lastRead, c.lastWrite = x.now, x.now
	x.countLive()
	return slot, true
}

// free gives a slot back.
func (x *conns) free(slot uint32) {
	x.slab.Free(slot)
	x.countLive()
}

// retire keeps a slot from ever being used again.
func (x *conns) retire() {
	x.retired++
	x.countLive()
}

func (x *conns) countLive() { x.live.Store(int64(x.slab.Len() - x.retired)) }

// closeLater has a connection closed at the end of the turn. Only the first
// call for a connection counts.
func (x *conns) closeLater(slot uint32, reason Reason, err error) {
	c := x.at(slot)
	if c.flags&flagClosing != 0 {
		return
	}
	c.flags |= flagClosing
	x.pendingCloses = append(x.pendingCloses, pendingClose{x.id(slot), reason, err})
}

// watch has a new connection wait for events. A paused one waits for an answer, which
// usually comes within microseconds and resumes, moves or closes the connection. Until
// then it stays out of the epoll set, which saves up to three system calls.
func (x *conns) watch(slot uint32, c *conn) {
	if c.flags&flagPaused != 0 && c.backlog == 0 && c.flags&(flagInSet|flagUnwatched|flagClosing) == 0 {
		c.flags |= flagUnwatched
		x.unwatched = append(x.unwatched, x.id(slot))
		return
	}
	x.register(slot, c)
}

// watchAll registers the connections whose answer takes longer: the end of a paused
// connection must be noticed. It is called when the shard had nothing to do, and with
// every tick.
func (x *conns) watchAll() {
	if len(x.unwatched) == 0 {
		return
	}
	for _, id := range x.unwatched {
		if slot, ok := x.lookup(id); ok {
			if c := x.at(slot); c.flags&flagUnwatched != 0 {
				x.register(slot, c)
			}
		}
	}
	if x.unwatched = x.unwatched[:0]; cap(x.unwatched) > 1024 {
		x.unwatched = nil
	}
}

// register adds a connection to the epoll set.
func (x *conns) register(slot uint32, c *conn) {
	c.flags &^= flagUnwatched
	if c.flags&(flagInSet|flagClosing) != 0 {
		return
	}
	if e := sysEpollCtl(x.epfd, unix.EPOLL_CTL_ADD, c.fd, c.events(), uint64(x.id(slot))); e != 0 {
		x.closeLater(slot, ReasonRead, e)
		return
	}
	c.flags |= flagInSet
}

// updateEvents tells the epoll set which events the connection waits for now,
// if they have changed.
func (x *conns) updateEvents(slot uint32, c *conn) {
	if c.flags&flagUnwatched != 0 {
		x.register(slot, c) // it was resumed, or has a backlog now
		return
	}
	if c.flags&flagInSet == 0 || c.flags&flagClosing != 0 {
		return // a new connection is registered after the handler's first calls
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

// events returns the events that the connection waits for. It sets the flags
// that record them, so the caller must pass the events to epoll_ctl.
func (c *conn) events() uint32 {
	c.flags &^= flagInOff | flagOutOn
	var events uint32 = unix.EPOLLIN
	if c.flags&flagPaused != 0 {
		c.flags |= flagInOff
		events = unix.EPOLLRDHUP // the end of a paused connection is still noticed
	}
	if c.backlog != 0 {
		c.flags |= flagOutOn
		events |= unix.EPOLLOUT
	}
	return events
}
