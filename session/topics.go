package session

import (
	"github.com/minio/highwayhash"

	"belfry/offheap"
	"belfry/poller"
)

// topics are the subscriptions of a shard's sessions. Each topic has a dense
// list of the slots of its members. Each session has a linked list of its
// memberships, and each membership knows its place in the topic's list. Owned
// by the shard.
type topics struct {
	records
	key      *[32]byte   // of the hashes
	interest Interest    // told of topics that got their first member or lost their last
	waiter   Waiter      // called by interest when a topic is ready
	run      *fanoutRuns // whose place in a topic's list must stay right
	watch    *watch      // told of subscriptions; nil: nobody wants to know of them

	table   *offheap.Table // by hash of the name: index in all
	all     *offheap.Records[topic]
	links   *offheap.Records[membership]
	names   *offheap.Strs
	members *offheap.Vecs
	gen     uint32
	keeps   bool                // topics without members stay: another process has them (giving)
	waiters map[uint32][]waiter // by topic: who waits for the bus
	woken   []waiter            // those that wait no longer and were not told yet
}

// topic is one topic with members, or with queued messages. No Go pointers.
type topic struct {
	name    offheap.Str
	hash    uint32
	gen     uint32 // tells it from its successors in the slot
	queued  uint32 // messages for it that wait for a fan-out run or are in one
	members offheap.Vec
	ready   bool // the bus carries it to this node
}

// membership is one session's subscription to one topic. No Go pointers.
type membership struct {
	topic uint32
	place uint32 // the position in the topic's members, and above it the permit
	next  uint32 // the session's next membership + 1
}

// permit says what permits a membership, the strongest last.
type permit uint32

const (
	permitPattern permit = iota // a pattern
	permitDecided               // Options.Subscriptions
	permitGranted               // Grant.Topics
)

const permitShift = 30 // of membership.place; below it is room for 2^30 members

func (m *membership) pos() uint32       { return m.place & (1<<permitShift - 1) }
func (m *membership) permit() permit    { return permit(m.place >> permitShift) }
func (m *membership) moveTo(pos uint32) { m.place = uint32(m.permit())<<permitShift | pos }

// permitBy says what permits the membership of a session in a topic. A weaker permit
// than the last one changes nothing.
func (ts *topics) permitBy(rec *record, t uint32, by permit) {
	if link, ok := ts.member(rec, t); ok {
		if m := ts.links.At(link); by > m.permit() {
			m.place = uint32(by)<<permitShift | m.pos()
		}
	}
}

// granted returns whether a session is subscribed to a topic by Grant.Topics.
func (ts *topics) granted(rec *record, name string) bool {
	t, ok := ts.find(name)
	if !ok {
		return false
	}
	link, ok := ts.member(rec, t)
	return ok && ts.links.At(link).permit() == permitGranted
}

// waiter is an upgrade, or a sub command, that waits for a topic.
type waiter struct {
	id  poller.ID
	sub *pendingSub // nil: the upgrade
}

// The most topics and memberships of a shard. They cost address space, not
// memory. Fewer are reserved where the sessions of a node cannot have as many.
const (
	maxShardTopics = 1 << 20
	maxMemberships = 1 << 24
)

func (ts *topics) init(e *env, w Waiter, run *fanoutRuns) (err error) {
	o := e.opt
	ts.records, ts.key, ts.interest, ts.waiter, ts.run = e.records, &o.Key, o.Interest, w, run
	memberships := min(maxMemberships, (o.MaxSessions+o.MaxPending)*o.MaxTopics)
	names := min(maxShardTopics, memberships)
	ts.waiters = map[uint32][]waiter{}
	owner, subscriptions := o.Poller.Memory.Owner("topics"), o.Poller.Memory.Owner("subscriptions")
	ts.table = offheap.NewTable(owner)
	if ts.all, err = offheap.NewRecords[topic](owner, names); err != nil {
		return err
	}
	if ts.links, err = offheap.NewRecords[membership](subscriptions, memberships); err != nil {
		return err
	}
	if ts.names, err = offheap.NewStrs(owner, names); err != nil {
		return err
	}
	ts.members, err = offheap.NewVecs(subscriptions, names, memberships)
	return err
}

