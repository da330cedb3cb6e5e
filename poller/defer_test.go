package poller

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// A handler that handles one line for each call still gets all lines in order, and
// another connection is served in between.
func TestDefer(t *testing.T) {
	var order []uint32 // slots, in the order of their lines
	r := newRig(t, Options{Shards: 1, Backlog: Bounds{Frames: 1 << 16}}, func(h *echoHandler) {
		h.mail = runMail
		h.data = func(s *Shard, slot uint32, p []byte) int {
			i := bytes.IndexByte(p, '\n') + 1
			if i == 0 {
				return 0
			}
			order = append(order, slot)
			s.Send(slot, Bytes(p[:i]), Data)
			if i < len(p) {
				s.Defer(slot)
			}
			return i
		}
	})
	const count = 3000
	var all bytes.Buffer
	for i := range count {
		fmt.Fprintf(&all, "%08d\n", i)
	}
	a, b := r.dial(), r.dial()
	// The shard is blocked, so that the bytes of both have arrived when it reads.
	r.on(0, func(*Shard) {
		a.Write(all.Bytes())
		b.Write(all.Bytes())
	})
	for _, c := range []io.Reader{a, b} {
		got := make([]byte, all.Len())
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, all.Bytes()) {
			t.Fatalf("%v, or other lines than were sent", err)
		}
	}
	r.on(0, func(*Shard) {
		longest, run := 0, 0
		for i, slot := range order {
			if run++; i > 0 && slot != order[i-1] {
				run = 1
			}
			longest = max(longest, run)
		}
		if longest > 2 {
			t.Errorf("%d lines in a row of one connection", longest)
		}
		if len(order) != 2*count {
			t.Errorf("%d lines taken", len(order))
		}
	})
}

// A connection is not read again when the chunk is over: its bytes may take long to
// handle.
func TestReadLooksAtTheClock(t *testing.T) {
	reads, before := 0, make(chan int, 1)
	r := newRig(t, Options{Shards: 1, Chunk: time.Nanosecond}, func(h *echoHandler) {
		h.mail = runMail
		h.data = func(s *Shard, slot uint32, p []byte) int {
			if reads++; reads == 1 {
				s.Post(QueueSingle, Mail{Ptr: func(*Shard) { before <- reads }})
			}
			return len(p)
		}
	})
	c := r.dial()
	r.on(0, func(*Shard) { c.Write(make([]byte, maxReads*smallRead)) })
	if n := <-before; n != 1 {
		t.Errorf("%d reads of one connection in a turn whose time was over after the first", n)
	}
}

// After work that took long no further connection is served when the chunk is
// over. After other work the clock is looked at only now and then.
func TestCheckClock(t *testing.T) {
	const count = clockConns - 1
	for _, long := range []bool{false, true} {
		reads, before := 0, make(chan int, 1)
		r := newRig(t, Options{Shards: 1, Chunk: time.Nanosecond}, func(h *echoHandler) {
			h.mail = runMail
			h.data = func(s *Shard, slot uint32, p []byte) int {
				if reads++; reads == count+1 {
					s.Post(QueueSingle, Mail{Ptr: func(*Shard) { before <- reads - count }})
				}
				if long {
					s.CheckClock()
				}
				s.Send(slot, Bytes(p), Data)
				return len(p)
			}
		})
		var conns [count]net.Conn
		for i := range conns {
			conns[i] = r.dial()
			ask(t, conns[i], "x")
		}
		r.on(0, func(*Shard) { // the shard is blocked, so that all bytes arrive before it reads
			for _, c := range conns {
				c.Write([]byte{'x'})
			}
		})
		want := count
		if long {
			want = 1
		}
		if n := <-before; n != want {
			t.Errorf("long work %v: %d connections were served in a turn whose time was over after the first, not %d", long, n, want)
		}
	}
}

// Bytes that were received before the peer closed are handled before the end.
func TestDeferBeforeEnd(t *testing.T) {
	taken := 0
	r := newRig(t, Options{Shards: 1}, func(h *echoHandler) {
		h.mail = runMail
		h.data = func(s *Shard, slot uint32, p []byte) int {
			taken++
			if len(p) > 1 {
				s.Defer(slot)
			}
			return 1
		}
	})
	c := r.dial()
	r.on(0, func(*Shard) {
		c.Write(make([]byte, 1000))
		c.Close()
	})
	eventually(t, "closed", func() bool { return r.Stats().Closed == 1 })
	r.on(0, func(*Shard) {
		if taken != 1000 {
			t.Errorf("%d bytes taken of 1000", taken)
		}
	})
}

// A connection is read in small pieces unless a long message is arriving, so that a
// paused one holds little.
func TestReadSizes(t *testing.T) {
	for _, bulk := range []bool{false, true} {
		largest := 0
		r := newRig(t, Options{Shards: 1}, func(h *echoHandler) {
			h.mail = runMail
			h.open = func(s *Shard, slot uint32, _ any) { s.SetLargeReads(slot, bulk) }
			h.data = func(_ *Shard, _ uint32, p []byte) int {
				largest = max(largest, len(p))
				return len(p)
			}
		})
		c := r.dial()
		r.on(0, func(*Shard) { c.Write(make([]byte, 100<<10)) })
		want := uint64(100 << 10)
		eventually(t, "read", func() bool { return r.Stats().ReadBytes == want })
		r.on(0, func(*Shard) {
			if bulk != (largest > smallRead) || largest > scratchSize {
				t.Errorf("bulk %v: largest read %d", bulk, largest)
			}
		})
	}
}
