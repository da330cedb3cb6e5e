package session

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"pgregory.net/rapid"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
)

// machine drives a real shard's methods and a simple model of what it should
// have side by side. All of it runs in one piece on the shard's goroutine, so
// that the fan-out run makes no step but the steps of the test.
type machine struct {
	h      *shard
	gate   *gate
	idle   []*actor // connections that have not been used
	actors []*actor // sessions, in the order in which they opened
	topics map[string]*topicModel
	sent   []*messageModel
	wrong  string // the first thing that was
}

// actor is a connection that becomes a session at most once.
type actor struct {
	slot     uint32
	peer     int
	sid      string
	uid      string
	topics   map[string]bool
	state    actorState
	userHeld uint64 // token of its JoinUser that the gate owes
	v1       bool
	got      []int // messages, by index in machine.sent
}

type actorState int

const (
	actorJoin actorState = iota // waits for the bus
	actorOpen
	actorOut
)

type topicModel struct {
	token  uint64
	ready  bool
	queued int
}

// messageModel is a message and who must and who may get it.
type messageModel struct {
	d      *Delivery
	target string // in which order holds
	scope  message.Scope
	names  []string
	done   bool
	must   map[*actor]map[string]bool // to the topics that it has held all the time
	may    map[*actor]bool
	not    *actor
}

// op is one action; what its numbers mean depends on its kind.
type op struct {
	Kind   opKind
	Who    int
	User   int
	Topics []int
	Flag   bool // join: the gate is closed; message: exclude somebody
	V1     bool
}

type opKind int

const (
	doOpen opKind = iota
	doGone
	doEnd
	doSub
	doUnsub
	doReady
	doAll
	doQueue
	doTopics
	doUsers
	doStep
)

const (
	modelTopics     = 5
	modelUsers      = 3
	modelCrowd      = 8 // sessions to begin with
	modelMaxTopics  = 4
	modelMaxPerUser = 3
)

// genOps draws actions, with the given weights by kind.
func genOps(weights map[opKind]int) *rapid.Generator[[]op] {
	var kinds []opKind
	for _, k := range slices.Sorted(maps.Keys(weights)) {
		for range weights[k] {
			kinds = append(kinds, k)
		}
	}
	// Seeds instead of numbers of rapid's own, which are too often small.
	return rapid.Custom(func(t *rapid.T) []op {
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		ops := make([]op, modelCrowd+rapid.IntRange(0, 150).Draw(t, "actions"))
		for i := range ops {
			ops[i] = op{
				Kind:   kinds[rnd.IntN(len(kinds))],
				Who:    rnd.IntN(1 << 10),
				User:   rnd.IntN(modelUsers + 1),
				Topics: make([]int, 1+rnd.IntN(3)),
				Flag:   rnd.IntN(4) == 0,
				V1:     rnd.IntN(2) == 0,
			}
			for j := range ops[i].Topics {
				ops[i].Topics[j] = rnd.IntN(modelTopics)
			}
			if i < modelCrowd {
				ops[i].Kind, ops[i].Flag = doOpen, false
			}
		}
		return ops
	})
}

func (o op) names() (names []string) {
	for _, n := range o.Topics {
		names = append(names, fmt.Sprintf("t%d", n))
	}
	return names
}

func (o op) uid() string {
	if o.User == 0 {
		return ""
	}
	return fmt.Sprintf("u%d", o.User)
}

func (m *machine) do(o op) {
	m.gate.set(o.Flag)
	switch o.Kind {
	case doOpen:
		m.open(o)
	case doGone, doEnd:
		m.leave(o)
	case doSub, doUnsub:
		m.command(o)
	case doReady:
		m.ready()
	case doAll:
		m.message(o, message.ToAll(), true)
	case doQueue:
		m.message(o, message.ToTopics(o.names()...), true)
	case doTopics:
		m.message(o, message.ToTopics(o.names()...), false)
	case doUsers:
		m.message(o, message.ToUsers("u1", "u2", "u1"), false)
	case doStep:
		m.step(1 + o.Who%4)
	}
	m.sweep()
}

