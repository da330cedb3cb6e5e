package session

import (
	"github.com/minio/highwayhash"

	"belfry/offheap"
	"belfry/poller"
)

// topics are the subscriptions of a shard's sessions. Each topic has a dense
// list of the slots of its members; each session a linked list of its
// memberships, which know their places in those lists.
type topics struct {
	table   *offheap.Table // by hash of the name: slot in topics
	all     *offheap.Records[topic]
	links   *offheap.Records[membership]
	names   *offheap.Strs
	members *offheap.Vecs
	gen     uint32
	waiters map[uint32][]waiter // by topic: who waits for the bus
	woken   []waiter            // who waits no longer, and is not told yet
}

// topic is one topic that somebody has subscribed to. No Go pointers.
type topic struct {
	name    offheap.Str
	hash    uint32
	gen     uint32 // tells it from its successors in the slot
	queued  uint32 // messages waiting for a pass that name it
	members offheap.Vec
	ready   bool // the bus carries it to this node
}

// membership is one session's subscription to one topic. No Go pointers.
type membership struct {
	topic uint32
	pos   uint32 // in the topic's members
	next  uint32 // the session's next membership + 1
}

// waiter is an upgrade, or a sub command, that waits for a topic.
type waiter struct {
	id  poller.ID
	sub *pendingSub // nil: the upgrade
}

// Most topics and memberships of a shard: address space, not memory. Fewer are
// reserved where the sessions of a node cannot have as many.
const (
	maxShardTopics = 1 << 20
	maxMemberships = 1 << 24
)

func (t *topics) init(o *Options) (err error) {
	memberships := min(maxMemberships, (o.MaxSessions+o.MaxPending)*o.MaxTopics)
	names := min(maxShardTopics, memberships)
	t.waiters = map[uint32][]waiter{}
	owner, subscriptions := o.Poller.Memory.Owner("topics"), o.Poller.Memory.Owner("subscriptions")
	t.table = offheap.NewTable(owner)
	if t.all, err = offheap.NewRecords[topic](owner, names); err != nil {
		return err
	}
	if t.links, err = offheap.NewRecords[membership](subscriptions, memberships); err != nil {
		return err
	}
	if t.names, err = offheap.NewStrs(owner, names); err != nil {
		return err
	}
	t.members, err = offheap.NewVecs(subscriptions, names, memberships)
	return err
}

func (t *topics) close() {
	t.table.Close()
	t.all.Close()
	t.links.Close()
	t.names.Close()
	t.members.Close()
}

func (t *topics) trim() {
	t.table.Trim()
	t.all.Trim()
	t.links.Trim()
	t.names.Trim()
	t.members.Trim()
}

func (t *topics) len() int                { return t.all.Len() }
func (t *topics) at(slot uint32) *topic   { return t.all.At(slot) }
func (t *topics) slots(n uint32) []uint32 { return t.members.Slice(&t.all.At(n).members) }

// token names a topic in what the bus is asked to call back with.
func (t *topics) token(slot uint32) uint64 { return uint64(t.at(slot).gen)<<32 | uint64(slot) }

func (h *shard) topicHash(name []byte) uint32 {
	return uint32(highwayhash.Sum64(name, h.opt.Key[:]))
}

// find returns the topic of that name.
func (t *topics) find(hash uint32, name []byte) (slot uint32, ok bool) {
	for p := t.table.Probe(hash); p.Next(); {
		if string(t.names.Get(t.at(p.Val()).name)) == string(name) {
			return p.Val(), true
		}
	}
	return 0, false
}

// create makes a topic without members.
func (t *topics) create(hash uint32, name string) (slot uint32, err error) {
	str, err := t.names.Put([]byte(name))
	if err != nil {
		return 0, err
	}
	slot, ok := t.all.Alloc()
	if !ok {
		t.names.Free(str)
		return 0, errNoRoom
	}
	if err := t.table.Insert(hash, slot); err != nil {
		t.names.Free(str)
		t.all.Free(slot)
		return 0, err
	}
	t.gen++
	at := t.at(slot)
	at.name, at.hash, at.gen = str, hash, t.gen
	return slot, nil
}

// await has a waiter told when the topic is ready.
func (t *topics) await(slot uint32, w waiter) { t.waiters[slot] = append(t.waiters[slot], w) }

// member returns the membership of a session in a topic.
func (h *shard) member(rec *record, t uint32) (link uint32, ok bool) {
	for n := rec.topics; n != 0; {
		m := h.topics.links.At(n - 1)
		if m.topic == t {
			return n - 1, true
		}
		n = m.next
	}
	return 0, false
}

