package session

import (
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"belfry/poller"
)

// check compares the shard's tables with the model.
func (m *machine) check() {
	m.checkTopics()
	m.checkSessions()
	m.checkUsers()
	m.checkUserVariants()
}

func (m *machine) checkTopics() {
	ts := &m.h.topics
	if ts.len() != len(m.topics) || ts.table.Len() != len(m.topics) || ts.names.Len() != len(m.topics) {
		m.fail("%d topics, %d in the table, %d names; want %d", ts.len(), ts.table.Len(), ts.names.Len(), len(m.topics))
		return
	}
	links := 0
	for name, model := range m.topics {
		t, ok := ts.find(name)
		if !ok {
			m.fail("topic %s is missing", name)
			return
		}
		at := ts.at(t)
		if ts.token(t) != model.token || at.ready != model.ready || int(at.queued) != model.queued {
			m.fail("topic %s: token %x ready %v queued %d; want %+v", name, ts.token(t), at.ready, at.queued, model)
		}
		if _, wanted := m.gate.wanted("", name); wanted != 1 {
			m.fail("topic %s is wanted %d times of the bus", name, wanted)
		}
		var want []uint32
		for _, a := range m.actors {
			if a.topics[name] {
				want = append(want, a.slot)
			}
		}
		got := slices.Clone(ts.slots(t))
		for pos, slot := range got {
			link, ok := m.h.topics.member(m.h.rec(slot), t)
			if !ok || int(ts.links.At(link).pos()) != pos {
				m.fail("topic %s: the member at %d does not know its place", name, pos)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			m.fail("topic %s has members %v, want %v", name, got, want)
		}
		links += len(want)
		if model.ready && len(ts.waiters[t]) > 0 {
			m.fail("topic %s is ready and %d wait for it", name, len(ts.waiters[t]))
		}
	}
	if ts.links.Len() != links {
		m.fail("%d memberships, want %d", ts.links.Len(), links)
	}
	for t := range ts.waiters {
		if !ts.all.Live(t) {
			m.fail("somebody waits for a topic that is gone")
		}
	}
}

func (m *machine) checkSessions() {
	for _, a := range m.actors {
		rec := m.h.rec(a.slot)
		open := rec.state == stateOpen || rec.state == stateJoin
		if open != (a.state != actorOut) || (rec.state == stateJoin) != (a.state == actorJoin) {
			m.fail("session %d is in state %d, want %d", a.slot, rec.state, a.state)
		}
		if in := rec.flags&flagSession != 0; in != open {
			m.fail("session %d: in the tables: %v", a.slot, in)
		}
		if pending := rec.flags&flagWaiting != 0; pending != (a.state == actorJoin) {
			m.fail("session %d: upgrade counted: %v", a.slot, pending)
		}
		if (rec.side != 0) != (a.state == actorJoin) {
			m.fail("session %d in state %d: upgrade %d", a.slot, a.state, rec.side)
		}
		n := 0
		for link := rec.topics; link != 0 && n <= modelTopics; n++ {
			link = m.h.topics.links.At(link - 1).next
		}
		if n != len(a.topics) || int(rec.count) != n {
			m.fail("session %d has %d memberships and counts %d, want %d", a.slot, n, rec.count, len(a.topics))
		}
	}
}

func (m *machine) checkUsers() {
	users := 0
	for i := range modelUsers {
		uid := op{User: i + 1}.uid()
		want := m.sessionsOf(uid)
		slices.Reverse(want) // the youngest first
		_, hash := m.h.srv.homeOf(uid)
		slot, ok := m.h.users.find(hash, []byte(uid))
		if ok != (len(want) > 0) {
			m.fail("user %s found: %v, want %d sessions", uid, ok, len(want))
			continue
		}
		if n, _ := m.gate.wanted(uid, ""); n != len(want) {
			m.fail("user %s is wanted %d times of the bus, want %d", uid, n, len(want))
		}
		newer := uint32(0)
		for i, a := range want {
			rec := m.h.rec(slot)
			if slot != a.slot || rec.newer != newer || (rec.older == 0) != (i == len(want)-1) {
				m.fail("user %s: session %d of %d is slot %d (newer %d, older %d), want %d", uid, i, len(want), slot, rec.newer, rec.older, a.slot)
				break
			}
			newer, slot = slot+1, rec.older-1
		}
		users += min(1, len(want))
	}
	if m.h.users.table.Len() != users || m.h.users.uids.Len() != users {
		m.fail("%d users, %d uids, want %d", m.h.users.table.Len(), m.h.users.uids.Len(), users)
	}
}

func (m *machine) checkUserVariants() {
	uv := &m.h.srv.perUser
	want := map[*atomic.Int32]int32{}
	for _, a := range m.actors {
		if a.uid != "" && a.state != actorOut {
			_, hash := m.h.srv.homeOf(a.uid)
			variant := uint8(0)
			if a.v1 {
				variant = 1
			}
			want[uv.of(hash, variant)]++
		}
	}
	for i := range uv.counts {
		if got := uv.counts[i].Load(); got != 0 {
			if want[&uv.counts[i]] != got {
				m.fail("%d sessions counted by user and variant, want %d", got, want[&uv.counts[i]])
			}
			delete(want, &uv.counts[i])
		}
	}
	if len(want) > 0 {
		m.fail("the sessions of %d users are not counted by variant", len(want))
	}
}

// finish makes the fan-out runs to their end, empties the tables and looks that
// nothing is left.
func (m *machine) finish() {
	for m.wrong == "" && m.step(1<<20) {
		m.sweep()
	}
	m.check()
	m.checkReceipts()
	for _, a := range m.actors {
		m.h.closer.unregister(a.slot, nil)
		m.h.rec(a.slot).state = stateHalfClosed
		m.h.upgrades.drop(m.h.rec(a.slot))
	}
	m.actors, m.topics = nil, nil
	m.check()
	if n := m.h.upgrades.index.Len(); n != 0 {
		m.fail("%d openings left", n)
	}
}

// testModel has random actions done by machines.
func testModel(t *testing.T, weights map[opKind]int) {
	g := newGate(false)
	r := newRig(t, Options{Poller: poller.Options{Shards: 1}, Interest: g, MaxTopics: modelMaxTopics, MaxPerUser: modelMaxPerUser})
	ops := genOps(weights)
	rapid.Check(t, func(rt *rapid.T) {
		list := ops.Draw(rt, "ops")
		m := &machine{gate: g, topics: map[string]*topicModel{}}
		g.reset()
		for _, o := range list {
			if o.Kind == doOpen {
				peer, slot := r.adopt(unix.SOCK_STREAM)
				m.idle = append(m.idle, &actor{peer: peer, slot: slot, topics: map[string]bool{}})
			}
		}
		all := slices.Clone(m.idle)
		r.on(0, func(h *shard) {
			m.h = h
			defer func() {
				if p := recover(); p != nil {
					m.fail("panic: %v", p)
				}
			}()
			for i, o := range list {
				m.do(o)
				if h.commands.wake(); m.wrong == "" {
					m.check()
				}
				if m.wrong != "" {
					m.wrong += " after action " + strconv.Itoa(i)
					return
				}
			}
			m.finish()
		})
		for _, a := range all {
			unix.Close(a.peer)
		}
		eventually(t, "connections gone", func() bool { return r.loop.Stats().Connections == 0 })
		if m.wrong != "" {
			r.on(0, fresh) // for the next try of rapid
			rt.Fatal(m.wrong)
		}
	})
}

// fresh gives a shard empty tables.
func fresh(h *shard) {
	h.users.close()
	h.topics.close()
	h.users, h.topics, h.fanout = users{}, topics{}, fanoutRuns{}
	h.srv.perUser = newUserVariants(len(h.srv.protocols.variants))
	h.users.init(&h.env, h)
	h.topics.init(&h.env, h, &h.fanout)
	h.fanout.init(&h.env, &h.topics, &h.latencies)
}

func TestTablesModel(t *testing.T) {
	testModel(t, map[opKind]int{doOpen: 4, doGone: 2, doEnd: 1, doSub: 4, doUnsub: 4, doReady: 4, doQueue: 2, doTopics: 1, doUsers: 1, doStep: 1})
}

func TestFanoutModel(t *testing.T) {
	testModel(t, map[opKind]int{doOpen: 4, doGone: 1, doEnd: 1, doSub: 3, doUnsub: 3, doReady: 3, doAll: 2, doQueue: 4, doTopics: 2, doUsers: 1, doStep: 4})
}
