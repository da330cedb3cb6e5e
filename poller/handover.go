package poller

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A hot restart hands connections to another process. The loop that gives them away
// freezes them: they keep their slot, their generation and a descriptor, and nothing
// happens to them any more. Later they are dropped, or thawed if the other process did
// not take over after all. The loop that takes them over opens them in the same slot
// and under the same generation, so that their IDs stay valid.

// Handed is the state of a connection that is handed over. The clock of the two loops
// need not be the same: Ticks says what it was.
type Handed struct {
	ID         ID
	FD         int
	Unread     []byte // received, and not consumed by the handler
	Unsent     []byte // sent before anything else
	CloseWrite bool   // shut down for writing after Unsent
	Adopted    bool   // see Shard.Adopted
	Large      bool   // Options.LargeBacklog limits its backlog
	Paused     bool

	Ticks     uint32 // the clock of the shard
	LastRead  uint32 // ticks
	LastWrite uint32
	Timer     uint32 // the tick for which its timer is set, if Timed
	Timed     bool
}

// Heritage is what a loop takes over from the loop of another process.
type Heritage struct {
	Listeners   []Listening
	Clocks      []uint32 // by shard: ticks
	Generations []uint32 // by shard: of the connection that was opened last
}

// Listening is a listening socket of one shard.
type Listening struct {
	Shard int
	FD    int
	Range int // index in Options.Listen
}

// Freezable sends what is staged and says whether a connection can be frozen. It cannot if
// the handler is still to be told that the connection ended or that a send failed.
func (s *Shard) Freezable(slot uint32) bool {
	s.Submit()
	return s.at(slot).flags&(flagClosing|flagEvicted) == 0 && !s.sender.untold(slot)
}

// Freeze takes a connection out of everything. It must be Freezable, and nothing may have
// been sent to it since. The handler first forgets the slot in its own tables, and keeps
// what it needs to thaw it. The slices are copies. The descriptor stays the shard's.
func (s *Shard) Freeze(slot uint32) Handed {
	c := s.at(slot)
	h := Handed{
		ID: s.id(slot), FD: int(c.fd), Unread: append([]byte(nil), s.receiver.accounts.unread(c)...), Unsent: s.sender.unsent(c),
		CloseWrite: c.flags&(flagCloseWrite|flagWriteClosed) != 0, Adopted: c.flags&flagAdopted != 0, Large: c.flags&flagLargeBacklog != 0,
		Paused: c.flags&flagPaused != 0, Ticks: s.now, LastRead: c.lastRead, LastWrite: c.lastWrite,
	}
	h.Timer, h.Timed = s.timers.wheel.deadline(slot)
	// The descriptor stays open in another process, so it would stay in the set even
	// after it is closed here (man 7 epoll).
	if c.flags&flagInSet != 0 {
		sysEpollCtl(s.epfd, unix.EPOLL_CTL_DEL, c.fd, 0, 0)
	}
	s.release(slot, c)
	c.flags = flagClosing | flagFrozen // nothing finds it any more
	s.frozen++
	return h
}

// Frozen says whether a slot has a connection that is frozen.
func (s *Shard) Frozen(slot uint32) bool {
	return s.slab.Live(slot) && s.at(slot).flags&flagFrozen != 0
}

// Drop closes the descriptor of a frozen connection and frees its slot. If the process
// that took it over has a copy, the connection stays.
func (s *Shard) Drop(slot uint32) {
	if !s.Frozen(slot) {
		return
	}
	fd := s.at(slot).fd
	s.frozen--
	s.free(slot)
	sysClose(fd)
}

// Thaw has a frozen connection go on from a state, which need not be that of Freeze. Its
// descriptor is that of the slot. The handler has entered the connection into its own
// tables; ThawDone follows in the same call of the handler.
func (s *Shard) Thaw(h *Handed) error {
	slot := h.ID.Slot()
	if !s.Frozen(slot) || s.id(slot) != h.ID {
		return fmt.Errorf("poller: slot %d has no frozen connection of generation %d", slot, h.ID.gen())
	}
	s.frozen--
	s.restore(slot, h)
	return nil
}

