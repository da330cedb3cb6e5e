package poller

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// unwatchedRig has one shard, whose connections are paused when they are opened. In the
// next turn, answer is called for each.
func unwatchedRig(t *testing.T, busy bool, answer func(s *Shard, id ID)) *rig {
	return newRig(t, Options{Shards: 1}, func(h *echoHandler) {
		h.mail = runMail
		h.work = func(*Shard) bool { return busy }
		h.open = func(s *Shard, slot uint32, state any) {
			s.Pause(slot)
			id := s.ID(slot)
			if !s.Post(QueueControl, Mail{Ptr: func(s *Shard) { answer(s, id) }}) {
				t.Error("the control queue is full")
			}
			reportID(s, slot, state)
		}
	})
}

// paused returns the peer of a connection that was paused when it was opened.
func (r *rig) paused(t *testing.T) (net.Conn, ID) {
	c, id := r.pair(0)
	t.Cleanup(func() { c.Close() })
	return c, id
}

// A new connection that is paused is not in the epoll set until it is resumed, has to
// wait for room, moves or ends.
func TestPausedIsNotWatched(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(s *Shard, slot uint32)
		events uint32 // that it waits for then; 0: it is gone
	}{
		{"resumed", func(s *Shard, slot uint32) { s.Resume(slot) }, unix.EPOLLIN},
		{"a backlog", func(s *Shard, slot uint32) { fillBacklog(s, slot) }, unix.EPOLLRDHUP | unix.EPOLLOUT},
		{"detached", func(s *Shard, slot uint32) {
			if sock, ok := s.Detach(slot, nil); ok {
				unix.Close(sock.FD)
			}
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, after, gone := make(chan bool, 1), make(chan uint32, 1), make(chan bool, 1)
			r := unwatchedRig(t, true, func(s *Shard, id ID) {
				slot, fd := id.Slot(), s.FD(id.Slot())
				_, there := watched(t, int(s.epfd), fd)
				before <- there
				tt.answer(s, slot)
				_, ok := s.Lookup(id)
				gone <- !ok
				events, _ := watched(t, int(s.epfd), fd)
				after <- events & (unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP)
			})
			r.paused(t)
			if receive(t, before) {
				t.Error("it is in the epoll set before its answer")
			}
			if lost := receive(t, gone); lost != (tt.events == 0) {
				t.Errorf("gone: %v", lost)
			}
			if events := receive(t, after); events != tt.events {
				t.Errorf("it waits for %#x, want %#x", events, tt.events)
			}
		})
	}
}

// The end of a paused connection is noticed though no answer comes: when the shard has
// nothing to do, and else with the next tick.
func TestPausedEnds(t *testing.T) {
	for _, busy := range []bool{false, true} {
		r := unwatchedRig(t, busy, func(*Shard, ID) {})
		c, _ := r.paused(t)
		c.Close()
		if busy {
			r.settle(0)
			if n := r.handlers[0].closed.Load(); n != 0 {
				t.Errorf("a busy shard has watched %d connections before its tick", n)
			}
			r.Tick(1)
		}
		if why := receive(t, r.handlers[0].reasons); why != ReasonEOF && why != ReasonRead {
			t.Errorf("busy %v: closed because of %v", busy, why)
		}
		r.on(0, func(s *Shard) {
			if len(s.unwatched) != 0 {
				t.Errorf("busy %v: %d are unwatched", busy, len(s.unwatched))
			}
		})
	}
}
