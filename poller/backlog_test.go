package poller

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDisconnectAtFrames(t *testing.T) {
	r := backlogRig(t, Options{Backlog: Bounds{Frames: 4}})
	c := r.dial()
	c.Write([]byte("unfinished")) // so that it is accepted at once
	eventually(t, "accepted", func() bool { return r.Stats().Connections == 1 })
	id := ID(1 << 32)
	queued, refused, frames := -1, 0, 0
	var st Stats
	r.on(0, func(s *Shard) { // in one turn: the kernel may take more later
		for {
			switch s.sendNow(id.Slot(), Shared(NewFrames(numbered(refused, 1000, 0))), Data) {
			case sendQueued:
				if queued < 0 {
					queued = refused
				}
			case sendDone:
			default:
				frames, _ = s.backlogOf(id.Slot())
				st = r.Stats()
				return
			}
			refused++
		}
	})
	if refused != queued+4 || frames != 4 {
		t.Errorf("first queued %d, first refused %d, %d frames wait; want 4", queued, refused, frames)
	}
	if st.Overflows != 1 || st.Backlogged != 1 || st.Connections != 1 {
		t.Errorf("%d overflows, %d backlogged, %d connections; want 1 each", st.Overflows, st.Backlogged, st.Connections)
	}
	// Queued frames arrive, and refused ones do not.
	for i, l := range lines(t, c, refused) {
		if l != fmt.Sprintf("%08d ", i) {
			t.Fatalf("line %d is %q", i, l)
		}
	}
	eventually(t, "no backlog", func() bool {
		st := r.Stats()
		return st.BacklogBytes == 0 && st.Backlogged == 0
	})
}

func TestDisconnectAtBytes(t *testing.T) {
	r := backlogRig(t, Options{Backlog: Bounds{Frames: 1 << 16, Bytes: 20000}})
	_, id := r.pair(0)
	queued := r.sendUntil(id, 0, 3000, sendQueued)
	refused := r.sendUntil(id, queued+1, 3000, BytesFull)
	frames, waiting := r.backlog(id)
	if waiting > 20000 || waiting+3000 <= 20000 || frames != refused-queued {
		t.Errorf("%d frames and %d bytes wait, limit 20000", frames, waiting)
	}
	// A single frame may be larger than the limit, or it could never be sent.
	c, id := r.pair(0)
	r.sendUntil(id, 0, 50000, sendQueued)
	if got := lines(t, c, 1); got[0] != "00000000 " {
		t.Errorf("got %q", got)
	}
}

func TestDropOldest(t *testing.T) {
	r := backlogRig(t, Options{Policy: DropOldest, Backlog: Bounds{Frames: 4}})
	c, id := r.pair(0)
	r.sendUntil(id, 0, 1000, sendQueued)
	const last = 300
	r.on(0, func(s *Shard) {
		for n := 200; n <= last; n++ {
			s.sendNow(id.Slot(), Shared(NewFrames(numbered(n, 1000, 0))), Data)
			if n == 250 {
				s.Send(id.Slot(), Bytes([]byte("control\n")), Control)
			}
		}
	})
	dropped := int(r.Stats().DroppedOldest)
	first := r.sendUntil(id, last+1, 1000, sendDropped) // queued in place of a dropped one
	if frames, _ := r.backlog(id); frames != 4 {
		t.Errorf("%d frames wait, want 4", frames)
	}
	r.on(0, func(s *Shard) { s.CloseWrite(id.Slot()) })
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	got := lines(t, bytes.NewReader(all), bytes.Count(all, []byte("\n")))
	// Frames that were sent or partly sent, the control frame, and the newest frame
	// remain.
	at := slices.Index(got, "control")
	if at < 1 {
		t.Fatalf("no control among %q", got)
	}
	for i, l := range got[:at] {
		if l != fmt.Sprintf("%08d ", i) {
			t.Errorf("line %d is %q", i, l)
		}
	}
	newest := got[at+1:]
	for i, l := range newest {
		if l != fmt.Sprintf("%08d ", first-len(newest)+1+i) {
			t.Errorf("line %d after the control is %q of %q", i, l, newest)
		}
	}
	if len(newest) < 2 || len(newest) > 3 {
		t.Errorf("%d frames after the control, want what has place beside it", len(newest))
	}
	// Every frame is sent, dropped or waiting.
	if want := first + 1 - 200 - len(newest); dropped+1 < want || dropped+1 > want+1 {
		t.Errorf("%d counted as dropped", dropped+1)
	}
}

func TestLatestOnly(t *testing.T) {
	r := backlogRig(t, Options{Policy: LatestOnly, Backlog: Bounds{Frames: 8}})
	c, id := r.pair(0)
	queued := r.sendUntil(id, 0, 1000, sendQueued)
	r.on(0, func(s *Shard) {
		for n := range 100 {
			for key := uint64(1); key <= 3; key++ {
				s.sendNow(id.Slot(), Shared(NewFrames(numbered(1000*int(key)+n, 100, key))), Data)
			}
		}
	})
	if st := r.Stats(); st.DroppedLatest != 3*99 || st.DroppedOldest != 0 {
		t.Errorf("%d replaced, %d dropped; want %d, 0", st.DroppedLatest, st.DroppedOldest, 3*99)
	}
	got := lines(t, c, queued+1+3)
	if want := []string{"00001099 ", "00002099 ", "00003099 "}; !slices.Equal(got[queued+1:], want) {
		t.Errorf("got %q, want %q", got[queued+1:], want)
	}
}

