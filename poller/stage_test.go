package poller

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"belfry/offheap"
)

// bothWays runs a test with sends submitted through io_uring and one by one.
func bothWays(t *testing.T, test func(t *testing.T, o Options)) {
	t.Run("io_uring", func(t *testing.T) {
		needUring(t)
		test(t, Options{})
	})
	t.Run("sendto", func(t *testing.T) { test(t, Options{NoRing: true}) })
}

func needUring(t *testing.T) {
	t.Helper()
	u, err := newUring(new(offheap.Owner), stageSends)
	if err != nil {
		t.Skip(err)
	}
	u.close()
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
		const rounds = 7 // the rings turn over
		r.on(0, func(s *Shard) {
			for n := range rounds {
				b := NewBatch(numbered(n, 20, 0))
				for _, id := range ids {
					s.Stage(id.Slot(), b)
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

// What is not simply sent is told, for the right connection.
func TestStageFailures(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		failed := map[uint32]SendResult{} // of the shard, until it has done what comes after
		o.Shards, o.Backlog = 1, Bounds{Frames: 1}
		r := newRig(t, o, func(h *echoHandler) {
			h.mail, h.open = runMail, reportID
			h.failed = func(slot uint32, result SendResult) { failed[slot] = result }
		})
		fine, fineID := r.pair(0)
		_, fullID := r.pair(0)
		gone, goneID := r.pair(0)
		r.sendUntil(fullID, 0, 3000, Overflow)
		r.on(0, func(s *Shard) {
			gone.Close()
			for _, id := range []ID{goneID, fullID, fineID} {
				s.Stage(id.Slot(), NewBatch(numbered(1, 20, 0)))
			}
		})
		if got := lines(t, fine, 1); got[0] != "00000001 " {
			t.Errorf("got %q", got)
		}
		// The broken one is closed after the failures of its turn were told.
		eventually(t, "one closed", func() bool { return r.Stats().Connections == 2 })
		r.settle(0)
		if len(failed) != 1 || failed[fullID.Slot()] != Overflow {
			t.Errorf("told %v, want slot %d: %d", failed, fullID.Slot(), Overflow)
		}
	})
}

// Whatever is staged, sent otherwise, finished or left to wait: every
// connection gets its bytes in order, once, and no half frames.
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
						s.Send(e.id.Slot(), NewBatch(f))
					case 1:
						s.SendBytes(e.id.Slot(), f.b)
					case 3:
						s.StageBytes(e.id.Slot(), f.b)
					case 2:
						s.Submit()
						continue
					default:
						s.Stage(e.id.Slot(), NewBatch(f))
					}
					e.want.Write(f.b)
				}
				for i := range ends {
					s.Finish(ends[i].id.Slot())
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

// The results are those of send(2).
func TestUringResults(t *testing.T) {
	u := testUring(t)
	full, _ := socketPair(t)
	for {
		if _, e := sysSend(int32(full), bytes.Repeat([]byte("x"), 1000)); e == unix.EAGAIN {
			break
		}
	}
	broken, peer := socketPair(t)
	unix.Close(peer)
	for round := range 9 { // 4 entries: the indexes wrap
		fine, reader := socketPair(t)
		text := []byte(fmt.Sprintf("round %d", round))
		for i, fd := range []int{fine, full, broken, 1 << 20} {
			u.prepare(i, int32(fd), text)
		}
		got := make([]int32, 4)
		if taken, e := u.submit(got); taken != 4 || e != 0 {
			t.Fatalf("%d taken, %v", taken, e)
		}
		want := []int32{int32(len(text)), -int32(unix.EAGAIN), -int32(unix.EPIPE), -int32(unix.EBADF)}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("round %d: %v, want %v", round, got, want)
		}
		buf := make([]byte, 100)
		if n, err := unix.Read(reader, buf); err != nil || !strings.HasPrefix(string(buf[:n]), string(text)) {
			t.Errorf("read %q, %v", buf[:max(n, 0)], err)
		}
		unix.Close(fine)
		unix.Close(reader)
	}
}

// testUring makes a ring on the test's own thread.
func testUring(t *testing.T) *uring {
	t.Helper()
	needUring(t)
	runtime.LockOSThread()
	u, err := newUring(new(offheap.Owner), 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		u.close()
		runtime.UnlockOSThread()
	})
	return u
}

// What the kernel did not take up does not come with a later batch.
func TestUringTakesBack(t *testing.T) {
	u := testUring(t)
	ours, peer := socketPair(t)
	u.prepare(0, int32(ours), []byte("a"))
	fd := u.fd
	u.fd = -1
	got := make([]int32, 1)
	if taken, e := u.submit(got); taken != 0 || e != unix.EBADF {
		t.Fatalf("%d taken, %v", taken, e)
	}
	u.fd = fd
	u.prepare(0, int32(ours), []byte("b"))
	if taken, e := u.submit(got); taken != 1 || e != 0 || got[0] != 1 {
		t.Fatalf("%d taken, %v, %v", taken, e, got)
	}
	buf := make([]byte, 10)
	if n, _ := unix.Read(peer, buf); string(buf[:n]) != "b" {
		t.Errorf("read %q, want \"b\"", buf[:n])
	}
}

