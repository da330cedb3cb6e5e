package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"belfry/message"
)

// An upgrade is answered when the bus carries messages for the user and all
// topics, and not before; what comes behind the request waits.
func TestUpgradeWaitsForBus(t *testing.T) {
	g := newGate(true)
	r := newRig(t, Options{Interest: g})
	for _, uid := range r.uids() {
		g.set(true)
		w, _ := r.connect()
		w.Write(append(request("/ws?topic=a&topic=b&topic=a&uid="+uid, "belfry.v1"), pipelined()[len(request("/ws", "belfry.v1")):]...))
		eventually(t, "joined", func() bool { return g.count() == 3 })
		accepted := r.Stats().Upgrades[[2]string{"101", "none"}]
		for g.count() > 0 {
			r.deliver(message.ToUsers(uid), "too early")
			r.each(func(*shard) {}) // the shards have seen all there is
			if st := r.Stats(); st.Upgrades[[2]string{"101", "none"}] != accepted || st.Waiting != 1 || st.Deliveries != 0 {
				t.Fatalf("with %d to go: %v, %d pending, %d deliveries", g.count(), st.Upgrades, st.Waiting, st.Deliveries)
			}
			g.releaseOne()
		}
		w.wantPipelined(t, uid)
		w.Close()
		eventually(t, "gone", func() bool { return r.loop.Stats().Connections == 0 })
		if n := g.total(); n != 0 {
			t.Errorf("%d users and topics are still wanted", n)
		}
	}
}

// The bus does not answer in time, or the client does not wait for it.
func TestUpgradeGivesUpOnBus(t *testing.T) {
	for name, end := range map[string]func(r *rig, w *rawConn){
		"timeout": func(r *rig, w *rawConn) {
			r.tick(1)
			r.tick(1)
			if status, err := w.answer(); err != nil || status != 503 {
				t.Errorf("%d %v", status, err)
			}
		},
		"hangs up": func(*rig, *rawConn) {},
	} {
		g := newGate(true)
		r := newRig(t, Options{Interest: g, UpgradeTime: 2 * time.Second})
		w, _ := r.connect()
		w.Write(request("/ws?topic=a&uid=u", ""))
		eventually(t, "joined", func() bool { return g.count() == 2 })
		end(r, w)
		w.Close()
		eventually(t, "gone", func() bool { return r.loop.Stats().Connections == 0 })
		if users, topics := g.wanted("u", "a"); users+topics != 0 {
			t.Errorf("%s: user wanted %d times, topic %d", name, users, topics)
		}
		g.release() // no session waits for it any more
		next := r.mustWire("/ws?topic=a&uid=u", "")
		next.Close()
	}
}

// v1 opens a belfry.v1 session and reads its hello.
func (r *rig) v1(path string) *rawConn {
	r.t.Helper()
	w := r.mustWire(path, "belfry.v1")
	w.expect(r.t, `"hello"`)
	return w
}

// command sends one.
func (w *rawConn) command(format string, args ...any) {
	w.send(gobwas.OpText, fmt.Appendf(nil, format, args...))
}

// expect reads frames that have the given texts in them, in this order.
func (w *rawConn) expect(t *testing.T, texts ...string) {
	t.Helper()
	for _, want := range texts {
		if _, p, err := w.frame(); err != nil || !strings.Contains(string(p), want) {
			t.Fatalf("got %s %v, want %s", p, err, want)
		}
	}
}

func TestSubWaitsForBus(t *testing.T) {
	g := newGate(false)
	r := newRig(t, Options{Interest: g, Poller: onePoller()})
	w := r.v1("/ws")
	g.set(true)
	w.command(`{"type":"sub","ref":1,"topics":["a","b","a"]}`)
	for n := range 2 {
		w.command(`{"type":"ping","ref":"p%d"}`, n)
		w.expect(t, fmt.Sprintf(`"ref":"p%d"`, n)) // and not the answer to the sub
		g.releaseOne()
		r.each(func(*shard) {}) // has heard it
	}
	w.expect(t, `{"type":"ack","ref":1}`)
	r.deliver(message.ToTopics("a", "b"), "x")
	w.expect(t, `"data":"x"`)
	w.command(`{"type":"sub","ref":2,"topics":["b"]}`) // in force already
	w.expect(t, `{"type":"ack","ref":2}`)
}

