package poller

import (
	"net"
	"os"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"belfry/offheap"
)

// adoptMany gives a shard n connections as fast as its mailbox takes them, and
// returns the peers' descriptors.
func adoptMany(t *testing.T, r *rig, n int) (peers []int) {
	t.Helper()
	for range n {
		ours, peer := socketPair(t)
		eventually(t, "a place in the mailbox", func() bool { return r.Adopt(0, Socket{FD: ours}) == nil })
		peers = append(peers, peer)
	}
	t.Cleanup(func() {
		for _, fd := range peers {
			unix.Close(fd)
		}
	})
	eventually(t, "all adopted", func() bool { return r.Stats().Connections == n })
	return peers
}

// resident returns how many bytes of a slab are in memory (man 2 mincore).
func resident(t *testing.T, s *offheap.Slab) (bytes int) {
	t.Helper()
	page := os.Getpagesize()
	size := s.Max() * s.Stride()
	in := make([]byte, (size+page-1)/page)
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(s.Ptr(0)), uintptr(size), uintptr(unsafe.Pointer(&in[0])))
	if errno != 0 {
		t.Fatalf("mincore: %v", errno)
	}
	for _, b := range in {
		bytes += int(b&1) * page
	}
	return bytes
}

// places returns how many values an Index has room for without growing.
func places[T any](x *offheap.Index[T]) int {
	return reflect.ValueOf(x).Elem().FieldByName("items").Cap()
}

// Thousands of connections with unread bytes and a backlog end while a few stay.
// Their memory is given back, in the slab and on the Go heap.
func TestMemoryReturns(t *testing.T) {
	const crowd, staying = 5000, 20
	memory := new(offheap.Owners)
	r := newRig(t, Options{Shards: 1, RecordSize: 256, Mailbox: 1 << 12, Memory: memory}, func(h *echoHandler) { h.mail = runMail })
	peers := adoptMany(t, r, crowd)
	for _, fd := range peers {
		if _, err := unix.Write(fd, []byte("no line yet")); err != nil {
			t.Fatal(err)
		}
	}
	fillMany(t, r, crowd)
	if st := r.Stats(); st.BacklogBytes != 20_000 || st.Backlogged != crowd {
		t.Errorf("%d bytes for %d connections in the backlog, want 20000, %d", st.BacklogBytes, st.Backlogged, crowd)
	}

	residentNow := func() (n int) {
		r.on(0, func(s *Shard) { n = resident(t, s.slab) })
		return n
	}
	full := residentNow()
	if full < crowd*256 {
		t.Fatalf("%d bytes resident with %d connections", full, crowd)
	}
	for _, fd := range peers[staying:] {
		unix.Shutdown(fd, unix.SHUT_RDWR)
	}
	eventually(t, "the crowd has left", func() bool { return r.Stats().Connections == staying })
	r.Loop.Tick(1)
	r.on(0, func(s *Shard) {})
	eventually(t, "slab pages returned", func() bool {
		r.Loop.Tick(1)
		return residentNow() <= full/4
	})
	if n := memory.Bytes()["connections"]; n < int64(residentNow()) || n > int64(full)/4 {
		t.Errorf("%d bytes are counted for connections, %d are resident, %d were", n, residentNow(), full)
	}
	r.on(0, func(s *Shard) {
		checkKept(t, s, staying)
	})
	if n := r.Stats().BacklogBytes; n != 20_000 {
		t.Errorf("%d bytes of backlog while some wait for the frame", n)
	}
	for _, fd := range peers[:staying] {
		unix.Shutdown(fd, unix.SHUT_RDWR)
	}
	eventually(t, "no connections", func() bool { return r.Stats().Connections == 0 })
	if st := r.Stats(); st.BacklogBytes != 0 || st.Backlogged != 0 {
		t.Errorf("%d bytes, %d connections in backlogs without connections", st.BacklogBytes, st.Backlogged)
	}
	// All of them can connect again.
	peers = adoptMany(t, r, 200)
	c := fileConn(t, mustDup(t, peers[199]))
	ask(t, c, "hello")
}

// fillMany gives each connection an account and a backlog, and writes its record.
// The peers have written before.
func fillMany(t *testing.T, r *rig, conns int) {
	t.Helper()
	accounts := func() (n int) {
		r.on(0, func(s *Shard) { n = s.receiver.accounts.index.Len() })
		return n
	}
	eventually(t, "accounts", func() bool { return accounts() == conns })
	shared := NewFrames(numbered(1, 20_000, 0))
	r.on(0, func(s *Shard) {
		for slot := range uint32(conns) {
			clear((*[256]byte)(s.Record(slot))[:])
			(*[256]byte)(s.Record(slot))[255] = 1
			if got := s.sendNow(slot, Shared(shared), Data); got != sendQueued {
				t.Errorf("slot %d: result %d, want sendQueued", slot, got)
				return
			}
		}
	})
}

