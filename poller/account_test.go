package poller

import (
	"bytes"
	"net"
	"testing"
)

// hoarder is a handler that consumes nothing but what a test asks for, and remembers
// the connections that it had to give up.
type hoarder struct {
	*echoHandler
	charged   map[uint32]int // bytes, by slot
	eat       map[uint32]int // bytes to consume at the next OnData
	reclaimed []uint32
}

func (h *hoarder) OnReclaim(slot uint32) {
	h.reclaimed = append(h.reclaimed, slot)
	delete(h.charged, slot)
	h.s.Close(slot)
}

func (h *hoarder) OnClose(slot uint32, c Reason, err error) {
	delete(h.charged, slot)
	delete(h.eat, slot)
	h.echoHandler.OnClose(slot, c, err)
}

func hoarderRig(t *testing.T, o Options) (*rig, []*hoarder) {
	t.Helper()
	var all []*hoarder
	o.Shards = max(o.Shards, 1)
	o.Mailbox = 1 << 12
	o.ManualTicks = true
	o.NewHandler = func(s *Shard) Handler {
		h := &hoarder{charged: map[uint32]int{}, eat: map[uint32]int{}}
		h.echoHandler = &echoHandler{s: s, reasons: make(chan Reason, 1024), mail: runMail,
			data: func(s *Shard, slot uint32, p []byte) int {
				n := h.eat[slot]
				delete(h.eat, slot)
				if len(p)-n > 8<<10 {
					s.Pause(slot)
				}
				return n
			},
			open: func(s *Shard, slot uint32, state any) {
				if to, ok := state.(chan ID); ok {
					to <- s.ID(slot)
				}
			}}
		all = append(all, h)
		return h
	}
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closeLoop(t, l)
		if n := l.Stats().InboundBytes; n != 0 {
			t.Errorf("%d inbound bytes counted after Close", n)
		}
	})
	r := &rig{Loop: l, t: t}
	for _, h := range all {
		r.handlers = append(r.handlers, h.echoHandler)
	}
	return r, all
}

// counted adds up what the connections of all shards hold, and checks that the
// lists agree with it. Nothing may be in progress.
func (r *rig) counted() (sum int64) {
	r.t.Helper()
	for i := range r.shards {
		r.settle(i)
		r.on(i, func(s *Shard) {
			x := &s.receiver.accounts
			n, top := 0, 0
			for class, a := range x.classes.first {
				for prev := (*account)(nil); a != nil; prev, a = a, a.next {
					n++
					top = class + 1
					sum += int64(a.bytes)
					if c := s.at(a.id.Slot()); a.prev != prev || sizeClass(a.bytes) != class || x.of(c) != a || s.ID(a.id.Slot()) != a.id {
						r.t.Errorf("account %+v is in the list of class %d", *a, class)
					}
					if charged := a.bytes - accountSize - cap(a.unread); charged < 0 || charged == 0 && a.unread == nil {
						r.t.Errorf("account with %d bytes charged, %d unread", charged, cap(a.unread))
					}
				}
			}
			if n != x.index.Len() || top != int(x.classes.top.Load()) {
				r.t.Errorf("shard %d: %d accounts in lists, %d in all; highest class %d, published %d", i, n, x.index.Len(), top, x.classes.top.Load())
			}
		})
	}
	return sum
}

// Paused connections fill the limit with unread bytes. Then the connection that
// holds most is reclaimed, and never one that holds little.
func TestLargestIsReclaimed(t *testing.T) {
	const limit = 1 << 20
	r, hoarders := hoarderRig(t, Options{InboundBytes: limit})
	h := hoarders[0]
	send := func(n int) net.Conn {
		ours, peer := socketPair(t)
		c := fileConn(t, peer)
		r.adopt(0, Socket{FD: ours})
		read := r.Stats().ReadBytes
		c.Write(make([]byte, n))
		eventually(t, "read", func() bool { return r.Stats().ReadBytes == read+uint64(n) })
		if n := r.Stats().InboundBytes; n > limit {
			t.Fatalf("%d bytes held, limit %d", n, limit)
		}
		return c
	}
	var small []net.Conn
	for range 50 {
		small = append(small, send(10))
	}
	for range 200 {
		send(3000) // each takes a buffer of 4 KiB
	}
	if n := len(h.reclaimed); n > 0 {
		t.Fatalf("%d reclaimed below the limit", n)
	}
	for range 300 {
		send(3000)
	}
	for range 50 {
		small = append(small, send(10))
	}
	r.on(0, func(*Shard) {
		if len(h.reclaimed) < 200 {
			t.Errorf("%d of 500 reclaimed", len(h.reclaimed))
		}
	})
	if st := r.Stats(); st.Connections != 600-int(st.Reclaimed) || st.InboundBytes < limit/2 {
		t.Errorf("%d connections, %d reclaimed, %d bytes held", st.Connections, st.Reclaimed, st.InboundBytes)
	}
	for i, c := range small {
		c.Close()
		eventually(t, "closed by its client", func() bool { return h.closed.Load() == int64(r.Stats().Reclaimed)+int64(i)+1 })
	}
}

