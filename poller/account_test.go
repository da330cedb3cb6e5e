package poller

import (
	"bytes"
	"math/rand/v2"
	"net"
	"testing"

	"pgregory.net/rapid"
)

// hoarder is a handler that consumes nothing, and remembers the connections that it
// had to give up.
type hoarder struct {
	*echoHandler
	charged   map[uint32]int
	reclaimed []uint32
}

func (h *hoarder) OnReclaim(slot uint32) {
	h.reclaimed = append(h.reclaimed, slot)
	delete(h.charged, slot)
	h.s.Close(slot)
}

func (h *hoarder) OnClose(slot uint32, c Reason, err error) {
	delete(h.charged, slot)
	h.echoHandler.OnClose(slot, c, err)
}

func hoarderRig(t *testing.T, o Options) (*rig, []*hoarder) {
	t.Helper()
	var all []*hoarder
	o.Shards = max(o.Shards, 1)
	o.Mailbox = 1 << 12
	o.ManualTicks = true
	o.NewHandler = func(s *Shard) Handler {
		h := &hoarder{charged: map[uint32]int{}}
		h.echoHandler = &echoHandler{s: s, reasons: make(chan Reason, 1024), mail: runMail,
			data: func(s *Shard, slot uint32, p []byte) int {
				if len(p) > 8<<10 {
					s.Pause(slot)
				}
				return 0
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

// holder is a connection of the model.
type holder struct {
	peer  net.Conn
	shard int
	id    ID
}

// inboundModel does at random what connections can do to the node's count of
// inbound bytes.
type inboundModel struct {
	t        *testing.T
	rt       *rapid.T
	r        *rig
	hoarders []*hoarder
	rnd      *rand.Rand
	limit    int64
	live     []*holder
}

// The node always counts exactly what its connections hold.
func TestInboundCountModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &inboundModel{t: t, rt: rt, limit: int64(rapid.SampledFrom([]int{64 << 10, 1 << 20, 256 << 20}).Draw(rt, "limit"))}
		m.r, m.hoarders = hoarderRig(t, Options{InboundBytes: m.limit, Shards: 2})
		m.rnd = rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		for range rapid.IntRange(10, 60).Draw(rt, "steps") {
			if len(m.live) == 0 || m.rnd.IntN(4) == 0 {
				shard := m.rnd.IntN(2)
				c, id := m.r.pair(shard)
				m.live = append(m.live, &holder{c, shard, id})
				continue
			}
			m.check(m.step(m.rnd.IntN(len(m.live))))
		}
		for _, h := range m.live {
			h.peer.Close()
		}
		eventually(t, "all gone", func() bool { return m.r.Stats().Connections == 0 })
		if n := m.r.Stats().InboundBytes; n != 0 {
			rt.Fatalf("%d bytes counted that no connection holds", n)
		}
		closeLoop(t, m.r.Loop)
	})
}

func (m *inboundModel) check(what string) {
	eventually(m.t, what+": nothing under way", func() bool {
		st := m.r.Stats()
		return st.MovedIn == st.MovedOut
	})
	if sum, n := m.r.counted(), m.r.Stats().InboundBytes; sum != n {
		m.rt.Fatalf("after %s: %d counted, %d held", what, n, sum)
	} else if n > m.limit+m.limit/8+64<<10 { // moves exceed it for a moment
		m.rt.Fatalf("after %s: %d bytes, limit %d", what, n, m.limit)
	}
}

// act calls f on the shard of h, unless h has ended.
func (m *inboundModel) act(h *holder, f func(s *Shard)) (gone bool) {
	m.r.on(h.shard, func(s *Shard) {
		if _, ok := s.Lookup(h.id); !ok {
			gone = true
			return
		}
		f(s)
	})
	return gone
}

// step makes an open connection do something, and returns what.
func (m *inboundModel) step(i int) (what string) {
	h, slot, size := m.live[i], m.live[i].id.Slot(), 1<<m.rnd.IntN(16)
	charged := m.hoarders[h.shard].charged
	switch m.rnd.IntN(7) {
	case 0:
		m.write(h, min(size, 2000))
		return "write"
	case 1:
		m.act(h, func(s *Shard) {
			if s.Charge(slot, size) {
				charged[slot] += size
			}
		})
		return "charge"
	case 2:
		m.act(h, func(s *Shard) {
			s.Uncharge(slot, charged[slot])
			delete(charged, slot)
		})
		return "uncharge"
	case 3:
		moved := make(chan ID, 1)
		if gone := m.act(h, func(s *Shard) {
			delete(charged, slot)
			s.Move(slot, 1-h.shard, moved, nil)
		}); !gone {
			h.id, h.shard = <-moved, 1-h.shard
		}
		return "move"
	case 4:
		h.peer.Close()
		m.live = append(m.live[:i], m.live[i+1:]...)
		eventually(m.t, "closed", func() (over bool) {
			m.r.on(h.shard, func(s *Shard) { _, ok := s.Lookup(h.id); over = !ok })
			return over
		})
		return "close"
	case 5:
		m.act(h, func(s *Shard) { s.guard.protect(h.id, func() { panic("asked for") }) })
		return "panic"
	}
	m.act(h, func(s *Shard) { s.Pause(slot); s.Resume(slot) })
	return "pause and resume"
}

// write sends n bytes to a connection that is read.
func (m *inboundModel) write(h *holder, n int) {
	read, paused := m.r.Stats().ReadBytes, false
	gone := m.act(h, func(s *Shard) { paused = s.Paused(h.id.Slot()) })
	if !gone && !paused {
		h.peer.Write(make([]byte, n))
		eventually(m.t, "read", func() bool { return m.r.Stats().ReadBytes > read })
	}
}