func (ts *topics) close() {
	ts.table.Close()
	ts.all.Close()
	ts.links.Close()
	ts.names.Close()
	ts.members.Close()
}

// trim gives memory back that is not used any more.
func (ts *topics) trim() {
	ts.table.Trim()
	ts.all.Trim()
	ts.links.Trim()
	ts.names.Trim()
	ts.members.Trim()
}

func (ts *topics) len() int             { return ts.all.Len() }
func (ts *topics) at(t uint32) *topic   { return ts.all.At(t) }
func (ts *topics) name(t uint32) []byte { return ts.names.Get(ts.at(t).name) }

// slots returns the members of a topic, valid until one joins or leaves.
func (ts *topics) slots(t uint32) []uint32 { return ts.members.Slice(&ts.all.At(t).members) }

// token returns the number with which the bus calls back about a topic.
func (ts *topics) token(t uint32) uint64 { return uint64(ts.at(t).gen)<<32 | uint64(t) }

func (ts *topics) hashOf(name []byte) uint32 {
	return uint32(highwayhash.Sum64(name, ts.key[:]))
}

// find returns the topic of that name.
func (ts *topics) find(name string) (t uint32, ok bool) {
	return ts.findHashed(ts.hashOf([]byte(name)), name)
}

func (ts *topics) findHashed(hash uint32, name string) (t uint32, ok bool) {
	for p := ts.table.Probe(hash); p.Next(); {
		if string(ts.name(p.Val())) == name {
			return p.Val(), true
		}
	}
	return 0, false
}

// has says whether a session is subscribed to the topic of that name.
func (ts *topics) has(rec *record, name string) bool {
	t, ok := ts.find(name)
	if ok {
		_, ok = ts.member(rec, t)
	}
	return ok
}

// member returns the membership of a session in a topic.
func (ts *topics) member(rec *record, t uint32) (link uint32, ok bool) {
	for n := rec.topics; n != 0; {
		m := ts.links.At(n - 1)
		if m.topic == t {
			return n - 1, true
		}
		n = m.next
	}
	return 0, false
}

// join subscribes a session. joined is false if it was subscribed before.
func (ts *topics) join(slot uint32, rec *record, name string) (t uint32, joined bool, err error) {
	hash := ts.hashOf([]byte(name))
	t, ok := ts.findHashed(hash, name)
	if !ok {
		if t, err = ts.create(hash, name); err != nil {
			return 0, false, err
		}
	} else if _, in := ts.member(rec, t); in {
		return t, false, nil
	}
	at := ts.at(t)
	link, ok := ts.links.Alloc()
	if !ok {
		ts.drop(t)
		return 0, false, errNoRoom
	}
	if err := ts.members.Append(&at.members, slot); err != nil {
		ts.links.Free(link)
		ts.drop(t)
		return 0, false, err
	}
	*ts.links.At(link) = membership{topic: t, place: uint32(at.members.Len() - 1), next: rec.topics}
	rec.topics = link + 1
	rec.count++
	if ts.watch != nil {
		ts.watch.joined(slot, rec, name)
	}
	return t, true, nil
}

// create makes a topic without members and tells the bus. If the bus panics,
// nothing is left of the topic.
func (ts *topics) create(hash uint32, name string) (t uint32, err error) {
	if t, err = ts.insert(hash, name); err != nil {
		return 0, err
	}
	told := false
	defer func() {
		if !told {
			ts.remove(t)
		}
	}()
	ts.at(t).ready = ts.interest.JoinTopic(ts.name(t), ts.waiter, ts.token(t))
	told = true
	return t, nil
}

func (ts *topics) insert(hash uint32, name string) (t uint32, err error) {
	str, err := ts.names.Put([]byte(name))
	if err != nil {
		return 0, err
	}
	t, ok := ts.all.Alloc()
	if !ok {
		ts.names.Free(str)
		return 0, errNoRoom
	}
	if err := ts.table.Insert(hash, t); err != nil {
		ts.names.Free(str)
		ts.all.Free(t)
		return 0, err
	}
	ts.gen++
	at := ts.at(t)
	at.name, at.hash, at.gen = str, hash, ts.gen
	return t, nil
}

