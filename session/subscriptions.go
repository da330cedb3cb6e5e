package session

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"belfry/poller"
	"belfry/wire"
)

// Subscriptions decides about subscriptions that no pattern permits.
type Subscriptions interface {
	// MaySubscribe is asked when a client subscribes by command to a topic that
	// neither Options.Subscribe nor its grant permits. It is called on a shard's
	// goroutine and must not block. It calls later once, from another goroutine;
	// further calls do nothing. detail tells the client why it may not; "" is a text of
	// the server. It may keep c and topic.
	MaySubscribe(c *Client, topic string, later func(d Decision, detail string))
}

// Decision is what Subscriptions has decided about a topic.
type Decision uint8

const (
	Undecided Decision = iota // nothing: the client gets the error "undecided", which says that it may try again
	Denied                    // the error "forbidden"
	Permitted
)

// decisions are sub commands of a shard's sessions that wait for
// Options.Subscriptions, and how many wait at all. Owned by the shard.
type decisions struct {
	env
	clients  *clients
	answers  *answers
	renewals *renewals
	waiting  map[poller.ID][]*undecided // by session, in the order of the commands

	// How many sub commands of a session are not answered yet: they wait for decisions
	// or for the bus.
	unanswered map[poller.ID]int
}

// undecided is a sub command that waits for decisions. It is on the Go heap only
// while it waits.
type undecided struct {
	id     poller.ID // of the session
	ref    string
	topics []string // of the command, without those that were unsubscribed meanwhile
	asked  []string // topics that were asked for
	left   int      // decisions that are awaited
	denied string   // why the command is refused; "" if it is not
	open   string   // why it was not decided; "" if it was
}

// unpermitted returns the topics of a command that no pattern permits, each once. A
// topic of the grant that the session still has is left out: to subscribe to it again
// changes nothing.
func (cs *commands) unpermitted(rec *record, topics []string) (asked []string) {
	for _, topicName := range topics {
		if !cs.grants.maySubscribe(rec, topicName) && !cs.topics.granted(rec, topicName) && !slices.Contains(asked, topicName) {
			asked = append(asked, topicName)
		}
	}
	return asked
}

// ask has Options.Subscriptions decide about topics of a command.
func (ds *decisions) ask(slot uint32, rec *record, c *wire.Command, asked []string, then func(slot uint32, u *undecided)) {
	if ds.opt.Subscriptions == nil {
		ds.answers.fail(slot, c.Ref, "forbidden", "topics", fmt.Sprintf("%q is not open to you: no pattern of auth.subscribe, of your token or of auth.webhook permits it", asked[0]))
		return
	}
	if n := ds.srv.deciding.Add(int64(len(asked))); n > int64(ds.opt.MaxDeciding) {
		ds.srv.deciding.Add(-int64(len(asked)))
		ds.counters.limit(limitDeciding)
		ds.answers.fail(slot, c.Ref, "undecided", "topics", "too many subscriptions are being decided (session.max_deciding); try again")
		return
	}
	u := &undecided{id: ds.ps.ID(slot), ref: c.Ref, topics: slices.Clone(c.Topics), asked: asked, left: len(asked)}
	if ds.waiting == nil {
		ds.waiting = map[poller.ID][]*undecided{}
	}
	ds.waiting[u.id] = append(ds.waiting[u.id], u)
	ds.begin(slot)
	client, told := ds.clients.of(slot), 0
	defer func() { ds.srv.deciding.Add(int64(told - len(asked))) }() // not 0 after a panic
	for _, topicName := range asked {
		ds.askOne(client, topicName, func(d Decision, detail string) {
			ds.env.decided(func(*shard) { ds.decided(u, topicName, d, detail, then) })
		}, &told)
	}
}