// A topic is left while it is being subscribed to, and asked for again: what
// the bus says of the first time does not answer the second.
func TestUnsubWhileWaiting(t *testing.T) {
	g := newGate(true)
	r := newRig(t, Options{Interest: g, Poller: onePoller()})
	g.set(false)
	w := r.v1("/ws")
	g.set(true)
	w.command(`{"type":"sub","ref":1,"topic":"a"}`)
	w.command(`{"type":"unsub","ref":2,"topic":"a"}`)
	w.expect(t, `{"type":"ack","ref":1}`, `{"type":"ack","ref":2}`)
	if _, n := g.wanted("", "a"); n != 0 {
		t.Errorf("topic wanted %d times", n)
	}
	w.command(`{"type":"sub","ref":3,"topic":"a"}`)
	eventually(t, "joined twice", func() bool { return g.count() == 2 })
	g.releaseOne()
	r.each(func(*shard) {}) // has heard it
	w.command(`{"type":"ping","ref":4}`)
	w.expect(t, `"ref":4`)
	g.releaseOne()
	w.expect(t, `"ref":3`)
}

// Several sessions and several commands wait for the same topics at once; one
// leaves the topic and one leaves altogether.
func TestConcurrentSubs(t *testing.T) {
	g := newGate(false)
	r := newRig(t, Options{Interest: g, Poller: onePoller(), MaxTopics: 3})
	a, b, c := r.v1("/ws"), r.v1("/ws"), r.v1("/ws")
	g.set(true)
	a.command(`{"type":"sub","ref":1,"topics":["x"]}`)
	a.command(`{"type":"sub","ref":2,"topics":["y","x"]}`)
	a.command(`{"type":"sub","ref":3,"topics":["z"]}`)
	a.command(`{"type":"sub","ref":4,"topics":["z","x","y"]}`) // as many as there may be, and all of them wait
	a.command(`{"type":"sub","ref":5,"topics":["z","one-more"]}`)
	a.expect(t, `"err","ref":5,"code":"too_many_topics"`)
	b.command(`{"type":"sub","ref":1,"topic":"x"}`)
	b.command(`{"type":"unsub","ref":2,"topic":"x"}`) // which a holds on to
	b.expect(t, `"ref":2`)
	c.command(`{"type":"sub","ref":1,"topics":["x","y"]}`)
	eventually(t, "c has joined", func() (joined bool) {
		r.on(0, func(h *shard) { joined = h.topics.links.Len() == 5 })
		return joined
	})
	c.Close()
	eventually(t, "c gone", func() bool { return r.Stats().Sessions == 2 })
	if n := g.count(); n != 3 {
		t.Errorf("%d joins of three topics", n)
	}
	g.releaseOne() // x
	a.expect(t, `"ref":1`)
	b.expect(t, `"ref":1`)
	g.releaseOne() // y
	a.expect(t, `"ref":2`)
	g.releaseOne() // z
	a.expect(t, `"ref":3`, `"ref":4`)
	r.deliver(message.ToTopics("x", "y", "z"), "once")
	a.expect(t, "once")
	a.command(`{"type":"ping","ref":"end"}`)
	a.expect(t, "end")
	b.command(`{"type":"ping","ref":"end"}`)
	b.expect(t, "end")
}

// The components of a page subscribe one by one, at once: as many sub commands
// may wait as the session may have topics. Beyond that the same topics again
// and again are refused.
func TestSubsWaitingLimit(t *testing.T) {
	const most = 40
	g := newGate(false)
	r := newRig(t, Options{Interest: g, MaxTopics: most})
	w := r.v1("/ws?uid=u")
	g.set(true)
	for i := range most {
		w.command(`{"type":"sub","ref":%d,"topic":"t%d"}`, i, i)
	}
	w.command(`{"type":"sub","ref":%d,"topic":"t0"}`, most)
	w.expect(t, fmt.Sprintf(`"err","ref":%d,"code":"too_many_topics"`, most))
	g.release()
	for i := range most {
		w.expect(t, fmt.Sprintf(`{"type":"ack","ref":%d}`, i))
	}
	w.command(`{"type":"sub","ref":"again","topic":"t16"}`)
	w.expect(t, `{"type":"ack","ref":"again"}`)
	if n := r.Stats().Limits["session.max_topics"]; n != 1 {
		t.Errorf("limit hit %d times", n)
	}
}