// leave ends a subscription. Nothing changes if the session has none to the
// topic.
func (ts *topics) leave(rec *record, t uint32) {
	for from := &rec.topics; *from != 0; {
		link := *from - 1
		m := ts.links.At(link)
		if m.topic != t {
			from = &m.next
			continue
		}
		*from = m.next
		if ts.watch != nil {
			ts.watch.left(ts.members.Get(&ts.at(t).members, int(m.pos())), rec, ts.name(t))
		}
		ts.unlink(t, m.pos())
		ts.links.Free(link)
		rec.count--
		return
	}
}

// leaveAll ends all subscriptions of a session.
func (ts *topics) leaveAll(rec *record) {
	for rec.topics != 0 {
		link := rec.topics - 1
		m := *ts.links.At(link)
		rec.topics = m.next
		ts.unlink(m.topic, m.pos())
		ts.links.Free(link)
	}
	rec.count = 0
}

// leaveNewest ends the newest subscriptions of a session until keep are left.
func (ts *topics) leaveNewest(rec *record, keep uint16) {
	for rec.count > keep {
		ts.leave(rec, ts.links.At(rec.topics-1).topic)
	}
}

// unlink takes the member at pos out of a topic's list by putting the last one
// in its place. A fan-out run that walks the list must neither miss that member
// nor visit it twice. It has visited the places before its cursor. So if pos is
// one of these, the member just before the cursor moves to pos, and the last one
// to the place that this leaves.
func (ts *topics) unlink(t, pos uint32) {
	at := ts.at(t)
	if border := ts.run.visited(t); pos < border {
		ts.run.stepBack()
		if pos != border-1 {
			ts.place(t, pos, ts.members.Get(&at.members, int(border-1)))
			pos = border - 1
		}
	}
	if moved, ok := ts.members.SwapRemove(&at.members, int(pos)); ok {
		ts.moved(t, moved, pos)
	}
	ts.drop(t)
}

// place puts a member at another position of the list.
func (ts *topics) place(t, pos, member uint32) {
	ts.members.Set(&ts.at(t).members, int(pos), member)
	ts.moved(t, member, pos)
}

// moved tells a membership its new position.
func (ts *topics) moved(t, member, pos uint32) {
	if link, ok := ts.member(ts.rec(member), t); ok {
		ts.links.At(link).moveTo(pos)
	}
}

// drop forgets a topic that has neither members nor queued messages, and tells
// the bus.
func (ts *topics) drop(t uint32) {
	if at := ts.at(t); at.members.Len() > 0 || at.queued > 0 || ts.keeps {
		return
	}
	ts.interest.LeaveTopic(ts.name(t))
	ts.remove(t)
}

// sweep forgets the topics that stayed without members.
func (ts *topics) sweep() {
	for t, ok := ts.all.Next(0); ok; t, ok = ts.all.Next(t + 1) {
		ts.drop(t)
	}
}

// remove frees what a topic without members holds.
func (ts *topics) remove(t uint32) {
	at := ts.at(t)
	ts.table.Delete(at.hash, t)
	ts.names.Free(at.name)
	ts.members.Free(&at.members)
	ts.all.Free(t)
	ts.wake(t) // sub commands whose sessions have left again
}

// await has w told when the topic is ready.
func (ts *topics) await(t uint32, w waiter) { ts.waiters[t] = append(ts.waiters[t], w) }

// ready is called when the bus carries a topic to this node. A token of a topic
// that is gone is ignored.
func (ts *topics) ready(token uint64) {
	t := uint32(token)
	if !ts.all.Live(t) || ts.token(t) != token {
		return
	}
	ts.at(t).ready = true
	ts.wake(t)
}

// wake queues all that wait for a topic for takeWoken. They are not told at
// once, because what they do may change the tables that the caller is using.
func (ts *topics) wake(t uint32) {
	ts.woken = append(ts.woken, ts.waiters[t]...)
	delete(ts.waiters, t)
}

// takeWoken returns the next waiter that waits no longer and has to be told.
func (ts *topics) takeWoken() (w waiter, ok bool) {
	if len(ts.woken) == 0 {
		ts.woken = nil
		return w, false
	}
	w, ts.woken = ts.woken[0], ts.woken[1:]
	return w, true
}
