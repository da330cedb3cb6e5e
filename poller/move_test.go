package poller

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// relay echoes one line and moves the connection to the other shard, with all lines
// that follow in the same read. The number of the next line is the state.
func relay(t *testing.T) func(*echoHandler) {
	return func(h *echoHandler) {
		h.mail = runMail
		h.open = func(s *Shard, slot uint32, state any) {
			if n, ok := state.(uint32); ok {
				*(*uint32)(s.Record(slot)) = n
			}
		}
		h.data = func(s *Shard, slot uint32, p []byte) int {
			i := bytes.IndexByte(p, '\n')
			if i < 0 {
				return 0
			}
			next := *(*uint32)(s.Record(slot))
			if n, err := strconv.Atoi(string(p[:i])); err != nil || n != int(next) {
				t.Errorf("shard %d got line %q, want %d", s.Index(), p[:i], next)
			}
			s.Send(slot, Bytes(p[:i+1]), Data)
			s.Move(slot, 1-s.Index(), next+1, p[i+1:])
			return 0 // it belongs to another shard now
		}
	}
}

// Two shards move many sockets to each other through mailboxes of a few places. No
// socket waits for ever, every byte arrives in order, and accepting, which pauses
// while sockets wait, is resumed.
func TestMoveFlood(t *testing.T) {
	for mailbox := 1; mailbox <= 4; mailbox++ {
		t.Run(fmt.Sprint("mailbox ", mailbox), func(t *testing.T) { moveFlood(t, mailbox) })
	}
}

func moveFlood(t *testing.T, mailbox int) {
	conns, lines := 700, 20
	if raceDetector {
		conns = 250
	}
	r := newRig(t, Options{Mailbox: mailbox, RecordSize: 4}, relay(t))
	var text strings.Builder
	for i := range lines {
		fmt.Fprintln(&text, i)
	}
	want := text.String()
	release := [2]func(){r.block(0), r.block(1)} // so that all begin at the same time
	var wg sync.WaitGroup
	for range conns {
		c := r.dial()
		c.SetDeadline(time.Now().Add(time.Minute))
		wg.Go(func() {
			defer c.Close()
			if _, err := io.WriteString(c, want[:len(want)/2]); err != nil {
				t.Error(err)
				return
			}
			io.WriteString(c, want[len(want)/2:])
			got := make([]byte, len(want))
			if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
				t.Errorf("got %q, %v", got[:n], err)
			}
		})
	}
	release[0]()
	release[1]()
	wg.Wait()
	// The last move of each socket comes after its last line was answered.
	eventually(t, "all arrived and closed", func() bool {
		st := r.Stats()
		return st.MovedIn == st.MovedOut && st.Connections == 0
	})
	st := r.Stats()
	if n := uint64(conns * lines); st.MovedOut != n || st.MovedIn != n || st.AcceptRefused != 0 || st.Accepted != uint64(conns) {
		t.Errorf("moved %d out, %d in, accepted %d, refused %d; want %d moves of %d", st.MovedOut, st.MovedIn, st.Accepted, st.AcceptRefused, n, conns)
	}
	if st.MovesDeferred == 0 {
		t.Error("no mailbox was ever full: the test shows nothing")
	}
	for i := range 2 {
		r.on(i, func(s *Shard) {
			if s.moves.waiting != 0 || s.acceptor.paused() || !s.acceptor.listeners[0].inSet || s.receiver.accounts.index.Len() != 0 {
				t.Errorf("shard %d: %d waiting, paused %v, listening %v, %d accounts", i, s.moves.waiting, s.acceptor.paused(), s.acceptor.listeners[0].inSet, s.receiver.accounts.index.Len())
			}
		})
	}
	for range 20 { // enough for both shards to get one
		c := r.dial()
		io.WriteString(c, "0\n1\n")
		expect(t, c, "0\n1\n")
		c.Close()
	}
}