// A ring that fails costs nobody anything.
func TestStageWithoutItsRing(t *testing.T) {
	needUring(t)
	r := backlogRig(t, Options{})
	a, aID := r.pair(0)
	b, bID := r.pair(0)
	for n := range 3 {
		r.on(0, func(s *Shard) {
			for _, id := range []ID{aID, bID} {
				s.Stage(id.Slot(), NewBatch(numbered(n, 20, 0)))
			}
			if n == 1 {
				sysClose(s.stage.ring.fd)
				s.stage.ring.fd = -1
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

// What is staged goes out before its connection is given away or closed.
func TestStageBeforeTheEnd(t *testing.T) {
	bothWays(t, func(t *testing.T, o Options) {
		r := backlogRig(t, o)
		given, givenID := r.pair(0)
		closed, closedID := r.pair(0)
		r.on(0, func(s *Shard) {
			s.Stage(closedID.Slot(), NewBatch(numbered(1, 20, 0)))
			s.Stage(givenID.Slot(), NewBatch(numbered(2, 20, 0)))
			s.Close(closedID.Slot())
			sock := s.Detach(givenID.Slot(), nil)
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

// The handler is told of failures when nothing else is under way, and what it
// then sends is sent.
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
				h.s.Stage(other.Slot(), NewBatch(numbered(7, 20, 0)))
			}
		})
		_, full := r.pair(0)
		c, id := r.pair(0)
		other = id
		r.sendUntil(full, 0, 3000, Overflow)
		r.on(0, func(s *Shard) {
			sending = true
			s.Stage(full.Slot(), NewBatch(numbered(0, 20, 0)))
			s.Stage(other.Slot(), NewBatch(numbered(1, 20, 0)))
			s.SendBytes(other.Slot(), []byte("00000002 \n"))
			sending = false
		})
		if got := fmt.Sprint(lines(t, c, 3)); got != "[00000001  00000002  00000007 ]" {
			t.Errorf("got %v", got)
		}
		r.settle(0)
		if len(told) != 1 || told[0] != full || during != nil {
			t.Errorf("told of %v, of %v in the middle of a send", told, during)
		}
	})
}

// fillSocket fills a socket's buffer without a queue, and returns with how much.
func fillSocket(s *Shard, slot uint32) (filled int) {
	for {
		n, e := sysSend(s.at(slot).fd, []byte("x"))
		if e != 0 {
			return filled
		}
		filled += n
	}
}

// Of several control frames that have to wait the newest does, and at the
// bound of the node none: what a peer asks for must not cost the others.
func TestStagedControlAtBounds(t *testing.T) {
	for _, bound := range []int64{1, 100} {
		bothWays(t, func(t *testing.T, o Options) {
			o.NodeBytes, o.Shards = bound, 1
			failed := 0
			r := newRig(t, o, func(h *echoHandler) {
				h.mail, h.open = runMail, reportID
				h.failed = func(_ uint32, result SendResult) {
					if result == NoRoom {
						failed++
					}
				}
			})
			c, id := r.pair(0)
			var filled, frames int
			r.on(0, func(s *Shard) {
				filled = fillSocket(s, id.Slot())
				s.SendControl(id.Slot(), []byte("a old\na new\n"), 6)
				s.Submit()
				for range 1000 {
					s.SendControl(id.Slot(), []byte("a newer\n"), 0)
					s.Submit()
				}
				s.SendControl(id.Slot(), []byte("b other\n"), 0)
				s.Submit()
				frames, _ = s.Backlog(id.Slot())
			})
			want, told := "a newer\nb other\n", 0
			if bound == 1 {
				want, told = "", 1002
			}
			r.settle(0)
			if frames != len(want)/8 || r.Stats().BacklogBytes > bound || failed != told {
				t.Errorf("bound %d: %d frames, %d bytes wait, %d told", bound, frames, r.Stats().BacklogBytes, failed)
			}
			if lost := r.Stats().ControlsLost; lost < 1000 {
				t.Errorf("bound %d: %d control frames counted as lost", bound, lost)
			}
			got := make([]byte, filled+len(want))
			if _, err := io.ReadFull(c, got); err != nil || string(got[filled:]) != want {
				t.Errorf("bound %d: %v, %q", bound, err, got[filled:])
			}
			eventually(t, "no backlog", func() bool { return r.Stats().Backlogged == 0 && r.Stats().BacklogBytes == 0 })
		})
	}
}