// Inherit opens a connection of another process in its slot and under its generation.
// The record of the handler is zero. The descriptor belongs to the shard if Inherit
// returns nil. As with Thaw, ThawDone follows.
func (s *Shard) Inherit(h *Handed) error {
	slot := h.ID.Slot()
	if h.ID.gen() == 0 {
		return errors.New("poller: generation 0")
	}
	if err := unix.SetNonblock(h.FD, true); err != nil {
		return fmt.Errorf("poller: slot %d: %w", slot, err)
	}
	if !s.slab.AllocAt(slot) {
		return fmt.Errorf("poller: slot %d is in use, or above the %d that there are", slot, s.slab.Max())
	}
	c := s.at(slot)
	c.fd, c.gen = int32(h.FD), h.ID.gen()
	s.Opened(h.ID.gen())
	s.countLive()
	s.restore(slot, h)
	return nil
}

// Opened says that a generation was used by the process before, so that no connection
// of this one gets it.
func (s *Shard) Opened(generation uint32) {
	if int32(generation-s.gen) > 0 {
		s.gen = generation
	}
}

// Generation returns that of the connection that was opened last.
func (s *Shard) Generation() uint32 { return s.gen }

// restore gives a connection its state. Times are shifted to the clock of this shard.
func (s *Shard) restore(slot uint32, h *Handed) {
	c := s.at(slot)
	shift := s.now - h.Ticks
	c.flags = 0
	if h.Adopted {
		c.flags |= flagAdopted
	}
	if h.Large {
		c.flags |= flagLargeBacklog
	}
	if h.Paused {
		c.flags |= flagPaused
	}
	c.lastRead, c.lastWrite = h.LastRead+shift, h.LastWrite+shift
	s.sender.adopt(slot, c, &arrival{Socket: Socket{Unsent: h.Unsent, CloseWrite: h.CloseWrite}})
	if len(h.Unread) > 0 {
		s.loop.input.add(chargeOf(h.Unread))
		s.receiver.accounts.adoptUnread(slot, c, h.Unread)
	}
	if h.Timed {
		s.timers.wheel.set(slot, h.Timer+shift)
	}
}

// ThawDone has a connection that was thawed or inherited wait for events, and shows the
// handler its unread bytes in a later turn.
func (s *Shard) ThawDone(slot uint32) {
	c := s.at(slot)
	if c.flags&flagClosing != 0 {
		return
	}
	s.register(slot, c)
	if a := s.receiver.accounts.of(c); a != nil && a.unread != nil {
		s.receiver.deferRead(slot)
	}
}

// MarkBacklogs has a byte set for each slot whose connection gets a backlog: perhaps a
// part of a frame was sent, and nobody else can go on behind it. nil ends it.
func (s *Shard) MarkBacklogs(marks []byte) { s.sender.backlogs.marks = marks }

// Shutdown ends a connection for its peer at once, also if another process has a copy of
// the descriptor (man 2 shutdown). It stays open here.
func (s *Shard) Shutdown(slot uint32) { _ = unix.Shutdown(int(s.at(slot).fd), unix.SHUT_RDWR) }

// dropAll drops all frozen connections.
func (s *Shard) dropAll() {
	for slot, ok := s.slab.Next(0); ok && s.frozen > 0; slot, ok = s.slab.Next(slot + 1) {
		s.Drop(slot)
	}
}

// Requests of a Loop, posted to a shard's control queue.
type (
	holdRequest   struct{ done func() }
	acceptRequest struct{ done func() }
)

// Listenings returns the listening sockets, which stay the loop's. Any goroutine.
func (l *Loop) Listenings() []Listening { return l.listenings }

// Hold stops accepting connections without closing the listeners: clients that connect
// wait in the kernel, until Accept is called here or in another process that has the
// same sockets. It returns when no shard accepts any more. Any goroutine except a
// shard's.
func (l *Loop) Hold() error {
	return l.ask(func(done func()) any { return holdRequest{done} })
}

// Accept accepts connections after Hold, or in a loop with a Heritage. Any goroutine
// except a shard's.
func (l *Loop) Accept() error {
	return l.ask(func(done func()) any { return acceptRequest{done} })
}
