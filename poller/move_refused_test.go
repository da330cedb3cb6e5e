package poller

import (
	"slices"
	"testing"
)

// refusedRig has two shards. A shard that gets a connection with a number as state
// moves it on so many times, and failed gets what OnSendFailed is told, in any
// shard.
func refusedRig(t *testing.T, o Options, failed func(s *Shard, slot uint32, r SendResult)) *rig {
	return newRig(t, o, func(h *echoHandler) {
		h.mail = runMail
		h.open = func(s *Shard, slot uint32, state any) {
			if n, ok := state.(int); ok && n > 0 {
				s.Move(slot, 1-s.Index(), n-1, nil)
				return
			}
			reportID(s, slot, state)
		}
		h.failed = func(slot uint32, r SendResult) { failed(h.s, slot, r) }
	})
}

// A send that is refused before its connection moves is told in the shard that the
// connection comes to, however often it moves, and not told where it was refused.
func TestMoveAfterRefusedSend(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		send func(s *Shard, slot uint32)
		want []SendResult
	}{
		"frames": {Options{Backlog: Bounds{Frames: 2}}, func(s *Shard, slot uint32) {
			for range 3 {
				s.Send(slot, Bytes([]byte("data")), Data)
			}
		}, []SendResult{FramesFull}},
		"bytes": {Options{Backlog: Bounds{Bytes: 100}}, func(s *Shard, slot uint32) {
			for range 3 {
				s.Send(slot, Bytes(make([]byte, 60)), Data)
			}
		}, []SendResult{BytesFull, BytesFull}},
		"control, then data": {Options{NodeBytes: 1}, func(s *Shard, slot uint32) {
			s.Send(slot, Bytes([]byte("ping")), Control)
			s.Send(slot, Bytes([]byte("data")), Data)
		}, []SendResult{ControlLost, NodeFull}},
	} {
		for moves := range 3 {
			t.Run(name, func(t *testing.T) {
				told := make(chan SendResult, 10)
				where := make(chan int, 10)
				r := refusedRig(t, c.o, func(s *Shard, _ uint32, result SendResult) { where <- s.Index(); told <- result })
				_, id := r.pair(0)
				r.on(0, func(s *Shard) {
					fillSocket(s, id.Slot())
					c.send(s, id.Slot())
					s.Move(id.Slot(), 1, moves, nil)
				})
				var got []SendResult
				for range c.want {
					got = append(got, receive(t, told))
					if at := receive(t, where); at != (1+moves)%2 {
						t.Errorf("told in shard %d after %d moves", at, 1+moves)
					}
				}
				r.settle(0)
				r.settle(1)
				if !slices.Equal(got, c.want) || len(told) > 0 {
					t.Errorf("told %v and %d more; want %v", got, len(told), c.want)
				}
			})
		}
	}
}

// A connection that was evicted stays so when it moves: frames must not follow the
// gap, and the handler of the new shard is told although the old one knows.
func TestMoveOfEvicted(t *testing.T) {
	for _, knows := range []bool{false, true} {
		told := make(chan int, 10) // shards
		o := Options{NodeBytes: 4 << 10}
		r := refusedRig(t, o, func(s *Shard, _ uint32, result SendResult) {
			if result != NodeFull {
				t.Errorf("result %d", result)
			}
			told <- s.Index()
		})
		_, large := r.pair(0)
		_, small := r.pair(0)
		r.on(0, func(s *Shard) {
			fillSocket(s, large.Slot())
			fillSocket(s, small.Slot())
			s.Send(large.Slot(), Bytes(make([]byte, 3<<10)), Data)
			s.Send(small.Slot(), Bytes(make([]byte, 1<<10)), Data)
			s.Send(small.Slot(), Bytes(make([]byte, 100)), Data)
			if !knows {
				s.Move(large.Slot(), 1, make(chan ID, 1), nil)
			}
		})
		if knows {
			if at := receive(t, told); at != 0 {
				t.Errorf("told in shard %d", at)
			}
			r.on(0, func(s *Shard) { s.Move(large.Slot(), 1, make(chan ID, 1), nil) })
		}
		if at := receive(t, told); at != 1 {
			t.Errorf("the old handler knows: %v; told in shard %d", knows, at)
		}
		r.on(1, func(s *Shard) {
			slot, _ := s.Next(0)
			if got := s.sendNow(slot, Bytes([]byte("behind a gap")), Data); got != sendClosed {
				t.Errorf("sent to an evicted connection: %d", got)
			}
			s.DropBacklog(slot)
			if got := s.sendNow(slot, Bytes([]byte("bye")), Last); got != sendDone && got != sendQueued {
				t.Errorf("the last payload: %d", got)
			}
		})
		r.settle(0)
		r.settle(1)
		if len(told) > 0 {
			t.Errorf("%d more calls", len(told))
		}
	}
}

// Of several refused sends the first may already be told when the connection
// moves. The others are told in the new shard.
func TestMoveBetweenRefusals(t *testing.T) {
	told := make(chan int, 10) // shards
	r := refusedRig(t, Options{Backlog: Bounds{Frames: 1}}, func(s *Shard, slot uint32, _ SendResult) {
		told <- s.Index()
		if s.Index() == 0 {
			s.Move(slot, 1, make(chan ID, 1), nil)
		}
	})
	_, id := r.pair(0)
	r.on(0, func(s *Shard) {
		fillSocket(s, id.Slot())
		for range 4 {
			s.Send(id.Slot(), Bytes([]byte("data")), Data)
		}
	})
	var got []int
	for range 3 {
		got = append(got, receive(t, told))
	}
	r.settle(1)
	if want := []int{0, 1, 1}; !slices.Equal(got, want) || len(told) > 0 {
		t.Errorf("told in shards %v and %d times more, want %v", got, len(told), want)
	}
}