// joinTopic subscribes a session. joined is false if it was subscribed before.
func (h *shard) joinTopic(slot uint32, rec *record, topicName string) (t uint32, joined bool, err error) {
	ts := &h.topics
	hash := h.topicHash([]byte(topicName))
	t, ok := ts.find(hash, []byte(topicName))
	if !ok {
		if t, err = h.createTopic(hash, topicName); err != nil {
			return 0, false, err
		}
	} else if _, in := h.member(rec, t); in {
		return t, false, nil
	}
	at := ts.at(t)
	link, ok := ts.links.Alloc()
	if !ok {
		h.dropTopic(t)
		return 0, false, errNoRoom
	}
	if err := ts.members.Append(&at.members, slot); err != nil {
		ts.links.Free(link)
		h.dropTopic(t)
		return 0, false, err
	}
	*ts.links.At(link) = membership{topic: t, pos: uint32(at.members.Len() - 1), next: rec.topics}
	rec.topics = link + 1
	rec.count++
	return t, true, nil
}

// createTopic makes a topic and tells the bus. If that panics nothing is left
// of it.
func (h *shard) createTopic(hash uint32, topicName string) (t uint32, err error) {
	ts := &h.topics
	if t, err = ts.create(hash, topicName); err != nil {
		return 0, err
	}
	told := false
	defer func() {
		if !told {
			ts.remove(t)
		}
	}()
	at := ts.at(t)
	at.ready = h.opt.Interest.JoinTopic(ts.names.Get(at.name), h, ts.token(t))
	told = true
	return t, nil
}

// leaveTopic takes a subscription back. It returns false if there is none.
func (h *shard) leaveTopic(rec *record, t uint32) bool {
	for from := &rec.topics; *from != 0; {
		link := *from - 1
		m := h.topics.links.At(link)
		if m.topic != t {
			from = &m.next
			continue
		}
		*from = m.next
		h.unlink(t, m.pos)
		h.topics.links.Free(link)
		rec.count--
		return true
	}
	return false
}

func (h *shard) leaveTopics(slot uint32, rec *record) {
	for rec.topics != 0 {
		link := rec.topics - 1
		m := *h.topics.links.At(link)
		rec.topics = m.next
		h.unlink(m.topic, m.pos)
		h.topics.links.Free(link)
	}
	rec.count = 0
}

// unlink takes the member at pos out of a topic's list by putting the last in
// its place. A pass that is going through the list must neither miss that one
// nor see it twice: the places before its cursor are done, so one of those is
// moved up to pos first, and the last goes to the border.
func (h *shard) unlink(t, pos uint32) {
	at := h.topics.at(t)
	if border := h.fanout.visited(t); pos < border {
		h.fanout.stepBack()
		if pos != border-1 {
			h.place(t, pos, h.topics.members.Get(&at.members, int(border-1)))
			pos = border - 1
		}
	}
	if moved, ok := h.topics.members.SwapRemove(&at.members, int(pos)); ok {
		h.moved(t, moved, pos)
	}
	h.dropTopic(t)
}

// place puts a member at another position of the list.
func (h *shard) place(t, pos, member uint32) {
	h.topics.members.Set(&h.topics.at(t).members, int(pos), member)
	h.moved(t, member, pos)
}

func (h *shard) moved(t, member, pos uint32) {
	if link, ok := h.member(h.rec(member), t); ok {
		h.topics.links.At(link).pos = pos
	}
}

// dropTopic forgets a topic that nobody needs.
func (h *shard) dropTopic(t uint32) {
	ts := &h.topics
	at := ts.at(t)
	if at.members.Len() > 0 || at.queued > 0 {
		return
	}
	h.opt.Interest.LeaveTopic(ts.names.Get(at.name))
	ts.remove(t)
}

// topicReady hears from the bus that it carries a topic to this node.
func (h *shard) topicReady(token uint64) {
	ts := &h.topics
	t := uint32(token)
	if !ts.all.Live(t) || ts.token(t) != token {
		return
	}
	ts.at(t).ready = true
	ts.wake(t)
}

// remove frees what a topic without members has.
func (t *topics) remove(slot uint32) {
	at := t.at(slot)
	t.table.Delete(at.hash, slot)
	t.names.Free(at.name)
	t.members.Free(&at.members)
	t.all.Free(slot)
	t.wake(slot) // sub commands whose sessions have left again
}

// wake has all that wait for a topic told that they wait no longer: when
// nothing else is under way, since whoever is told may change the tables.
func (t *topics) wake(topic uint32) {
	t.woken = append(t.woken, t.waiters[topic]...)
	delete(t.waiters, topic)
}

// wakeWaiters tells those who wait no longer.
func (h *shard) wakeWaiters() {
	ts := &h.topics
	for len(ts.woken) > 0 {
		w := ts.woken[0]
		ts.woken = ts.woken[1:] // first: a panic must not come again
		slot, ok := h.ps.Lookup(w.id)
		switch {
		case !ok:
		case w.sub != nil:
			h.subscribed(slot, w.sub)
		default:
			h.ready(slot)
		}
	}
	ts.woken = nil
}
