package session

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"belfry/message"
	"belfry/poller"
)

// A session that logs in takes the count of its address along: it counts once, and no
// more when it has ended.
func TestLoginKeepsItsAddress(t *testing.T) {
	w := newWallet(map[string]Grant{})
	r := walletRig(t, Options{MaxPerAddress: 3, Poller: poller.Options{Shards: 3}}, w)
	here := netip.MustParseAddr("127.0.0.1")
	for i := range 8 {
		uid := fmt.Sprint("user", i)
		w.set(uid, Grant{UID: uid})
		c := r.lines("/lp")
		c.want("thello   []")
		c.ask("auth 1 "+uid, "thello "+uid+" 1 []")
		if n := r.addresses.conns(here); n != 1 {
			t.Fatalf("%d connections are counted", n)
		}
		c.Close()
		eventually(t, "not counted any more", func() bool { return r.addresses.conns(here) == 0 })
	}
	r.nothingLeft()
	r.each(func(h *shard) {
		if n := h.remotes.all.Len(); n != 0 {
			t.Errorf("%d addresses are kept", n)
		}
	})
}

// departing begins a relocation of a session within its shard and calls f on it.
func departing(t *testing.T, f func(h *shard, slot uint32, rl *relocation)) (*rig, *gate) {
	g := newGate(false)
	w := newWallet(nil)
	r := walletRig(t, Options{Poller: onePoller(), Interest: g}, w)
	c := r.lines("/lp")
	c.want("thello   []")
	c.say(prefixedText, "auth 1 later")
	<-w.later
	met, err := r.onSession(context.Background(), w.told(-1).SID, func(h *shard, slot uint32) bool {
		rn := h.renewals.waiting[h.ps.ID(slot)]
		rl := &relocation{id: rn.id, from: h, to: h, renewal: rn, grant: Grant{UID: "ann"}, ready: make(chan struct{}, 1), canceled: make(chan struct{})}
		if text := h.arrivals.expect(rl); text != "" {
			t.Error(text)
		}
		f(h, slot, rl)
		return true
	})
	if !met || err != nil {
		t.Fatal(met, err)
	}
	return r, g
}

// notExpected waits until no shard expects a session.
func (r *rig) notExpected(t *testing.T, g *gate) {
	t.Helper()
	eventually(t, "not expected", func() bool {
		n := g.total()
		r.each(func(h *shard) { n += len(h.arrivals.expected) + len(h.departures.due) })
		return n == 0
	})
}

// The mark of a relocation that was given up moves nothing.
func TestMarkThatComesTooLate(t *testing.T) {
	r, g := departing(t, func(h *shard, slot uint32, rl *relocation) {
		h.departures.mark(rl) // the command of the session has no relocation, or another one
		if rec := h.rec(slot); rec.flags&flagLeaving != 0 || len(h.departures.due) != 0 {
			t.Error("the session leaves")
		}
	})
	r.notExpected(t, g)
}

// A relocation that is given up after its mark moves nothing, and the new shard does
// not expect the session any more.
func TestCancelAfterTheMark(t *testing.T) {
	r, g := departing(t, func(h *shard, slot uint32, rl *relocation) {
		rec := h.rec(slot)
		rl.renewal.move = rl
		h.departures.mark(rl)
		if rec.flags&flagLeaving == 0 || len(h.departures.due) != 1 {
			t.Error("the session does not leave")
		}
		h.departures.cancel(rec, rl)
		rl.renewal.move = nil
		if rec.flags&flagLeaving != 0 || len(h.departures.due) != 0 {
			t.Error("the session leaves although its command was given up")
		}
	})
	r.notExpected(t, g)
}

// Of the messages that came while a session moved it does not get its own, and none
// twice; if there were too many it ends, because some are missing.
func TestRecordedMessages(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller()})
	r.hello("/ws?topic=news")
	own := message.SID{Conn: 4711}
	recordedOf := func(exclude message.SID, without bool) recorded {
		d := r.prepared(message.ToTopics("news"))
		d.exclude, d.without = exclude, without
		d.left.Add(1)
		return recorded{d: d}
	}
	rl := &relocation{sid: own}
	rl.arrival.recorded = []recorded{recordedOf(own, true), recordedOf(message.SID{Conn: 1}, true), recordedOf(message.SID{}, false)}
	r.on(0, func(h *shard) {
		slot, _ := h.ps.Next(0)
		h.arrivals.open(slot, h.rec(slot), rl)
	})
	if n := r.Stats().Deliveries; n != 2 {
		t.Errorf("%d messages of two are delivered", n)
	}
	r.on(0, func(h *shard) {
		slot, _ := h.ps.Next(0)
		h.arrivals.open(slot, h.rec(slot), &relocation{sid: own, arrival: arrivalState{overflow: true}})
		if rec := h.rec(slot); rec.state == stateOpen || rec.reason != ReasonSlow {
			t.Errorf("its state is %v, its reason %v", rec.state, rec.reason)
		}
	})
	if n := r.Stats().Limits["backlog.frames"]; n != 1 {
		t.Errorf("the limit was hit %d times", n)
	}
}
