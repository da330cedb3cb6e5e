package poller

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The last words of a connection that did not read: what began is completed,
// the rest is gone, and the word follows.
func TestDropBacklog(t *testing.T) {
	r := backlogRig(t, Options{})
	c, id := r.pair(0)
	queued := r.sendUntil(id, 0, 3000, sendQueued)
	frames := 0
	r.on(0, func(s *Shard) {
		for n := range 10 {
			s.sendNow(id.Slot(), Shared(NewFrames(numbered(1000+n, 3000, 0))), Data)
		}
		s.Send(id.Slot(), Bytes([]byte("ping\n")), Control)
		s.DropBacklog(id.Slot())
		s.Send(id.Slot(), Bytes([]byte("bye\n")), Control)
		frames, _ = s.backlogOf(id.Slot()) // before the socket may take more
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
			s.sendNow(id.Slot(), Shared(NewFrames(numbered(1, size, 0))), Data)
			s.sendNow(id.Slot(), Bytes([]byte("answer\n")), Data)
			s.Send(id.Slot(), Bytes([]byte("close\n")), Control)
			s.CloseWrite(id.Slot())
			again = s.sendNow(id.Slot(), Shared(NewFrames(numbered(2, 100, 0))), Data)
			control = s.sendNow(id.Slot(), Bytes([]byte("late\n")), Control)
			answer = s.sendNow(id.Slot(), Bytes([]byte("late\n")), Data)
			s.CloseWrite(id.Slot())
		})
		if again != sendClosed || control != sendClosed || answer != sendClosed {
			t.Errorf("sends after Finish: %d, %d, %d; want sendClosed", again, control, answer)
		}
		all, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		rest, ok := bytes.CutPrefix(all, numbered(1, size, 0).b)
		if !ok || len(rest) != len("answer\nclose\n") {
			t.Errorf("%d bytes before the end, then %q", len(all), rest)
		}
		// The connection can still be heard, and ends with its peer.
		if r.Stats().Connections != 1 {
			t.Error("connection is gone before its peer")
		}
		c.Close()
		eventually(t, "closed", func() bool { return r.Stats().Connections == 0 })
		if got := <-r.handlers[0].causes; got != ReasonEOF {
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
		for s.sendNow(id.Slot(), Bytes([]byte(strings.Repeat("x", 100))), Data) == sendDone {
		}
		s.Send(id.Slot(), Bytes([]byte("ping")), Control)
		s.CloseWrite(id.Slot())
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
	n := r.sendUntil(id, 0, 1000, sendQueued)
	r.on(0, func(s *Shard) {
		for _, class := range []Class{Data, Control, Last} {
			s.Send(id.Slot(), Bytes(nil), class)
		}
		s.sendNow(id.Slot(), Shared(NewFrames(NewFrame(nil, 0), numbered(n+1, 1000, 0), NewFrame(nil, 0))), Data)
	})
	if frames, _ := r.backlog(id); frames != 2 {
		t.Errorf("%d frames wait, want 2", frames)
	}
	lines(t, c, n+2)
	eventually(t, "no backlog", func() bool { return r.Stats().Backlogged == 0 })
	r.on(0, func(s *Shard) {
		s.Send(id.Slot(), Shared(NewFrames(NewFrame(nil, 0), NewFrame(nil, 0))), Data)
		if n := s.Staged(); n != 0 || s.Backlogged(id.Slot()) {
			t.Errorf("%d sends of nothing are staged", n)
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
				s.Send(slot, Bytes([]byte("control\n")), Control)
				s.DropBacklog(slot)
				s.Send(slot, Bytes([]byte("bye\n")), Control)
				s.CloseWrite(slot)
			}
		}
	})
	c, id := r.pair(0)
	frame := numbered(7, 100_000, 0)
	r.on(0, func(s *Shard) {
		if got := s.sendNow(id.Slot(), Shared(NewFrames(frame)), Data); got != sendQueued {
			t.Errorf("result %d, want sendQueued", got)
		}
		s.Move(id.Slot(), 1, "moved", nil)
	})
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if rest, ok := bytes.CutPrefix(all, frame.b); !ok || string(rest) != "bye\n" {
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
		first = s.sendNow(id.Slot(), Bytes([]byte("x")), Data)
		second = s.sendNow(id.Slot(), Bytes([]byte("x")), Data)
	})
	if first != sendClosed || second != sendClosed {
		t.Errorf("results %d, %d; want sendClosed", first, second)
	}
	if got := <-r.handlers[0].causes; got != ReasonWrite {
		t.Errorf("cause %d, want CauseWrite", got)
	}
	if n := r.handlers[0].closed.Load(); n != 1 {
		t.Errorf("OnClose %d times", n)
	}
}

func TestSendDoesNotAllocate(t *testing.T) {
	r := backlogRig(t, Options{})
	ours, peer := socketPair(t)
	defer sysClose(int32(peer))
	id := r.adopt(0, Socket{FD: ours})
	read := make([]byte, 100) // or it would have to wait
	shared, own := Shared(NewFrames(numbered(1, 10, 0))), Bytes([]byte("answer\n"))
	r.on(0, func(s *Shard) {
		for what, send := range map[string]func(){
			"shared":  func() { s.Send(id.Slot(), shared, Data) },
			"own":     func() { s.Send(id.Slot(), own, Data) },
			"control": func() { s.Send(id.Slot(), own.Newest(0), Control) },
			"last":    func() { s.Send(id.Slot(), own, Last) },
			"at once": func() { s.sendNow(id.Slot(), shared, Data) },
		} {
			s.Submit()
			if n := testing.AllocsPerRun(100, func() { send(); sysRecv(int32(peer), read) }); n != 0 || s.Backlogged(id.Slot()) {
				t.Errorf("%s: %v allocations a send", what, n)
			}
		}
	})
}

// What is staged goes out before its connection is given away or closed.
func TestStageBeforeTheEnd(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		r := backlogRig(t, o)
		given, givenID := r.pair(0)
		closed, closedID := r.pair(0)
		r.on(0, func(s *Shard) {
			s.Send(closedID.Slot(), Shared(NewFrames(numbered(1, 20, 0))), Data)
			s.Send(givenID.Slot(), Shared(NewFrames(numbered(2, 20, 0))), Data)
			s.Close(closedID.Slot())
			sock, _ := s.Detach(givenID.Slot(), nil)
			unix.Write(sock.FD, []byte("after\n"))
			unix.Close(sock.FD)
		})
		if got, _ := io.ReadAll(closed); !bytes.HasPrefix(got, []byte("00000001 ")) || len(got) != 20 {
			t.Errorf("closed: %q", got)
		}
		if got, _ := io.ReadAll(given); !bytes.HasPrefix(got, []byte("00000002 ")) || !bytes.HasSuffix(got, []byte("\nafter\n")) {
			t.Errorf("given away: %q", got)
		}
	})
}

// The same when the loop ends in the turn in which something was staged.
func TestStageBeforeStop(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		r := backlogRig(t, o)
		c, id := r.pair(0)
		r.on(0, func(s *Shard) {
			s.Post(QueueControl, Mail{Ptr: stopRequest{}})
			s.Send(id.Slot(), Shared(NewFrames(numbered(1, 20, 0))), Data)
		})
		if got, err := io.ReadAll(c); !bytes.HasPrefix(got, []byte("00000001 ")) {
			t.Errorf("got %q, %v", got, err)
		}
	})
}