// A connection that alone wants more than the limit is refused, although others
// hold something.
func TestLargestIsRefused(t *testing.T) {
	r, hoarders := hoarderRig(t, Options{InboundBytes: 1 << 20})
	_, little := r.pair(0)
	_, much := r.pair(0)
	r.on(0, func(s *Shard) {
		if !s.Charge(little.Slot(), 1000) || !s.Charge(much.Slot(), 900<<10) {
			t.Error("refused below the limit")
		}
		if s.Charge(much.Slot(), 200<<10) {
			t.Error("more than the limit was granted")
		}
		if !s.Charge(little.Slot(), 1000) {
			t.Error("a connection that holds little was refused")
		}
		if !s.Charge(little.Slot(), 200<<10) {
			t.Error("the largest was not reclaimed")
		}
		s.Uncharge(much.Slot(), 1<<30) // it holds nothing any more: no effect
		s.Uncharge(little.Slot(), 1<<30)
		if got := hoarders[0].reclaimed; len(got) != 1 || got[0] != much.Slot() || s.loop.input.held.Load() != 0 {
			t.Errorf("reclaimed %d, %d bytes left; want %d and none", got, s.loop.input.held.Load(), much.Slot())
		}
	})
}

// A shard whose connections all hold little does not pay for what other shards
// hold.
func TestOtherShardsAreSpared(t *testing.T) {
	r, hoarders := hoarderRig(t, Options{InboundBytes: 1 << 20, Shards: 2})
	var greedy []ID
	for range 20 {
		_, id := r.pair(0)
		greedy = append(greedy, id)
	}
	r.on(0, func(s *Shard) {
		for _, id := range greedy {
			s.Charge(id.Slot(), 64<<10)
		}
	})
	_, innocent := r.pair(1)
	r.on(1, func(s *Shard) {
		for range 20 {
			if !s.Charge(innocent.Slot(), 1000) {
				t.Error("refused because of what the other shard holds")
			}
		}
	})
	r.on(0, func(*Shard) {
		if len(hoarders[0].reclaimed) == 0 || len(hoarders[1].reclaimed) > 0 {
			t.Errorf("reclaimed %d and %d", hoarders[0].reclaimed, hoarders[1].reclaimed)
		}
	})
}

// panicky panics in OnReclaim.
type panicky struct{ *hoarder }

func (panicky) OnReclaim(uint32) { panic("asked for") }

// A panic in OnReclaim closes that connection only, and what it held is no longer
// counted.
func TestPanicInReclaim(t *testing.T) {
	r, hoarders := hoarderRig(t, Options{InboundBytes: 1 << 20})
	_, first := r.pair(0)
	_, second := r.pair(0)
	r.on(0, func(s *Shard) {
		s.handler = panicky{hoarders[0]}
		if !s.Charge(first.Slot(), 900<<10) || !s.Charge(second.Slot(), 800<<10) {
			t.Error("no room")
		}
	})
	eventually(t, "the first is closed", func() bool { return r.Stats().Connections == 1 })
	if st := r.Stats(); st.Panics != 1 || st.InboundBytes != 800<<10+accountSize {
		t.Errorf("%d panics, %d bytes", st.Panics, st.InboundBytes)
	}
}

// The unread bytes of a moving connection stay counted, and are uncounted if no
// shard opens it.
func TestMovedBytesAreCounted(t *testing.T) {
	r, _ := hoarderRig(t, Options{Shards: 2})
	c, id := r.pair(0)
	c.Write(bytes.Repeat([]byte("x"), 5000))
	eventually(t, "read", func() bool { return r.counted() >= 4096+accountSize })
	release, held := make(chan struct{}), make(chan struct{})
	r.Shard(1).Post(QueueControl, Mail{Ptr: func(*Shard) { close(held); <-release }})
	<-held
	r.on(0, func(s *Shard) { s.Move(id.Slot(), 1, nil, nil) })
	if n := r.Stats().InboundBytes; n < 4096 {
		t.Errorf("%d bytes counted on the way", n)
	}
	close(release)
	eventually(t, "moved", func() bool { return r.Stats().MovedIn == 1 })
	if sum := r.counted(); sum < 4096 || sum != r.Stats().InboundBytes {
		t.Errorf("%d bytes counted, %d held", r.Stats().InboundBytes, sum)
	}
	c.Close()
	eventually(t, "nothing", func() bool { return r.counted() == 0 && r.Stats().InboundBytes == 0 })
}
