package poller

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// bothWays runs a test once with io_uring, and once with a system call for each
// send.
func bothWays(t *testing.T, test func(t *testing.T, o Options)) {
	t.Run("io_uring", func(t *testing.T) {
		needUring(t)
		test(t, Options{})
	})
	t.Run("sendto", func(t *testing.T) { test(t, Options{NoRing: true}) })
}

func TestStageReachesEverybody(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		r := backlogRig(t, o)
		var peers []net.Conn
		var ids []ID
		for range 2*stageSends + 5 {
			c, id := r.pair(0)
			peers, ids = append(peers, c), append(ids, id)
		}
		const rounds = 7 // the rings wrap
		r.on(0, func(s *Shard) {
			for n := range rounds {
				b := NewFrames(numbered(n, 20, 0))
				for _, id := range ids {
					s.Send(id.Slot(), Shared(b), Data)
				}
			}
		})
		for i, c := range peers {
			for n, l := range lines(t, c, rounds) {
				if l != fmt.Sprintf("%08d ", n) {
					t.Fatalf("peer %d: line %d is %q", i, n, l)
				}
			}
		}
		if want := map[bool]int{true: 0, false: 1}[o.NoRing]; r.Stats().Rings != want {
			t.Errorf("%d rings, want %d", r.Stats().Rings, want)
		}
		if ring := r.Shard(0).opt.Memory.Bytes()["io_uring"]; (ring > stageSends*64) == o.NoRing {
			t.Errorf("%d bytes of rings", ring)
		}
	})
}

// The handler is told of sends that failed, for the right connection.
func TestStageFailures(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		failed := map[uint32]SendResult{} // of the shard; read when the shard is done
		o.Shards, o.Backlog = 1, Bounds{Frames: 1}
		r := newRig(t, o, func(h *echoHandler) {
			h.mail, h.open = runMail, reportID
			h.failed = func(slot uint32, result SendResult) { failed[slot] = result }
		})
		fine, fineID := r.pair(0)
		_, fullID := r.pair(0)
		gone, goneID := r.pair(0)
		r.sendUntil(fullID, 0, 3000, FramesFull)
		r.on(0, func(s *Shard) {
			gone.Close()
			for _, id := range []ID{goneID, fullID, fineID} {
				s.Send(id.Slot(), Shared(NewFrames(numbered(1, 20, 0))), Data)
			}
		})
		if got := lines(t, fine, 1); got[0] != "00000001 " {
			t.Errorf("got %q", got)
		}
		// The broken connection is closed after the handler was told of the
		// failures of its turn.
		eventually(t, "one closed", func() bool { return r.Stats().Connections == 2 })
		r.settle(0)
		if len(failed) != 1 || failed[fullID.Slot()] != FramesFull {
			t.Errorf("told %v, want slot %d: %d", failed, fullID.Slot(), FramesFull)
		}
	})
}

// However sends are staged, sent directly, finished or queued: every connection
// gets its bytes in order, once, and only whole frames.
func TestStageKeepsOrder(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		o.Backlog = Bounds{Frames: 1 << 16, Bytes: 1 << 30}
		r := backlogRig(t, o)
		rapid.Check(t, func(rt *rapid.T) {
			type end struct {
				peer int
				id   ID
				want bytes.Buffer
			}
			ends := make([]end, rapid.IntRange(1, 5).Draw(rt, "connections"))
			for i := range ends {
				ours, peer := socketPair(t)
				ends[i].peer, ends[i].id = peer, r.adopt(0, Socket{FD: ours})
				defer unix.Close(peer)
			}
			steps := rapid.SliceOfN(rapid.IntRange(0, 1<<20), 1, 60).Draw(rt, "steps")
			r.on(0, func(s *Shard) {
				for n, x := range steps {
					e := &ends[x%len(ends)]
					f := numbered(n, 10+x>>4%3000, 0)
					switch x >> 3 % 8 {
					case 0:
						s.sendNow(e.id.Slot(), Shared(NewFrames(f)), Data)
					case 1:
						s.sendNow(e.id.Slot(), Bytes(f.b), Data)
					case 3:
						s.Send(e.id.Slot(), Bytes(f.b), Data)
					case 2:
						s.Submit()
						continue
					default:
						s.Send(e.id.Slot(), Shared(NewFrames(f)), Data)
					}
					e.want.Write(f.b)
				}
				for i := range ends {
					s.CloseWrite(ends[i].id.Slot())
				}
			})
			for i := range ends {
				got, err := io.ReadAll(fileConn(t, dup(t, ends[i].peer)))
				if err != nil || !bytes.Equal(got, ends[i].want.Bytes()) {
					rt.Fatalf("connection %d got %d bytes, %v; want %d", i, len(got), err, ends[i].want.Len())
				}
			}
		})
	})
}