// live returns the Who-th of the sessions in one of the states.
func (m *machine) live(o op, states ...actorState) *actor {
	var all []*actor
	for _, a := range m.actors {
		if slices.Contains(states, a.state) {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[o.Who%len(all)]
}

func (m *machine) open(o op) {
	if len(m.idle) == 0 {
		return
	}
	a := m.idle[0]
	m.idle = m.idle[1:]
	a.uid, a.v1, a.sid = o.uid(), o.V1, m.h.session(a.slot)
	names := o.names()
	slices.Sort(names)
	names = slices.Compact(names)
	op := &upgrade{grant: Grant{UID: a.uid, Topics: names}}
	if a.v1 {
		op.variant = 1
	}
	m.h.upgrader.register(a.slot, op)

	if same := m.sessionsOf(a.uid); a.uid != "" {
		for ; len(same) >= modelMaxPerUser; same = same[1:] {
			m.out(same[0])
		}
	}
	if a.uid != "" && o.Flag {
		a.userHeld = uint64(m.h.ps.ID(a.slot))
	}
	m.actors = append(m.actors, a)
	m.sweep() // topics of evicted sessions are gone
	for _, name := range names {
		m.join(a, name, !o.Flag)
	}
	m.opened()
	for _, msg := range m.sent {
		if !msg.done && msg.scope == message.ScopeAll {
			msg.may[a] = true
		}
	}
}

// sessionsOf returns a user's sessions, the oldest first.
func (m *machine) sessionsOf(uid string) (all []*actor) {
	for _, a := range m.actors {
		if a.uid == uid && a.state != actorOut {
			all = append(all, a)
		}
	}
	return all
}

func (m *machine) join(a *actor, name string, ready bool) {
	if a.topics[name] {
		return
	}
	if m.topics[name] == nil {
		t, ok := m.h.topics.find(name)
		if !ok {
			m.fail("topic %s is not there after a join", name)
			return
		}
		m.topics[name] = &topicModel{token: m.h.topics.token(t), ready: ready}
	}
	a.topics[name] = true
	for _, msg := range m.sent {
		if !msg.done && slices.Contains(msg.names, name) {
			msg.may[a] = true
		}
	}
}

// opened updates the state of the actors that wait for nothing any more.
func (m *machine) opened() {
	for _, a := range m.actors {
		ready := a.userHeld == 0
		for name := range a.topics {
			ready = ready && m.topics[name].ready
		}
		if a.state == actorJoin && ready {
			a.state = actorOpen
		}
	}
}

func (m *machine) leave(o op) {
	if o.Kind == doEnd {
		if a := m.live(o, actorOpen); a != nil {
			m.h.closer.end(a.slot, ReasonIdle, "")
			m.out(a)
		}
		return
	}
	if a := m.live(o, actorOpen, actorJoin); a != nil {
		m.h.OnClose(a.slot, poller.ReasonEOF, nil)
		m.h.rec(a.slot).state = stateHalfClosed // the poller would free the slot now
		m.out(a)
	}
}

func (m *machine) out(a *actor) {
	a.state = actorOut
	a.topics = map[string]bool{}
	for _, msg := range m.sent {
		if !msg.done {
			delete(msg.must, a)
		}
	}
}

func (m *machine) command(o op) {
	a := m.live(o, actorOpen)
	if a == nil {
		return
	}
	names := o.names()
	rec := m.h.rec(a.slot)
	if o.Kind == doUnsub {
		m.h.commands.run(a.slot, rec, &wire.Command{Op: wire.OpUnsub, Topics: names})
		for _, name := range names {
			delete(a.topics, name)
			for _, msg := range m.sent {
				if msg.done || msg.scope != message.ScopeTopics || msg.must[a] == nil {
					continue
				}
				if delete(msg.must[a], name); len(msg.must[a]) == 0 {
					delete(msg.must, a)
				}
			}
		}
		return
	}
	m.h.commands.run(a.slot, rec, &wire.Command{Op: wire.OpSub, Topics: names})
	all := maps.Clone(a.topics)
	for _, name := range names {
		all[name] = true
	}
	if len(all) > modelMaxTopics {
		return // all or nothing
	}
	for _, name := range names {
		m.join(a, name, !o.Flag)
	}
}

func (m *machine) ready() {
	held, ok := m.gate.take()
	if !ok {
		return
	}
	if held.uid != "" {
		m.h.OnMail(poller.Mail{Kind: mailUserReady, ID: held.token})
		for _, a := range m.actors {
			if a.userHeld == held.token {
				a.userHeld = 0
			}
		}
	} else {
		m.h.OnMail(poller.Mail{Kind: mailTopicReady, ID: held.token})
		if t := m.topics[held.topic]; t != nil && t.token == held.token {
			t.ready = true
		}
	}
	m.opened()
}

// sweep forgets topics without members and messages.
func (m *machine) sweep() {
	for name, t := range m.topics {
		used := t.queued > 0
		for _, a := range m.actors {
			used = used || a.topics[name]
		}
		if !used {
			delete(m.topics, name)
		}
	}
}

func (m *machine) fail(format string, args ...any) {
	if m.wrong == "" {
		m.wrong = fmt.Sprintf(format, args...)
	}
}