// While sockets wait for another shard's mailbox, no connections are accepted, but
// open ones are served.
func TestMovePausesAccepting(t *testing.T) {
	r := newRig(t, Options{Mailbox: 1, Listen: []PortRange{{Host: "127.0.0.1"}}}, func(h *echoHandler) {
		h.mail = runMail
		h.open = reportID
	})
	stays, _ := r.pair(0)
	var moving []ID
	for range 3 {
		_, id := r.pair(0)
		moving = append(moving, id)
	}
	release := r.block(1)
	r.on(0, func(s *Shard) {
		for _, id := range moving {
			s.Move(id.Slot(), 1, nil, nil)
		}
	})
	state := func() (watched bool, waiting int) {
		r.on(0, func(s *Shard) { watched, waiting = s.acceptor.listeners[0].inSet, s.moves.waiting })
		return watched, waiting
	}
	if watched, waiting := state(); watched || waiting != 2 {
		t.Errorf("listening %v, %d wait; want false, 2", watched, waiting)
	}
	r.Shard(0).Post(QueueControl, Mail{Ptr: func(s *Shard) { s.acceptor.retry() }})
	if watched, _ := state(); watched {
		t.Error("a tick or a close resumes accepting although sockets wait")
	}
	ask(t, stays, "hello")
	release()
	eventually(t, "listening again", func() bool { watched, waiting := state(); return watched && waiting == 0 })
	if n := r.Stats().MovesDeferred; n != 2 {
		t.Errorf("%d deferrals, want 2", n)
	}
}

// The unread bytes that come with a connection may fill the read buffer. They are
// shown before it is read, because a read without room would look like the end of
// the stream.
func TestReadBehindFullBuffer(t *testing.T) {
	var got []int
	r := newRig(t, Options{Shards: 1}, func(h *echoHandler) {
		h.mail = runMail
		h.open = reportID
		h.data = func(_ *Shard, _ uint32, p []byte) int { got = append(got, len(p)); return len(p) }
	})
	c, id := r.pair(0)
	r.on(0, func(s *Shard) {
		io.WriteString(c, "more")
		s.receiver.accounts.keepUnread(id.Slot(), s.at(id.Slot()), make([]byte, scratchSize))
		s.receiver.read(id.Slot(), s.at(id.Slot()))
		if _, ok := s.Lookup(id); !ok {
			t.Error("the connection was closed")
		}
	})
	eventually(t, "the rest", func() bool {
		n := 0
		r.on(0, func(*Shard) {
			for _, g := range got {
				n += g
			}
		})
		return n == scratchSize+len("more")
	})
	r.on(0, func(*Shard) {
		if got[0] != scratchSize {
			t.Errorf("shown: %v", got)
		}
	})
}

// Move works in every state: with unread bytes, paused, with a backlog, within
// OnOpen.
func TestMoveKeepsEverything(t *testing.T) {
	r := newRig(t, Options{}, func(h *echoHandler) {
		h.mail = runMail
		h.open = func(s *Shard, slot uint32, state any) {
			if state == "through" {
				s.Move(slot, 1-s.Index(), "arrived", nil)
				return
			}
			reportID(s, slot, state)
		}
	})
	c, id := r.pair(0)
	io.WriteString(c, "begun ")
	eventually(t, "unread bytes", func() bool {
		n := 0
		r.on(0, func(s *Shard) { n = s.receiver.accounts.index.Len() })
		return n == 1
	})
	var queued int
	r.on(0, func(s *Shard) {
		for s.sendNow(id.Slot(), Shared(NewFrames(numbered(queued, 1000, 0))), Data) != sendQueued {
			queued++
		}
		for range 5 {
			queued++
			s.sendNow(id.Slot(), Shared(NewFrames(numbered(queued, 1000, 0))), Data)
		}
		s.Pause(id.Slot())
		s.Move(id.Slot(), 1, "through", nil)
		if _, ok := s.Lookup(id); ok {
			t.Error("the connection is still found where it was")
		}
	})
	io.WriteString(c, "and ended\n")
	in := bufio.NewReader(c)
	for i := range queued + 1 {
		l, err := in.ReadString('\n')
		if err != nil || !strings.HasPrefix(l, fmt.Sprintf("%08d ", i)) {
			t.Fatalf("line %d: %.20q, %v", i, l, err)
		}
	}
	if l, err := in.ReadString('\n'); l != "begun and ended\n" {
		t.Errorf("got %q, %v", l, err)
	}
	for i := range 2 {
		r.on(i, func(s *Shard) {
			if s.receiver.accounts.index.Len() != 0 || s.sender.backlogs.queues.Len() != 0 {
				t.Errorf("shard %d: %d accounts, %d backlogs left", i, s.receiver.accounts.index.Len(), s.sender.backlogs.queues.Len())
			}
		})
	}
}