// A frame without a key replaces none; at the limit the oldest is dropped.
func TestLatestOnlyAtLimit(t *testing.T) {
	r := backlogRig(t, Options{Policy: LatestOnly, Backlog: Bounds{Frames: 4}})
	_, id := r.pair(0)
	r.sendUntil(id, 0, 1000, sendQueued)
	r.on(0, func(s *Shard) {
		for n := range 10 {
			s.sendNow(id.Slot(), Shared(NewFrames(numbered(n, 100, uint64(n+1)))), Data)
			s.sendNow(id.Slot(), Shared(NewFrames(numbered(n, 100, 0))), Data)
		}
	})
	if st := r.Stats(); st.DroppedLatest != 0 || st.DroppedOldest != 20-3 {
		t.Errorf("%d replaced, %d dropped; want 0, 17", st.DroppedLatest, st.DroppedOldest)
	}
}

// The node counts a frame once, however many connections wait for it, until the
// last has sent or dropped it.
func TestNodeLimit(t *testing.T) {
	for _, policy := range []Policy{Disconnect, DropOldest} {
		t.Run(policy.String(), func(t *testing.T) {
			r := backlogRig(t, Options{NodeBytes: 100_000, Policy: policy})
			shared, more := NewFrames(numbered(0, 60_000, 0)), NewFrames(numbered(1, 60_000, 0))
			var readers []io.Reader
			var ids []ID
			for range 20 {
				c, id := r.pair(0)
				readers, ids = append(readers, c), append(ids, id)
			}
			results := map[SendResult]int{}
			send := func(b *Frames) {
				clear(results)
				r.on(0, func(s *Shard) {
					for _, id := range ids {
						results[s.sendNow(id.Slot(), Shared(b), Data)]++
					}
				})
			}
			send(shared)
			if n := r.Stats().BacklogBytes; results[sendQueued] != 20 || n != 60_000 {
				t.Fatalf("results %v, %d bytes counted; want 20 queued, 60000", results, n)
			}
			send(more)
			want := map[Policy]SendResult{Disconnect: NodeFull, DropOldest: sendDropped}[policy]
			if n := r.Stats().BacklogBytes; results[want] != 20 || n != 60_000 {
				t.Fatalf("results %v, %d bytes counted; want 20 of %d, 60000", results, n, want)
			}
			send(shared) // counted already
			if results[sendQueued] != 20 {
				t.Fatalf("results %v; want 20 queued", results)
			}
			for _, c := range readers[:19] {
				lines(t, c, 2)
			}
			if n := r.Stats().BacklogBytes; n != 60_000 {
				t.Errorf("%d bytes counted while one waits", n)
			}
			readers[19].(io.Closer).Close()
			eventually(t, "budget given back", func() bool { return r.Stats().BacklogBytes == 0 })
			if st := r.Stats(); st.Overflows != 0 || st.NodeOverflows+st.DroppedOldest != 20 {
				t.Errorf("counters: %+v", st)
			}
		})
	}
}

func TestLargeBacklog(t *testing.T) {
	r := backlogRig(t, Options{Backlog: Bounds{Frames: 4}, LargeBacklog: Bounds{Frames: 40}})
	_, small := r.pair(0)
	_, large := r.pair(0)
	r.on(0, func(s *Shard) { s.SetLargeBacklog(large.Slot()) })
	for id, want := range map[ID]int{small: 4, large: 40} {
		queued := r.sendUntil(id, 0, 1000, sendQueued)
		if refused := r.sendUntil(id, queued+1, 1000, FramesFull); refused != queued+want {
			t.Errorf("%d frames queued, want %d", refused-queued, want)
		}
	}
}

// EPOLLOUT is set only while bytes wait, so a client that reads quickly costs no
// second event.
func TestWritingOnlyWhileWaiting(t *testing.T) {
	r := backlogRig(t, Options{})
	c, id := r.pair(0)
	var epfd, fd int
	r.on(0, func(s *Shard) { epfd, fd = int(s.epfd), s.FD(id.Slot()) })
	writing := func() bool { return waitsFor(t, epfd, fd)&unix.EPOLLOUT != 0 }
	if writing() {
		t.Error("EPOLLOUT before anything was sent")
	}
	r.on(0, func(s *Shard) { s.sendNow(id.Slot(), Bytes([]byte("short\n")), Data) })
	if writing() {
		t.Error("EPOLLOUT after a whole send")
	}
	n := r.sendUntil(id, 0, 1000, sendQueued)
	if !writing() {
		t.Error("no EPOLLOUT although something waits")
	}
	r.on(0, func(s *Shard) { s.Pause(id.Slot()) })
	if ev := waitsFor(t, epfd, fd); ev&unix.EPOLLIN != 0 || ev&unix.EPOLLOUT == 0 || ev&unix.EPOLLRDHUP == 0 {
		t.Errorf("events %#x of a paused connection with a backlog", ev)
	}
	lines(t, c, n+2)
	eventually(t, "EPOLLOUT off", func() bool { return !writing() })
	r.on(0, func(s *Shard) { s.Resume(id.Slot()) })
	if ev := waitsFor(t, epfd, fd); ev&unix.EPOLLIN == 0 || ev&unix.EPOLLRDHUP != 0 {
		t.Errorf("events %#x after Resume", ev)
	}
}