func dup(t *testing.T, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A ring that fails loses no sends.
func TestStageWithoutItsRing(t *testing.T) {
	needUring(t)
	r := backlogRig(t, Options{})
	a, aID := r.pair(0)
	b, bID := r.pair(0)
	for n := range 3 {
		r.on(0, func(s *Shard) {
			for _, id := range []ID{aID, bID} {
				s.Send(id.Slot(), Shared(NewFrames(numbered(n, 20, 0))), Data)
			}
			if n == 1 {
				sysClose(s.sender.stage.ring.fd)
				s.sender.stage.ring.fd = -1
			}
		})
	}
	for _, c := range []net.Conn{a, b} {
		for n, l := range lines(t, c, 3) {
			if l != fmt.Sprintf("%08d ", n) {
				t.Errorf("line %d is %q", n, l)
			}
		}
	}
	if st := r.Stats(); st.Rings != 0 || st.ShortWrites != 0 {
		t.Errorf("%d rings, %d short writes", st.Rings, st.ShortWrites)
	}
}

// The handler is told of failures outside of all other calls, and its own sends
// then are sent.
func TestStageFailureIsToldLater(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		o.Shards, o.Backlog = 1, Bounds{Frames: 1}
		sending := false
		var told, during []ID
		var other ID
		r := newRig(t, o, func(h *echoHandler) {
			h.mail, h.open = runMail, reportID
			h.failed = func(slot uint32, _ SendResult) {
				id := h.s.ID(slot)
				told = append(told, id)
				if sending {
					during = append(during, id)
				}
				h.s.Send(other.Slot(), Shared(NewFrames(numbered(7, 20, 0))), Data)
			}
		})
		_, full := r.pair(0)
		c, id := r.pair(0)
		other = id
		r.sendUntil(full, 0, 3000, FramesFull)
		r.on(0, func(s *Shard) {
			sending = true
			s.Send(full.Slot(), Shared(NewFrames(numbered(0, 20, 0))), Data)
			s.Send(other.Slot(), Shared(NewFrames(numbered(1, 20, 0))), Data)
			s.sendNow(other.Slot(), Bytes([]byte("00000002 \n")), Data)
			sending = false
		})
		if got := fmt.Sprint(lines(t, c, 3)); got != "[00000001  00000002  00000007 ]" {
			t.Errorf("got %v", got)
		}
		r.settle(0)
		if len(told) != 1 || told[0] != full || during != nil {
			t.Errorf("told of %v, and of %v within another call", told, during)
		}
	})
}

// fillSocket fills a socket's buffer without a backlog, and returns the number of
// bytes.
func fillSocket(s *Shard, slot uint32) (filled int) {
	for {
		n, e := sysSend(s.at(slot).fd, []byte("x"))
		if e != 0 {
			return filled
		}
		filled += n
	}
}

// Of several control frames only the newest waits, and none at the limit of the
// node: what one client asks for must not cost others.
func TestStagedControlAtLimits(t *testing.T) {
	for _, limit := range []int64{1, 100} {
		bothWays(t, func(t *testing.T, o Options) {
			o.NodeBytes, o.Shards = limit, 1
			failed := 0
			r := newRig(t, o, func(h *echoHandler) {
				h.mail, h.open = runMail, reportID
				h.failed = func(_ uint32, result SendResult) {
					if result == ControlLost {
						failed++
					}
				}
			})
			c, id := r.pair(0)
			var filled, frames int
			r.on(0, func(s *Shard) {
				filled = fillSocket(s, id.Slot())
				s.Send(id.Slot(), Bytes([]byte("a old\na new\n")).Newest(6), Control)
				s.Submit()
				for range 1000 {
					s.Send(id.Slot(), Bytes([]byte("a newer\n")), Control)
					s.Submit()
				}
				s.Send(id.Slot(), Bytes([]byte("b other\n")), Control)
				s.Submit()
				frames, _ = s.backlogOf(id.Slot())
			})
			want, told := "a newer\nb other\n", 0
			if limit == 1 {
				want, told = "", 1002
			}
			r.settle(0)
			if frames != len(want)/8 || r.Stats().BacklogBytes > limit || failed != told {
				t.Errorf("limit %d: %d frames, %d bytes wait, %d failures", limit, frames, r.Stats().BacklogBytes, failed)
			}
			if lost := r.Stats().ControlsDropped; lost < 1000 {
				t.Errorf("limit %d: %d control frames counted as lost", limit, lost)
			}
			got := make([]byte, filled+len(want))
			if _, err := io.ReadFull(c, got); err != nil || string(got[filled:]) != want {
				t.Errorf("limit %d: %v, %q", limit, err, got[filled:])
			}
			eventually(t, "no backlog", func() bool { return r.Stats().Backlogged == 0 && r.Stats().BacklogBytes == 0 })
		})
	}
}

