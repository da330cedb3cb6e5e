package poller

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"

	"pgregory.net/rapid"
)

// holder is a connection of the model.
type holder struct {
	peer     net.Conn
	shard    int
	id       ID
	sent     int // bytes that its client has sent
	consumed int // bytes of these that the handler has consumed
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

// The node always counts exactly what its connections hold: unread bytes, which
// are those that the client has sent and the handler has not consumed, and what
// the handler has charged.
func TestInboundCountModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &inboundModel{t: t, rt: rt, limit: int64(rapid.SampledFrom([]int{64 << 10, 1 << 20, 256 << 20}).Draw(rt, "limit"))}
		m.r, m.hoarders = hoarderRig(t, Options{InboundBytes: m.limit, Shards: 2})
		m.rnd = rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		for range rapid.IntRange(10, 60).Draw(rt, "steps") {
			if len(m.live) == 0 || m.rnd.IntN(4) == 0 {
				shard := m.rnd.IntN(2)
				c, id := m.r.pair(shard)
				m.live = append(m.live, &holder{peer: c, shard: shard, id: id})
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
	for _, h := range m.live {
		problem := ""
		m.act(h, func(s *Shard) { problem = m.compare(s, h) })
		if problem != "" {
			m.rt.Fatalf("after %s: %s", what, problem)
		}
	}
}

// compare says how what a connection holds differs from the model, "" if it does
// not.
func (m *inboundModel) compare(s *Shard, h *holder) string {
	var a account // of a connection that holds nothing
	if held := s.receiver.accounts.of(s.at(h.id.Slot())); held != nil {
		a = *held
	}
	want := sentBytes(h.consumed, h.sent)
	if !bytes.Equal(a.unread, want) {
		return fmt.Sprintf("%d bytes are unread, want %d, or others", len(a.unread), len(want))
	}
	room := cap(a.unread)
	if room > 4*unreadSize(max(1, len(want))) || len(want) == 0 && room > 0 {
		return fmt.Sprintf("a buffer of %d for %d unread bytes", room, len(want))
	}
	charged := m.hoarders[h.shard].charged[h.id.Slot()] + room
	if charged > 0 {
		charged += accountSize
	}
	if a.bytes != charged {
		return fmt.Sprintf("an account of %d bytes, want %d, of which %d are for unread bytes", a.bytes, charged, room)
	}
	return ""
}

// sentBytes returns the bytes of a client from one position to another.
func sentBytes(from, to int) []byte {
	p := make([]byte, 0, to-from)
	for i := from; i < to; i++ {
		p = append(p, byte(i%251))
	}
	return p
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
	switch m.rnd.IntN(9) {
	case 0, 1:
		m.write(h, 1+m.rnd.IntN(min(size, 2000)))
		return "write"
	case 2:
		m.consume(h)
		return "consume"
	case 3:
		m.act(h, func(s *Shard) {
			if s.Charge(slot, size) {
				charged[slot] += size
			}
		})
		return "charge"
	case 4:
		m.act(h, func(s *Shard) {
			s.Uncharge(slot, charged[slot])
			delete(charged, slot)
		})
		return "uncharge"
	case 5:
		moved := make(chan ID, 1)
		if gone := m.act(h, func(s *Shard) {
			delete(charged, slot)
			s.Move(slot, 1-h.shard, moved, nil)
		}); !gone {
			h.id, h.shard = <-moved, 1-h.shard
		}
		return "move"
	case 6:
		h.peer.Close()
		m.live = append(m.live[:i], m.live[i+1:]...)
		eventually(m.t, "closed", func() (over bool) {
			m.r.on(h.shard, func(s *Shard) { _, ok := s.Lookup(h.id); over = !ok })
			return over
		})
		return "close"
	case 7:
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
		h.peer.Write(sentBytes(h.sent, h.sent+n))
		h.sent += n
		eventually(m.t, "read", func() bool { return m.r.Stats().ReadBytes == read+uint64(n) })
	}
}

// consume has the handler consume some of a connection's unread bytes, all or
// none.
func (m *inboundModel) consume(h *holder) {
	n := m.rnd.IntN(h.sent - h.consumed + 1)
	switch m.rnd.IntN(4) {
	case 0:
		n = h.sent - h.consumed
	case 1:
		n = 0
	}
	eat := m.hoarders[h.shard].eat
	gone := m.act(h, func(s *Shard) {
		eat[h.id.Slot()] = n
		s.Pause(h.id.Slot())
		s.Resume(h.id.Slot()) // shows it the unread bytes again
	})
	if gone {
		return
	}
	m.r.settle(h.shard)
	m.act(h, func(*Shard) {
		if _, left := eat[h.id.Slot()]; !left {
			h.consumed += n
		} else if delete(eat, h.id.Slot()); n > 0 {
			m.t.Errorf("%d bytes to consume were not shown", n)
		}
	})
}
