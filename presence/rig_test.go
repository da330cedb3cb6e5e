package presence

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"belfry/broadcast"
	"belfry/broadcast/fakebus"
	"belfry/message"
)

// held is a Local that holds sessions in a list, by id.
type held struct {
	name     string
	sessions []Session
	seen     map[string]time.Time
	err      error
	asked    int           // questions
	slow     time.Duration // that State takes
}

// pageOf returns the part of a list behind a place.
func pageOf[T any](list []T, behind func(T) bool, limit int) ([]T, bool) {
	list = slices.DeleteFunc(slices.Clone(list), func(x T) bool { return !behind(x) })
	n := min(limit, len(list))
	return list[:n], n < len(list)
}

func (h *held) Session(_ context.Context, sid string) (*Session, error) {
	h.asked++
	for _, s := range h.sessions {
		if s.SID == sid {
			return &s, h.err
		}
	}
	return nil, h.err
}

func (h *held) of(uid string) (list []Session) {
	for _, s := range h.sessions {
		if s.UID == uid {
			list = append(list, s)
		}
	}
	return list
}

func behind(after message.SID) func(sid string) bool {
	return func(sid string) bool {
		n, _ := message.DecodeSID(sid)
		return after == (message.SID{}) || n.Compare(after) > 0
	}
}

func (h *held) UserSessions(_ context.Context, uid string, after message.SID, limit int) ([]Session, int, bool, error) {
	h.asked++
	all := h.of(uid)
	list, more := pageOf(all, func(s Session) bool { return behind(after)(s.SID) }, limit)
	return list, len(all), more, h.err
}

func (h *held) Users(_ context.Context, uids []string) (list []UserCount, err error) {
	h.asked++
	for _, uid := range uids {
		list = append(list, UserCount{len(h.of(uid)), h.seen[uid]})
	}
	return list, h.err
}

func (h *held) Subscribers(_ context.Context, topic string) (n int, err error) {
	h.asked++
	for _, s := range h.sessions {
		if slices.Contains(s.Topics, topic) {
			n++
		}
	}
	return n, h.err
}

func (h *held) SubscribersOf(ctx context.Context, topics []string) (counts []int, err error) {
	for _, topic := range topics {
		n, _ := h.Subscribers(ctx, topic)
		counts = append(counts, n)
	}
	return counts, h.err
}

func (h *held) Members(_ context.Context, topic string, after message.SID, limit int) (list []Member, more bool, err error) {
	for _, s := range h.sessions {
		if slices.Contains(s.Topics, topic) {
			list = append(list, Member{s.SID, s.UID})
		}
	}
	list, more = pageOf(list, func(m Member) bool { return behind(after)(m.SID) }, limit)
	return list, more, h.err
}

func (h *held) Topics(_ context.Context, prefix, after string, limit int) (list []TopicCount, more bool, err error) {
	counts := map[string]int{}
	for _, s := range h.sessions {
		for _, topic := range s.Topics {
			counts[topic]++
		}
	}
	for topic, n := range counts {
		list = append(list, TopicCount{topic, n})
	}
	slices.SortFunc(list, func(a, b TopicCount) int { return strings.Compare(a.Topic, b.Topic) })
	list, more = pageOf(list, func(c TopicCount) bool { return strings.HasPrefix(c.Topic, prefix) && c.Topic > after }, limit)
	return list, more, h.err
}

func (h *held) State(context.Context) NodeState {
	h.asked++
	time.Sleep(h.slow)
	return NodeState{Version: h.name, Ready: true, Sessions: int64(len(h.sessions))}
}

// node is a node on a fake bus.
type node struct {
	reader *Reader
	*held
	bus  *fakebus.Bus
	node *broadcast.Node
}

// cluster opens nodes with the names a, b, and so on.
func cluster(t *testing.T, n int, change func(*Options)) (nodes []*node) {
	t.Helper()
	return clusterOn(t, &fakebus.Network{Delay: time.Millisecond}, n, change)
}

func clusterOn(t *testing.T, network *fakebus.Network, n int, change func(*Options)) (nodes []*node) {
	t.Helper()
	for i := range n {
		name := string(rune('a' + i))
		one := &node{held: &held{name: name, seen: map[string]time.Time{}}, bus: network.Join(name)}
		var err error
		if one.node, err = broadcast.Open(broadcast.Options{NodeName: name, Bus: one.bus}); err != nil {
			t.Fatal(err)
		}
		o := Options{Self: broadcast.Peer{ID: one.node.NodeID(), Name: name}, Local: one.held, Control: one.node.Control()}
		if change != nil {
			change(&o)
		}
		one.reader = New(o)
		one.node.Start(fakebus.Nowhere{})
		t.Cleanup(func() { one.node.Close() })
		nodes = append(nodes, one)
	}
	time.Sleep(time.Second)
	return nodes
}

// fill gives the nodes sessions at random, in the order of their ids.
func fill(rng *rand.Rand, nodes []*node, each int, size int) {
	for _, n := range nodes {
		for slot := range each {
			sid := message.SID{Node: n.node.NodeID(), Shard: uint16(slot % 3), Conn: uint64(slot + 1)}.Format(new([32]byte))
			s := Session{SID: sid, Node: n.name, UID: fmt.Sprint("u", rng.IntN(3)), Agent: strings.Repeat("<", rng.IntN(size)), Topics: []string{fmt.Sprint("t", rng.IntN(9)), "all"}}
			n.sessions = append(n.sessions, s)
		}
		slices.SortFunc(n.sessions, func(a, b Session) int { return compareSIDs(a.SID, b.SID) })
	}
}
