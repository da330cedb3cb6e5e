package session

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"belfry/message"
	"belfry/poller"
)

func onePair(t *testing.T) *rig {
	return newRig(t, Options{Poller: onePoller()})
}

// A fan-out run is at every place of a topic's members when one or two of them,
// at every place, leave, or somebody joins.
func TestPassCursor(t *testing.T) {
	const n = 5
	r := onePair(t)
	seats := r.seats(n)
	extra := r.seats(1)[0]
	for cursor := range n + 1 {
		for first := range n {
			for second := range n { // first == second: only one leaves
				var order []*seat
				r.on(0, func(h *shard) {
					for _, s := range seats {
						h.topics.join(s.slot, h.rec(s.slot), "t")
					}
					topic, _ := h.topics.find("t")
					for _, slot := range h.topics.slots(topic) {
						order = append(order, seats[slices.IndexFunc(seats, func(s *seat) bool { return s.slot == slot })])
					}
					enqueue(h, message.ToTopics("t"), "x")
					visits(h, cursor)
					h.topics.leave(h.rec(order[first].slot), topic)
					h.topics.leave(h.rec(order[second].slot), topic)
					if (first+second)%2 == 0 {
						h.topics.join(extra.slot, h.rec(extra.slot), "t")
					}
				})
				r.fanoutDone()
				r.on(0, func(h *shard) {
					for _, s := range append(seats, extra) {
						h.topics.leaveAll(h.rec(s.slot))
					}
					if h.topics.len() != 0 {
						t.Error("the topic is still there")
					}
				})
				for i, s := range order {
					want := 1
					if (i == first || i == second) && i >= cursor {
						want = 0
					}
					if got := s.texts(); len(got) != want {
						t.Fatalf("cursor %d, %d and %d leave: %d got %q, want %d", cursor, first, second, i, got, want)
					}
				}
				extra.texts()
			}
		}
	}
}

func TestPassWritesOnce(t *testing.T) {
	r := onePair(t)
	seats := r.seats(3)
	before := r.Stats()
	r.on(0, func(h *shard) {
		for i := range 5 {
			enqueue(h, message.ToAll(), fmt.Sprint(i))
		}
	})
	r.fanoutDone()
	for _, s := range seats {
		w := s.writes()
		if len(w) != 1 || strings.Join(s.parse(w[0]), "") != "01234" {
			t.Errorf("%d writes: %q", len(w), w)
		}
	}
	st := r.Stats()
	if p, c, d := st.FanoutRuns-before.FanoutRuns, st.Coalesced-before.Coalesced, st.Deliveries-before.Deliveries; p != 1 || c != 4 || d != 15 {
		t.Errorf("%d fan-out runs, %d coalesced, %d deliveries", p, c, d)
	}
}

func TestPassBounds(t *testing.T) {
	for name, c := range map[string]struct {
		sizes  []int
		writes []int // messages in each
	}{
		"messages": {slices.Repeat([]int{4}, 150), []int{64, 64, 22}},
		"bytes":    {slices.Repeat([]int{10 << 10}, 10), []int{6, 4}},
		"exactly":  {slices.Repeat([]int{16 << 10}, 5), []int{4, 1}},
		"one big":  {[]int{10, 100 << 10, 10}, []int{1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := onePair(t)
			s := r.seat(upgrade{})
			var want []string
			r.on(0, func(h *shard) {
				for i, size := range c.sizes {
					text := fmt.Sprintf("%-*d", size, i)
					want = append(want, text)
					enqueue(h, message.ToAll(), text)
				}
			})
			r.fanoutDone()
			var got []string
			var writes []int
			for _, w := range s.writes() {
				texts := s.parse(w)
				writes = append(writes, len(texts))
				got = append(got, texts...)
			}
			if !slices.Equal(writes, c.writes) || !slices.Equal(got, want) {
				t.Errorf("%d messages in writes of %v, want %d in %v", len(got), writes, len(want), c.writes)
			}
			if st := r.Stats(); int(st.FanoutRuns) != len(c.writes) || int(st.Coalesced) != len(c.sizes)-len(c.writes) {
				t.Errorf("%d fan-out runs, %d coalesced", st.FanoutRuns, st.Coalesced)
			}
		})
	}
}

