package session

import "belfry/message"

// forwards are the messages that were passed on to the successor and that it has not
// reported as sent, in order. If it dies, they are sent from here. Owned by the shard.
type forwards struct {
	list    []forwarded
	first   uint64 // number of the first in list; the successor counts in the same way
	bytes   int64
	dropped int // messages that found no room, and that nobody sends if the successor dies
}

type forwarded struct {
	m    *message.Message // nil: it was sent, or dropped
	size int64
}

// maxForwards bounds the bytes of the messages that one shard keeps.
const maxForwards = 64 << 20

// next returns the number of the next message.
func (f *forwards) next() uint64 { return f.first + uint64(len(f.list)) }

func (f *forwards) add(m *message.Message) {
	size := int64(len(m.Payload)) + 256
	f.list, f.bytes = append(f.list, forwarded{m, size}), f.bytes+size
	for i := 0; f.bytes > maxForwards && i < len(f.list); i++ {
		if f.list[i].m != nil {
			f.dropped++
			f.forget(i)
		}
	}
	f.trim()
}

func (f *forwards) forget(i int) {
	f.bytes -= f.list[i].size
	f.list[i] = forwarded{}
}

// trim drops the beginning of the list that nobody needs.
func (f *forwards) trim() {
	n := 0
	for n < len(f.list) && f.list[n].m == nil {
		n++
	}
	f.list, f.first = f.list[n:], f.first+uint64(n)
}

// sent takes the numbers of messages that the successor has sent.
func (f *forwards) sent(numbers []uint64) {
	for _, n := range numbers {
		if i := n - f.first; n >= f.first && i < uint64(len(f.list)) && f.list[i].m != nil {
			f.forget(int(i))
		}
	}
	f.trim()
}

// sendAgain sends what a successor that died had not sent, to sessions that go on here:
// from has the number of the first message that each of them needs. It returns how many
// messages that were. What the successor had sent to a part of the sessions comes twice
// to these.
func (g *giving) sendAgain(from map[uint32]uint64) (again int) {
	if len(from) == 0 {
		return 0
	}
	for i, f := range g.forwards.list {
		if f.m == nil || f.m.Expired() {
			continue
		}
		d, err := g.srv.Prepare(f.m)
		if err != nil {
			continue // it is in the log
		}
		again++
		n := g.forwards.first + uint64(i)
		seen := map[uint32]bool{} // a session may have several of its topics
		g.h.dispatcher.each(d, func(slot uint32) {
			if first, came := from[slot]; came && first <= n && !seen[slot] {
				seen[slot] = true
				g.h.dispatcher.route(slot, d)
			}
		})
		g.ps.Submit()
	}
	return again
}

// each calls f for the sessions of this shard that a message is for, perhaps more than
// once.
func (ds *dispatcher) each(d *Delivery, f func(slot uint32)) {
	names := d.Message.Target.Names
	switch d.Message.Target.Scope {
	case message.ScopeAll:
		for slot, ok := ds.ps.Next(0); ok; slot, ok = ds.ps.Next(slot + 1) {
			f(slot)
		}
	case message.ScopeTopics:
		for _, name := range names {
			if t, ok := ds.topics.find(name); ok {
				for _, slot := range ds.topics.slots(t) {
					f(slot)
				}
			}
		}
	case message.ScopeUsers:
		for i, at := range d.homes {
			if at.shard != ds.index {
				continue
			}
			for slot, ok := ds.users.find(at.hash, []byte(names[i])); ok; {
				older := ds.rec(slot).older
				f(slot)
				slot, ok = older-1, older != 0
			}
		}
	default:
		for _, at := range d.homes {
			if slot, ok := ds.ps.Lookup(at.id); ok && at.shard == ds.index {
				f(slot)
			}
		}
	}
}

// Aborted is what became of a hand-over that was taken back.
type Aborted struct {
	Resumed int // sessions that go on
	Closed  int // sessions that could not
	Again   int // messages, of each shard, that the successor had not sent when it died, and that were sent here
	Lost    int // messages that were not kept for that
}

// Sent names messages of a shard that the successor has sent, by their numbers from 0 in
// the order of Outgoing.Message.
func (s *Server) Sent(at int, numbers []uint64) {
	s.inOrder(s.shards[at], func(h *shard) {
		if h.giving.out != nil {
			h.giving.forwards.sent(numbers)
		}
	}, nothing)
}