// A last payload is queued despite the limits, behind the bytes that wait already.
func TestLastIsNeverRefused(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		o.Shards, o.NodeBytes, o.Backlog = 1, 1, Bounds{Frames: 1}
		var told []SendResult
		r := newRig(t, o, func(h *echoHandler) {
			h.mail, h.open = runMail, reportID
			h.failed = func(_ uint32, result SendResult) { told = append(told, result) }
		})
		c, id := r.pair(0)
		var filled int
		r.on(0, func(s *Shard) {
			filled = fillSocket(s, id.Slot())
			for _, class := range []Class{Data, Last, Data, Last} {
				s.Send(id.Slot(), Bytes(fmt.Appendf(nil, "class %d\n", class)), class)
				s.Submit()
			}
			s.Send(id.Slot(), Shared(NewFrames(NewFrame([]byte("shared \n"), 0))), Last)
			if frames, _ := s.backlogOf(id.Slot()); frames != 3 {
				t.Errorf("%d frames wait, want 3", frames)
			}
		})
		r.settle(0)
		if want := []SendResult{NodeFull, FramesFull}; !slices.Equal(told, want) {
			t.Fatalf("told %v, want %v", told, want)
		}
		if n := r.Stats().ShortWrites; n != 0 {
			t.Errorf("%d short writes of shared frames, of which none was sent", n)
		}
		const want = "class 2\nclass 2\nshared \n"
		got := make([]byte, filled+len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got[filled:]) != want {
			t.Errorf("%v, %q", err, got[filled:])
		}
	})
}

// A frame that the policy drops is counted and is no failure of a send. The same is
// true for a send to a connection after CloseWrite.
func TestDroppedIsNotTold(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		o.Shards, o.Policy, o.Backlog = 1, DropOldest, Bounds{Frames: 1}
		told := 0
		r := newRig(t, o, func(h *echoHandler) {
			h.mail, h.open = runMail, reportID
			h.failed = func(uint32, SendResult) { told++ }
		})
		_, id := r.pair(0)
		r.on(0, func(s *Shard) {
			fillSocket(s, id.Slot())
			for n := range 3 {
				s.Send(id.Slot(), Shared(NewFrames(numbered(n, 100, 0))), Data)
			}
			s.CloseWrite(id.Slot())
			s.Send(id.Slot(), Shared(NewFrames(numbered(3, 100, 0))), Data)
		})
		r.settle(0)
		if n := r.Stats().DroppedOldest; told != 0 || n != 2 {
			t.Errorf("told %d times, %d dropped; want 0, 2", told, n)
		}
	})
}

// At most one send to a connection is staged: if the kernel does not take it, the
// kernel must not take the next one either. The caller is told when to look at the
// clock.
func TestStageTakesOneSendOfEach(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		r := backlogRig(t, o)
		var ids []ID
		for range stageSends {
			_, id := r.pair(0)
			ids = append(ids, id)
		}
		p := Shared(NewFrames(numbered(1, 20, 0)))
		r.on(0, func(s *Shard) {
			for range 3 {
				s.Send(ids[0].Slot(), p, Data)
			}
			if n, want := s.Staged(), map[bool]int{true: 0, false: 1}[o.NoRing]; n != want {
				t.Errorf("%d sends are staged, want %d", n, want)
			}
			s.Submit()
			pauses := 0
			for range 4 {
				for _, id := range ids {
					if s.Send(id.Slot(), p, Data) {
						pauses++
					}
				}
			}
			if want := map[bool]int{true: 8, false: 4}[o.NoRing]; pauses != want {
				t.Errorf("%d pauses, want %d", pauses, want)
			}
		})
	})
}