// A fan-out run has no more topics than it can search quickly for each session.
func TestPassTopics(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), MaxTopics: 1 << 10})
	s := r.seat(upgrade{})
	r.on(0, func(h *shard) {
		for i := range 5 {
			var names []string
			for j := range 100 {
				names = append(names, fmt.Sprintf("t%d.%d", i, j))
				h.topics.join(s.slot, h.rec(s.slot), names[j])
			}
			enqueue(h, message.ToTopics(names...), fmt.Sprint(i))
		}
	})
	r.fanoutDone()
	var writes []int
	for _, w := range s.writes() {
		writes = append(writes, len(s.parse(w)))
	}
	if !slices.Equal(writes, []int{2, 2, 1}) {
		t.Errorf("writes of %v messages", writes)
	}
}

// Sessions with different topics and encodings, messages to several topics and
// with exclusions: each gets what matches, once, in order, in one write.
func TestPassMasks(t *testing.T) {
	r := onePair(t)
	subscribed := [][]string{{"a"}, {"b"}, {"a", "b"}, {"c"}, {"a", "b", "c"}, {"d"}, nil}
	var seats []*seat
	for i := range 2 * len(subscribed) {
		seats = append(seats, r.seat(upgrade{grant: Grant{Topics: subscribed[i/2]}, variant: uint8(i % 2)}))
	}
	sent := []struct {
		topics []string
		not    int // seat
	}{
		{[]string{"a"}, -1}, {[]string{"b", "a"}, 4}, {[]string{"c", "nobody"}, -1}, {[]string{"a", "b", "c", "d"}, 9}, {[]string{"b"}, -1}, {[]string{"a"}, 0},
	}
	r.on(0, func(h *shard) {
		for i, m := range sent {
			var exclude []string
			if m.not >= 0 {
				exclude = append(exclude, seats[m.not].sid)
			}
			enqueue(h, message.ToTopics(m.topics...), fmt.Sprint(i), exclude...)
		}
	})
	r.fanoutDone()
	for i, s := range seats {
		var want []string
		for n, m := range sent {
			match := slices.ContainsFunc(m.topics, func(topic string) bool { return slices.Contains(subscribed[i/2], topic) })
			if match && m.not != i {
				want = append(want, fmt.Sprint(n))
			}
		}
		w := s.writes()
		got := s.parse(slices.Concat(w...))
		if !slices.Equal(got, want) || len(w) != min(1, len(want)) {
			t.Errorf("seat %d (%v) got %q in %d writes, want %q", i, subscribed[i/2], got, len(w), want)
		}
	}
	if n := r.Stats().FanoutRuns; n != 1 {
		t.Errorf("%d fan-out runs", n)
	}
}

// What is being sent when a session opens was published before it did.
func TestPassNewcomers(t *testing.T) {
	for _, to := range []message.Target{message.ToAll(), message.ToTopics("t")} {
		r := onePair(t)
		seats := r.seats(3, "t")
		low, lowSlot := r.adopt(unix.SOCK_SEQPACKET)
		seats = append(seats, r.seats(3, "t")...)
		high, highSlot := r.adopt(unix.SOCK_SEQPACKET)
		r.on(0, func(h *shard) {
			enqueue(h, to, "before")
			visits(h, 5)
			h.upgrader.register(lowSlot, &upgrade{accept: pingFrame, grant: Grant{Topics: []string{"t"}}})
			h.upgrader.register(highSlot, &upgrade{accept: pingFrame, grant: Grant{Topics: []string{"t"}}})
			enqueue(h, to, "after")
		})
		r.fanoutDone()
		for i, s := range append(seats, &seat{t: t, peer: low}, &seat{t: t, peer: high}) {
			want := []string{"before", "after"}
			if i >= len(seats) {
				want = want[1:]
			}
			if got := s.texts(); !slices.Equal(got, want) {
				t.Errorf("%v: seat %d got %q, want %q", to, i, got, want)
			}
		}
		unix.Close(low)
		unix.Close(high)
	}
}

