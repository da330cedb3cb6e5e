package poller

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

// The last words of a connection that did not read: what began is completed,
// the rest is gone, and the word follows.
func TestDropBacklog(t *testing.T) {
	r := backlogRig(t, Options{})
	c, id := r.pair(0)
	queued := r.sendUntil(id, 0, 3000, Queued)
	frames := 0
	r.on(0, func(s *Shard) {
		for n := range 10 {
			s.Send(id.Slot(), NewBatch(numbered(1000+n, 3000, 0)))
		}
		s.SendControl(id.Slot(), []byte("ping\n"), 0)
		s.DropBacklog(id.Slot())
		s.SendControl(id.Slot(), []byte("bye\n"), 0)
		frames, _ = s.Backlog(id.Slot()) // before the socket may take more
	})
	begun := 0
	switch frames {
	case 0: // none had begun, and there was room for the word
	case 1:
	case 2:
		begun = 1
	default:
		t.Errorf("%d frames wait, want no more than the one that began and the last word", frames)
	}
	got := lines(t, c, queued+begun+1)
	if got[len(got)-1] != "bye" {
		t.Errorf("last line %q", got[len(got)-1])
	}
	for i, l := range got[:len(got)-1] {
		if l != fmt.Sprintf("%08d ", i) {
			t.Errorf("line %d is %q", i, l)
		}
	}
	eventually(t, "no backlog", func() bool { return r.Stats().BacklogBytes == 0 })
}

func TestFinish(t *testing.T) {
	r := backlogRig(t, Options{})
	for _, size := range []int{100, 200_000} {
		c, id := r.pair(0)
		var again, control, answer SendResult
		r.on(0, func(s *Shard) {
			s.Send(id.Slot(), NewBatch(numbered(1, size, 0)))
			s.SendBytes(id.Slot(), []byte("answer\n"))
			s.SendControl(id.Slot(), []byte("close\n"), 0)
			s.Finish(id.Slot())
			again = s.Send(id.Slot(), NewBatch(numbered(2, 100, 0)))
			control = s.SendControl(id.Slot(), []byte("late\n"), 0)
			answer = s.SendBytes(id.Slot(), []byte("late\n"))
			s.Finish(id.Slot())
		})
		if again != SendError || control != SendError || answer != SendError {
			t.Errorf("sends after Finish: %d, %d, %d; want SendError", again, control, answer)
		}
		all, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		rest, ok := bytes.CutPrefix(all, numbered(1, size, 0).Bytes())
		if !ok || len(rest) != len("answer\nclose\n") {
			t.Errorf("%d bytes before the end, then %q", len(all), rest)
		}
		// The connection can still be heard, and ends with its peer.
		if r.Stats().Connections != 1 {
			t.Error("connection is gone before its peer")
		}
		c.Close()
		eventually(t, "closed", func() bool { return r.Stats().Connections == 0 })
		if got := <-r.handlers[0].causes; got != CauseEOF {
			t.Errorf("cause %d", got)
		}
	}
}

// A backlog dropped when Finish has been called already must not keep the
// connection from being finished.
func TestDropBacklogAfterFinish(t *testing.T) {
	r := backlogRig(t, Options{})
	ours, peer := socketPair(t)
	c := fileConn(t, peer)
	id := r.adopt(0, Socket{FD: ours})
	r.on(0, func(s *Shard) {
		for s.SendBytes(id.Slot(), []byte(strings.Repeat("x", 100))) == Sent {
		}
		s.SendControl(id.Slot(), []byte("ping"), 0)
		s.Finish(id.Slot())
		s.DropBacklog(id.Slot())
	})
	if _, err := io.ReadAll(c); err != nil {
		t.Fatalf("no end of file after what was left: %v", err)
	}
}

// Nothing is a legal thing to send, and must not be waited for.
func TestSendNothing(t *testing.T) {
	r := backlogRig(t, Options{})
	c, id := r.pair(0)
	n := r.sendUntil(id, 0, 1000, Queued)
	r.on(0, func(s *Shard) {
		s.SendBytes(id.Slot(), nil)
		s.SendControl(id.Slot(), nil, 0)
		s.Send(id.Slot(), NewBatch(NewFrame(nil, 0), numbered(n+1, 1000, 0), NewFrame(nil, 0)))
	})
	if frames, _ := r.backlog(id); frames != 2 {
		t.Errorf("%d frames wait, want 2", frames)
	}
	lines(t, c, n+2)
	eventually(t, "no backlog", func() bool { return r.Stats().Backlogged == 0 })
	r.on(0, func(s *Shard) {
		if got := s.Send(id.Slot(), NewBatch(NewFrame(nil, 0), NewFrame(nil, 0))); got != Sent {
			t.Errorf("result %d", got)
		}
	})
}

// A connection that moves in the middle of a frame goes on in the middle of
// it: not even a control frame may come between.
func TestMoveInsideFrame(t *testing.T) {
	r := newRig(t, Options{}, func(h *echoHandler) {
		h.mail = runMail
		h.open = func(s *Shard, slot uint32, state any) {
			reportID(s, slot, state)
			if state == "moved" {
				s.SendControl(slot, []byte("control\n"), 0)
				s.DropBacklog(slot)
				s.SendControl(slot, []byte("bye\n"), 0)
				s.Finish(slot)
			}
		}
	})
	c, id := r.pair(0)
	frame := numbered(7, 100_000, 0)
	r.on(0, func(s *Shard) {
		if got := s.Send(id.Slot(), NewBatch(frame)); got != Queued {
			t.Errorf("result %d, want Queued", got)
		}
		s.Move(id.Slot(), 1, "moved", nil)
	})
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if rest, ok := bytes.CutPrefix(all, frame.Bytes()); !ok || string(rest) != "bye\n" {
		t.Errorf("the frame did not arrive whole: %d bytes, the last %q", len(all), all[max(0, len(all)-30):])
	}
	eventually(t, "no backlog", func() bool { return r.Stats().BacklogBytes == 0 && r.Stats().Backlogged == 0 })
}

// A peer that is gone is an error of the send, and no signal.
func TestSendToNobody(t *testing.T) {
	r := backlogRig(t, Options{})
	ours, peer := socketPair(t)
	id := r.adopt(0, Socket{FD: ours})
	var first, second SendResult
	r.on(0, func(s *Shard) {
		sysClose(int32(peer))
		first = s.SendBytes(id.Slot(), []byte("x"))
		second = s.SendBytes(id.Slot(), []byte("x"))
	})
	if first != SendError || second != SendError {
		t.Errorf("results %d, %d; want SendError", first, second)
	}
	if got := <-r.handlers[0].causes; got != CauseWrite {
		t.Errorf("cause %d, want CauseWrite", got)
	}
	if n := r.handlers[0].closed.Load(); n != 1 {
		t.Errorf("OnClose %d times", n)
	}
}

func TestSendDoesNotAllocate(t *testing.T) {
	r := backlogRig(t, Options{})
	c, id := r.pair(0)
	go io.Copy(io.Discard, c)
	b := NewBatch(numbered(1, 10, 0))
	r.on(0, func(s *Shard) {
		if n := testing.AllocsPerRun(100, func() { s.Send(id.Slot(), b) }); n != 0 {
			t.Errorf("%v allocations a send", n)
		}
	})
}
