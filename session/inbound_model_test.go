package session

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"
	"pgregory.net/rapid"

	"belfry/poller"
)

// accountSize is what poller charges beside what is held.
const accountSize = 128

// sumInbound adds up what all connections hold, and looks that each is charged
// for its own and nothing else. Nothing may be under way.
func (r *rig) sumInbound() (sum int64) {
	r.t.Helper()
	r.each(func(h *shard) {
		charged := accountsOf(h.ps)
		inbounds := 0
		for slot, ok := h.ps.Next(0); ok; slot, ok = h.ps.Next(slot + 1) {
			held := charged[h.ps.ID(slot)]
			sum += int64(held)
			mine := 0
			if in := h.assembly.of(slot, h.rec(slot)); in != nil {
				inbounds++
				mine = inboundSize + in.Cap()
				if in.slot != slot {
					r.t.Errorf("slot %d has the message of %d", slot, in.slot)
				}
			}
			tail := held - mine - accountSize
			if held == 0 && mine == 0 {
				continue
			}
			if tail < 0 || tail&(tail-1) != 0 && h.rec(slot).state == stateOpen {
				r.t.Errorf("slot %d is charged %d, its message has %d", slot, held, mine)
			}
			if h.rec(slot).state == stateHalfClosed {
				r.t.Errorf("slot %d is to end and holds %d", slot, held)
			}
		}
		if n := h.assembly.index.Len(); n != inbounds {
			r.t.Errorf("%d messages on their way, %d connections have one", n, inbounds)
		}
		waiting := 0
		for in := h.assembly.oldest; in != nil; in = in.newer {
			waiting++
			if in.newer == nil && h.assembly.newest != in || in.newer != nil && in.since > in.newer.since {
				r.t.Errorf("message of slot %d is in the wrong place", in.slot)
			}
		}
		if waiting > inbounds {
			r.t.Errorf("%d messages waited for, %d there", waiting, inbounds)
		}
	})
	return sum
}

// accountsOf returns what each connection of a shard is charged. Only tests ask
// for it, so poller has no method that tells.
func accountsOf(ps *poller.Shard) map[poller.ID]int {
	charged := map[poller.ID]int{}
	accounts := reflect.ValueOf(ps).Elem().FieldByName("receiver").FieldByName("accounts").FieldByName("index").FieldByName("items")
	for i := range accounts.Len() {
		if a := accounts.Index(i); !a.IsNil() {
			charged[poller.ID(a.Elem().FieldByName("id").Uint())] = int(a.Elem().FieldByName("bytes").Int())
		}
	}
	return charged
}

// inboundMachine is random clients and the server's count of what they hold.
type inboundMachine struct {
	r     *rig
	rnd   *rand.Rand
	bound int64
	uids  []string
	live  []*inboundClient
}

type inboundClient struct {
	*rawConn
	started bool // a fragmented message
}

// step lets a random client do something, and returns what.
func (m *inboundMachine) step() string {
	if len(m.live) == 0 || m.rnd.IntN(4) == 0 {
		// Frames behind the request move with the socket to the user's shard.
		w, err := m.r.connect()
		if err != nil {
			m.r.t.Fatal(err)
		}
		path := fmt.Sprintf("/ws?uid=%s%d", m.uids[m.rnd.IntN(2)], m.rnd.IntN(1000))
		w.Write(slices.Concat(request(path, ""), begun(60_000, m.rnd.IntN(2000))))
		if status, err := w.answer(); err == nil && status == 101 {
			w.Write(make([]byte, 60_000)) // ends it, and begins something else: a continuation, which is wrong, or none
		}
		m.live = append(m.live, &inboundClient{rawConn: w})
		return "open"
	}
	i := m.rnd.IntN(len(m.live))
	c := m.live[i]
	switch n := m.rnd.IntN(8); n {
	case 0, 1, 2:
		op := gobwas.OpBinary
		if c.started {
			op = gobwas.OpContinuation
		}
		c.started = n > 0
		c.Write(masked(op, !c.started, make([]byte, m.rnd.IntN(1<<m.rnd.IntN(17)))))
		return "fragment"
	case 3:
		c.Write(masked(gobwas.OpPing, true, make([]byte, 100))[:1+m.rnd.IntN(105)])
		return "part of a ping"
	case 4:
		c.Write(begun(50_000, 1+m.rnd.IntN(40_000)))
		return "part of a message"
	case 5:
		m.r.tick(1)
		return "tick"
	case 6:
		m.r.each(func(h *shard) {
			if slot, ok := h.ps.Next(uint32(m.rnd.IntN(4))); ok && h.rec(slot).state == stateOpen {
				h.ps.Pause(slot)
				h.ps.Resume(slot)
			}
		})
		return "pause"
	}
	c.Close()
	m.live = slices.Delete(m.live, i, i+1)
	return "close"
}

// check waits until the count has stopped changing and is right.
func (m *inboundMachine) check(rt *rapid.T, what string) {
	var counted, sum int64
	eventually(m.r.t, "after "+what+": counted as held", func() bool {
		st := m.r.loop.Stats()
		if st.MovedIn != st.MovedOut {
			return false
		}
		before := st.InboundBytes
		sum = m.r.sumInbound()
		counted = m.r.loop.Stats().InboundBytes
		return m.r.t.Failed() || before == counted && counted == sum
	})
	if m.r.t.Failed() || counted > m.bound+m.bound/8 {
		rt.Fatalf("after %s: %d counted, %d held, at most %d may be", what, counted, sum, m.bound)
	}
}

// Whatever clients do, the node's count is what their connections hold, and
// when they have gone it is nothing.
func TestInboundModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		bound := int64(rapid.SampledFrom([]int{200 << 10, 256 << 20}).Draw(rt, "bound"))
		o := Options{Poller: poller.Options{Shards: 2, InboundBytes: bound}, MessageTime: 4 * time.Second, CloseTime: time.Second}
		r := newRig(t, o)
		m := &inboundMachine{r: r, bound: bound, uids: []string{"a", "b"}, rnd: rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))}
		for range rapid.IntRange(5, 40).Draw(rt, "steps") {
			m.check(rt, m.step())
		}
		for _, c := range m.live {
			c.Close()
		}
		eventually(t, "all gone", func() bool { return r.loop.Stats().Connections == 0 })
		m.check(rt, "the end")
		if n := r.loop.Stats().InboundBytes; n != 0 {
			rt.Fatalf("%d bytes are counted without a connection", n)
		}
		if err := r.close(); err != nil {
			rt.Fatal(err)
		}
	})
}
