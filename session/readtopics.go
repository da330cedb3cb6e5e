package session

import (
	"container/heap"
	"context"
	"slices"
	"sort"
	"strings"

	"belfry/message"
)

// Member is a session that is subscribed to a topic.
type Member struct{ ID, UID string }

// TopicCount is a topic and how many sessions are subscribed to it.
type TopicCount struct {
	Name  string
	Count int
}

// Subscribers returns how many sessions of this node are subscribed to a topic.
// Upgrades that wait for the bus count too.
func (s *Server) Subscribers(ctx context.Context, topic string) (count int, err error) {
	counts, err := s.SubscribersOf(ctx, []string{topic})
	if err != nil {
		return 0, err
	}
	return counts[0], nil
}

// SubscribersOf is Subscribers for several topics, in their order. Each shard looks them
// all up at once: there should be some hundreds at most.
func (s *Server) SubscribersOf(ctx context.Context, topics []string) (counts []int, err error) {
	found := make([]int, len(s.shards)*len(topics))
	err = s.onEach(ctx, s.shards, func(h *shard) func(*shard) bool {
		return func(h *shard) bool {
			own := found[h.index*len(topics):]
			for i, topic := range topics {
				if t, ok := h.topics.find(topic); ok {
					own[i] = len(h.topics.slots(t))
				}
			}
			return false
		}
	})
	if err != nil {
		return nil, err
	}
	counts = make([]int, len(topics))
	for i, n := range found {
		counts[i%len(topics)] += n
	}
	return counts, nil
}

// Members returns the first open sessions behind a place that are subscribed to a
// topic, in the order of message.SID.Compare. more says that there may be others behind
// these. A session that is subscribed while all pages of a list are read is on exactly
// one of them.
func (s *Server) Members(ctx context.Context, topic string, after message.SID, limit int) (list []Member, more bool, err error) {
	for i, h := range s.shards {
		from := s.firstSlot(i, after)
		if from > uint64(^uint32(0)) {
			continue
		}
		if len(list) == limit {
			return list, true, nil
		}
		w := &memberWalk{topic: topic, cursor: uint32(from), left: limit - len(list)}
		if err := s.onEach(ctx, []*shard{h}, w.begin); err != nil {
			return nil, false, err
		}
		list = append(list, w.found...)
		if w.more {
			return list, true, nil
		}
	}
	return list, false, nil
}

// memberWalk finds members of a topic on one shard, in the order of their slots, from
// cursor on. The topic's own list is in another order, which changes when members
// leave. A short list is sorted at once; for a long one the sessions of the shard are
// visited, of which many are members.
type memberWalk struct {
	topic  string
	cursor uint32
	left   int // members that are still wanted
	found  []Member
	more   bool

	t     uint32
	token uint64 // of t: another topic may take its place
}

// sortedMembers is how many members of a topic are sorted at once: it takes about 0.2 ms.
const sortedMembers = 4096

func (w *memberWalk) begin(h *shard) (walk func(h *shard) (more bool)) {
	t, ok := h.topics.find(w.topic)
	if !ok {
		return func(*shard) bool { return false }
	}
	w.t, w.token = t, h.topics.token(t)
	if len(h.topics.slots(t)) > sortedMembers {
		return w.visit
	}
	slots := slices.DeleteFunc(slices.Clone(h.topics.slots(t)), func(slot uint32) bool { return slot < w.cursor || !h.isOpen(slot) })
	slices.Sort(slots)
	n := min(w.left, len(slots))
	w.more = n < len(slots)
	for _, slot := range slots[:n] {
		w.found = append(w.found, h.member(slot))
	}
	return func(*shard) bool { return false }
}

// visit looks at one session of the shard.
func (w *memberWalk) visit(h *shard) (more bool) {
	if !h.topics.all.Live(w.t) || h.topics.token(w.t) != w.token {
		return false // the last member has left
	}
	slot, ok := h.ps.Next(w.cursor)
	if !ok {
		return false
	}
	w.cursor = slot + 1
	if !h.isOpen(slot) {
		return true
	}
	if _, member := h.topics.member(h.rec(slot), w.t); !member {
		return true
	}
	if w.left == 0 {
		w.more = true
		return false
	}
	w.left--
	w.found = append(w.found, h.member(slot))
	return true
}

func (h *shard) member(slot uint32) Member {
	return Member{ID: h.session(slot), UID: string(h.users.uid(h.rec(slot)))}
}

// Topics returns the first topics of this node behind a name that begin with a prefix,
// in the order of their names. more says that there are others behind these. All topics
// of the node are looked at for each call.
func (s *Server) Topics(ctx context.Context, prefix, after string, limit int) (list []TopicCount, more bool, err error) {
	walks := make([]*topicWalk, len(s.shards))
	for i := range walks {
		walks[i] = &topicWalk{prefix: prefix, after: after, most: limit + 1}
	}
	err = s.onEach(ctx, s.shards, func(h *shard) func(*shard) bool { return walks[h.index].visit })
	if err != nil {
		return nil, false, err
	}
	sums := map[string]int{}
	for _, w := range walks {
		for _, t := range w.first {
			sums[t.Name] += t.Count
		}
	}
	for name, count := range sums {
		list = append(list, TopicCount{name, count})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	n := min(limit, len(list))
	return list[:n], n < len(list), nil
}

// topicWalk looks at the topics of one shard and keeps the first ones by name.
type topicWalk struct {
	prefix, after string
	most          int // to keep
	cursor        uint32
	first         topicHeap
}

// visit looks at one topic.
func (w *topicWalk) visit(h *shard) (more bool) {
	t, ok := h.topics.all.Next(w.cursor)
	if !ok {
		return false
	}
	w.cursor = t + 1
	name := view(h.topics.name(t))
	if !strings.HasPrefix(name, w.prefix) || name <= w.after {
		return true
	}
	n := len(h.topics.slots(t))
	switch {
	case n == 0: // it only has messages that are being sent
	case len(w.first) < w.most:
		heap.Push(&w.first, TopicCount{strings.Clone(name), n})
	case name < w.first[0].Name:
		w.first[0] = TopicCount{strings.Clone(name), n}
		heap.Fix(&w.first, 0)
	}
	return true
}

// topicHeap has the last name first.
type topicHeap []TopicCount

func (t topicHeap) Len() int           { return len(t) }
func (t topicHeap) Less(i, j int) bool { return t[i].Name > t[j].Name }
func (t topicHeap) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *topicHeap) Push(x any)        { *t = append(*t, x.(TopicCount)) }
func (t *topicHeap) Pop() (x any) {
	last := len(*t) - 1
	x, *t = (*t)[last], (*t)[:last]
	return x
}