// checkKept checks what a shard keeps when only some connections have stayed.
func checkKept(t *testing.T, s *Shard, staying int) {
	t.Helper()
	accounts, backlogs := &s.receiver.accounts, &s.sender.backlogs
	if accounts.index.Len() != staying || backlogs.queues.Len() != staying {
		t.Errorf("%d accounts, %d backlogs; want %d", accounts.index.Len(), backlogs.queues.Len(), staying)
	}
	// The connections that stay may have any numbers, and lower numbers keep their
	// memory.
	keep := 1024 // places that an Index keeps unused
	for slot, ok := s.slab.Next(0); ok; slot, ok = s.slab.Next(slot + 1) {
		keep = max(keep, int(s.at(slot).account), int(s.at(slot).backlog))
	}
	for what, n := range map[string]int{
		"places for accounts": places(&accounts.index), "places for backlogs": places(&backlogs.queues),
		"spare buffers": len(accounts.spare), "free backlogs": len(backlogs.free),
		"pending closes": cap(s.pendingCloses), "deferred reads": cap(s.receiver.deferred),
	} {
		if n > 4*keep { // an Index shrinks when less than a quarter is used
			t.Errorf("%s: %d kept for %d connections", what, n, staying)
		}
	}
}

func mustDup(t *testing.T, fd int) int {
	t.Helper()
	d, err := unix.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// After a stall (the process or the machine was stopped), all bytes that have
// arrived meanwhile are read before any timer expires, even if that takes more
// batches of events than a turn usually reads.
func TestStallReadsBeforeTimers(t *testing.T) {
	const conns = 2000
	var data, early int
	r := newRig(t, Options{Shards: 1, Chunk: time.Minute}, func(h *echoHandler) {
		h.mail = runMail
		h.data = func(_ *Shard, _ uint32, p []byte) int { data++; return len(p) }
	})
	peers := adoptMany(t, r, conns)
	h := r.handlers[0]
	timers := make(chan uint32, conns)
	r.on(0, func(s *Shard) {
		for slot := range uint32(conns) {
			s.SetTimer(slot, s.Now()+1)
		}
		h.timers = timers
		h.work = func(s *Shard) bool {
			if len(timers) > 0 && data < conns {
				early++
			}
			return false
		}
	})
	release := r.block(0)
	r.Loop.Tick(60) // first, so that its event comes before all others
	for _, fd := range peers {
		if _, err := unix.Write(fd, []byte("I live")); err != nil {
			t.Fatal(err)
		}
	}
	release()
	eventually(t, "all timers", func() bool { return len(timers) == conns })
	r.on(0, func(s *Shard) {
		if data != conns || early != 0 {
			t.Errorf("%d of %d were read, timers came early %d times", data, conns, early)
		}
		for slot := range uint32(conns) {
			if s.LastRead(slot)+1 != s.Now() {
				t.Errorf("slot %d was read at %d, the clock is %d", slot, s.LastRead(slot), s.Now())
				return
			}
		}
	})
	if st := r.Stats(); st.Stalls != 1 || st.StalledTicks != 59 {
		t.Errorf("%d stalls of %d ticks", st.Stalls, st.StalledTicks)
	}
}

// A peer that never stops sending cannot prolong a stall without end.
func TestStallUnderFlood(t *testing.T) {
	r := newRig(t, Options{Shards: 1}, func(h *echoHandler) {
		h.mail = runMail
		h.data = func(_ *Shard, _ uint32, p []byte) int { return len(p) }
	})
	stop := make(chan struct{})
	done := make(chan struct{}, 2)
	for range 2 {
		c := r.dial()
		go func(c net.Conn) {
			defer func() { done <- struct{}{} }()
			junk := make([]byte, 1<<20)
			for {
				select {
				case <-stop:
					return
				default:
					if _, err := c.Write(junk); err != nil {
						return
					}
				}
			}
		}(c)
	}
	eventually(t, "a flood", func() bool { return r.Stats().ReadBytes > 1<<20 })
	for range 5 {
		ticks := r.handlers[0].ticks.Load()
		r.Loop.Tick(60)
		eventually(t, "a tick", func() bool { return r.handlers[0].ticks.Load() > ticks })
		r.on(0, func(*Shard) {})
	}
	close(stop)
	<-done
	<-done
}