// askOne asks about one topic, and counts the call in told.
func (ds *decisions) askOne(c *Client, topicName string, decided func(d Decision, detail string), told *int) {
	var once sync.Once
	returned := false
	*told++
	defer func() {
		if !returned {
			once.Do(func() { ds.srv.deciding.Add(-1) })
		}
	}()
	ds.opt.Subscriptions.MaySubscribe(c, topicName, func(d Decision, detail string) {
		once.Do(func() {
			ds.srv.deciding.Add(-1)
			decided(d, detail)
		})
	})
	returned = true
}

// post has the shard call f, and waits while its mailbox is full. Any goroutine but a
// shard's.
func (e *env) post(f func(*shard)) {
	for !e.ps.Post(poller.QueueControl, poller.Mail{Kind: mailCall, Ptr: f}) {
		select {
		case <-e.srv.done:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// decided takes the decision about a topic. After the last one, then is called if the
// session is still open and may subscribe. One topic that is denied refuses the command
// for good, whatever was not decided about the others.
func (ds *decisions) decided(u *undecided, topicName string, d Decision, detail string, then func(slot uint32, u *undecided)) {
	slot, live := ds.ps.Lookup(u.id)
	if !live || !slices.Contains(ds.waiting[u.id], u) {
		return
	}
	switch {
	case d == Permitted:
	case d == Denied && u.denied == "":
		u.denied = cmp.Or(detail, fmt.Sprintf("%q is not open to you", topicName))
	case d != Denied && u.open == "":
		u.open = cmp.Or(detail, fmt.Sprintf("whether %q is open to you could not be decided; try again", topicName))
	}
	if u.left--; u.left > 0 {
		return
	}
	ds.forget(u)
	ds.end(slot)
	rec := ds.rec(slot)
	switch {
	case rec.state != stateOpen:
	case u.denied != "":
		ds.answers.fail(slot, u.ref, "forbidden", "topics", u.denied)
	case u.open != "":
		ds.answers.fail(slot, u.ref, "undecided", "topics", u.open)
	default:
		ds.ps.Protect(u.id, func() { then(slot, u) })
	}
	ds.renewals.recheck(slot, rec)
}

func (ds *decisions) forget(u *undecided) {
	if rest := slices.DeleteFunc(ds.waiting[u.id], func(other *undecided) bool { return other == u }); len(rest) > 0 {
		ds.waiting[u.id] = rest
		return
	}
	if delete(ds.waiting, u.id); len(ds.waiting) == 0 {
		ds.waiting = nil
	}
}

// withdraw takes a topic off the commands that wait: the session has unsubscribed
// from it since.
func (ds *decisions) withdraw(slot uint32, topicName string) {
	if ds.waiting == nil {
		return
	}
	for _, u := range ds.waiting[ds.ps.ID(slot)] {
		u.topics = slices.DeleteFunc(u.topics, func(name string) bool { return name == topicName })
	}
}

// drop forgets the commands of a session that ends.
func (ds *decisions) drop(slot uint32) {
	if ds.unanswered != nil {
		ds.answered(ds.ps.ID(slot))
	}
	if ds.waiting == nil {
		return
	}
	if delete(ds.waiting, ds.ps.ID(slot)); len(ds.waiting) == 0 {
		ds.waiting = nil
	}
}

// begin counts a sub command that is not answered yet: it waits for a decision or for
// the bus.
func (ds *decisions) begin(slot uint32) {
	if ds.unanswered == nil {
		ds.unanswered = map[poller.ID]int{}
	}
	ds.unanswered[ds.ps.ID(slot)]++
}

// end counts a sub command less.
func (ds *decisions) end(slot uint32) {
	id := ds.ps.ID(slot)
	if n := ds.unanswered[id]; n > 1 {
		ds.unanswered[id] = n - 1
		return
	}
	ds.answered(id)
}

// pending returns how many sub commands of a session are not answered yet.
func (ds *decisions) pending(slot uint32) int {
	if ds.unanswered == nil {
		return 0
	}
	return ds.unanswered[ds.ps.ID(slot)]
}

func (ds *decisions) answered(id poller.ID) {
	if delete(ds.unanswered, id); len(ds.unanswered) == 0 {
		ds.unanswered = nil
	}
}