// A session that cannot take the messages of a fan-out run is ended, and the others
// are not touched, wherever it stands.
func TestPassEndsSlow(t *testing.T) {
	for place := range 4 {
		for _, to := range []message.Target{message.ToAll(), message.ToTopics("t"), message.ToTopics("u", "t")} {
			r := newRig(t, Options{Poller: poller.Options{Shards: 1, Backlog: poller.Bounds{Frames: 1}}})
			seats := r.seats(4, "t", "u")
			slow := seats[place]
			r.on(0, func(h *shard) { stuff(t, h.ps.FD(slow.slot)) })
			r.on(0, func(h *shard) {
				for i := range 3 {
					enqueue(h, to, fmt.Sprint(i))
				}
			})
			r.fanoutDone()
			r.on(0, func(h *shard) {
				if st := h.rec(slow.slot).state; st != stateClosing {
					t.Errorf("place %d: the slow session is in state %d", place, st)
				}
			})
			for i, s := range seats {
				got := s.texts() // for the slow one: what was stuffed
				if s != slow && !slices.Equal(got, []string{"0", "1", "2"}) {
					t.Errorf("place %d, %v: seat %d got %q", place, to, i, got)
				}
			}
			if n := r.Stats().Slow; n != 1 {
				t.Errorf("%d slow sessions", n)
			}
		}
	}
}

// stuff fills a socket with whole frames until it takes no more.
func stuff(t *testing.T, fd int) {
	frame := append([]byte{0x82, 126, 4, 0}, make([]byte, 1<<10)...)
	for {
		if _, err := unix.Write(fd, frame); err == unix.EAGAIN {
			return
		} else if err != nil {
			t.Error(err)
			return
		}
	}
}

// A topic is left by all and joined again while messages to it wait: they
// keep it, and it is the same for the bus.
func TestQueuedTopicStays(t *testing.T) {
	g := newGate(false)
	r := newRig(t, Options{Poller: poller.Options{Shards: 1}, Interest: g})
	a, b := r.seat(upgrade{grant: Grant{Topics: []string{"t"}}}), r.seat(upgrade{})
	r.on(0, func(h *shard) {
		enqueue(h, message.ToTopics("t"), "1")
		enqueue(h, message.ToTopics("t"), "2")
		topic, _ := h.topics.find("t")
		token := h.topics.token(topic)
		h.topics.leave(h.rec(a.slot), topic)
		if _, n := g.wanted("", "t"); n != 1 || !h.topics.all.Live(topic) {
			t.Errorf("wanted %d times", n)
		}
		h.topics.join(b.slot, h.rec(b.slot), "t")
		if again, _ := h.topics.find("t"); !h.topics.has(h.rec(b.slot), "t") || h.topics.token(again) != token {
			t.Error("it is another topic now")
		}
		h.topics.leaveAll(h.rec(b.slot))
	})
	r.fanoutDone()
	r.on(0, func(h *shard) {
		if _, n := g.wanted("", "t"); n != 0 || h.topics.len() != 0 {
			t.Errorf("wanted %d times after the fan-out run, %d topics", n, h.topics.len())
		}
	})
	if got := append(a.texts(), b.texts()...); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

// onLeave is called when a user's session leaves.
type onLeave struct {
	noInterest
	call func()
}

func (o *onLeave) LeaveUser([]byte) { o.call() }

// A push to one user during a fan-out run is served between two of its chunks: the
// user, who is the last one that the run visits, gets the push first.
func TestSinglePushBetweenChunks(t *testing.T) {
	in := &onLeave{}
	r := newRig(t, Options{Interest: in,
		Poller: poller.Options{Shards: 1, Chunk: 1 /* ns: the least there is */, Backlog: poller.Bounds{Frames: 1}}})
	var push sync.Once
	in.call = func() { push.Do(func() { r.deliver(message.ToUsers("last"), "single") }) }
	seats := r.seats(20)
	slow := r.seat(upgrade{grant: Grant{UID: "slow"}}) // the run ends it, and the push comes
	seats = append(seats, r.seats(80)...)
	last := r.seat(upgrade{grant: Grant{UID: "last"}})
	r.on(0, func(h *shard) {
		stuff(t, h.ps.FD(slow.slot))
		enqueue(h, message.ToAll(), "1")
		enqueue(h, message.ToAll(), "2")
	})
	r.fanoutDone()
	if got := last.texts(); !slices.Equal(got, []string{"single", "1", "2"}) {
		t.Errorf("got %q", got)
	}
	for _, s := range seats {
		if got := s.texts(); !slices.Equal(got, []string{"1", "2"}) {
			t.Errorf("got %q", got)
		}
	}
}
