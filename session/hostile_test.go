package session

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"belfry/message"
	"belfry/poller"
)

// What one client has sent does not keep others waiting until all of it is
// done: decoding stops when its time is over, and goes on in later turns.
func TestFloodIsDecodedInPieces(t *testing.T) {
	r := newRig(t, Options{Poller: poller.Options{Shards: 1, Chunk: time.Nanosecond}})
	w := r.v1("/ws")
	flood := repeated(1500, gobwas.OpText, `{"type":"ping"}`)
	each := len(flood) / 1500
	r.on(0, func(h *shard) {
		slot, _ := h.ps.Next(0)
		if used := h.OnData(slot, bytes.Clone(flood[:each*500])); used < each || used > framesPerCheck*each {
			t.Errorf("%d bytes of commands of %d decoded in one piece", used, each)
		}
	})
	for range framesPerCheck - 1 {
		w.expect(t, `"ack"`)
	}
	w.Write(flood)
	for range 1500 {
		w.expect(t, `"ack"`)
	}
}

// A push to a user with very many sessions is sent in chunks, as one to a
// topic is, and pushes to one user keep their order.
func TestUserFanoutIsChunked(t *testing.T) {
	const sessions = 500
	r := newRig(t, Options{Poller: poller.Options{Shards: 1, Chunk: time.Nanosecond}})
	var crowd []*rawConn
	for range sessions {
		crowd = append(crowd, r.mustWire("/ws?uid=u", ""))
	}
	witness := r.mustWire("/ws?uid=witness", "")
	release := r.block(0)
	r.deliver(message.ToUsers("u"), "1")
	r.deliver(message.ToUsers("u", "witness"), "2")
	r.deliver(message.ToUsers("witness"), "3")
	var before uint64
	var waiting, named int
	r.shards[0].ps.Post(poller.QueueSingle, poller.Mail{Kind: mailCall, Ptr: func(h *shard) {
		before, waiting, named = h.counters.deliveries.Load(), len(h.fanout.waiting), len(h.fanout.users)
	}})
	release()
	for i, w := range append(crowd, witness) {
		for _, want := range []string{"1", "2", "3"} {
			if i < sessions && want == "3" || i == sessions && want == "1" {
				continue
			}
			if _, p, err := w.frame(); err != nil || string(p) != want {
				t.Fatalf("session %d: %q, %v; want %q", i, p, err, want)
			}
		}
	}
	r.on(0, func(*shard) {}) // what follows was written there
	if before != 0 || waiting != 3 || named != 2 {
		t.Errorf("%d sends in one piece; %d messages to %d users wait", before, waiting, named)
	}
	eventually(t, "places and bytes given back", func() bool { return r.mailBytes.Load() == 0 })
	r.on(0, func(h *shard) {
		if len(h.fanout.users) != 0 {
			t.Errorf("%d users are still waited for", len(h.fanout.users))
		}
	})
	testSharedList(t, r, crowd)
}

// testSharedList sees that messages to the same users that wait share one list of
// sessions, and one fan-out run.
func testSharedList(t *testing.T, r *rig, crowd []*rawConn) {
	release := r.block(0)
	for i := range 10 {
		r.deliver(message.ToUsers("u"), fmt.Sprint(i))
	}
	runs, shared := r.Stats().FanoutRuns, false
	r.shards[0].ps.Post(poller.QueueSingle, poller.Mail{Kind: mailCall, Ptr: func(h *shard) {
		first, last := h.fanout.waiting[0].ids, h.fanout.waiting[9].ids
		shared = &first[0] == &last[0]
	}})
	release()
	for _, w := range crowd {
		for i := range 10 {
			if _, p, err := w.frame(); err != nil || string(p) != fmt.Sprint(i) {
				t.Fatalf("%q, %v; want %d", p, err, i)
			}
		}
	}
	r.on(0, func(*shard) {})
	if n := r.Stats().FanoutRuns - runs; n != 1 || !shared {
		t.Errorf("%d fan-out runs for ten messages to the same sessions; list shared: %v", n, shared)
	}
}

// What waits for a shard is bounded in bytes, not only in number.
func TestMailboxBytes(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), MailboxBytes: 100 << 10})
	w := r.mustWire("/ws?uid=u", "")
	release := r.block(0)
	accepted := 0
	var err error
	for ; err == nil && accepted < 100; accepted++ {
		err = r.push(&message.Message{Target: message.ToUsers("u"), Payload: []byte(strings.Repeat("x", 10<<10))})
	}
	accepted--
	if err == nil || !strings.Contains(err.Error(), "fanout.mailbox_bytes") || accepted < 4 || accepted > 5 {
		t.Errorf("%d messages of 10 KiB, each encoded once, in 100 KiB: %v", accepted, err)
	}
	if n := r.Stats().Limits["fanout.mailbox_bytes"]; n != 1 {
		t.Errorf("limit counted %d times", n)
	}
	release()
	for range accepted {
		if _, _, err := w.frame(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "bytes given back", func() bool { return r.mailBytes.Load() == 0 })
	// One that is larger than the bound goes alone.
	if err := r.push(&message.Message{Target: message.ToAll(), Payload: make([]byte, 200<<10), Kind: message.Binary}); err != nil {
		t.Error(err)
	}
}

// Clients that ping and do not read cost a few bytes each, take no room from
// innocent slow readers, and are closed although they go on pinging.
func TestPingsWithoutReading(t *testing.T) {
	const attackers, budget = 20, 64 << 10
	r := newRig(t, Options{BacklogTime: 5 * time.Second, PingInterval: 2 * time.Second, PongTimeout: time.Minute,
		Poller: poller.Options{Shards: 1, NodeBytes: budget}})
	var all []*rawConn
	pings := repeated(100, gobwas.OpPing, strings.Repeat("p", 125))
	stuck := func() (n int) { return r.loop.Stats().Backlogged }
	for i := range attackers {
		w := r.slowWire("/ws", "")
		all = append(all, w)
		for n := 0; stuck() <= i; n++ {
			if n > 1000 {
				t.Fatal("no backlog")
			}
			w.Write(pings)
		}
	}
	for _, w := range all {
		for range 20 {
			w.Write(pings)
		}
	}
	if n := r.loop.Stats().BacklogBytes; n > attackers*(16*127+2*127) {
		t.Errorf("%d bytes wait for %d clients that only ping", n, attackers)
	}
	innocent := r.mustWire("/ws?uid=innocent", "")
	r.deliver(message.ToUsers("innocent"), "x")
	if _, p, err := innocent.frame(); err != nil || string(p) != "x" {
		t.Error(string(p), err)
	}
	for range 12 {
		r.tick(1)
		for _, w := range all {
			w.Write(pings) // fails once it is closed
		}
		innocent.send(gobwas.OpPong, nil)
	}
	eventually(t, "attackers closed", func() bool { return r.Stats().Closed["slow_consumer"] == attackers })
	if st := r.Stats(); st.Sessions != 1 || st.Limits["backlog.timeout"] != attackers || st.Closed["node_backlog"] != 0 {
		t.Errorf("%d sessions, limits %v, closed %v", st.Sessions, st.Limits, st.Closed)
	}
}

// A ping in the same read as a close or a violation is answered first
// (RFC 6455 §5.5.2), and of very many in one read the newest.
func TestPingBeforeTheEnd(t *testing.T) {
	r := newRig(t, Options{})
	ping := masked(gobwas.OpPing, true, []byte("last"))
	for name, c := range map[string]struct {
		after []byte
		code  uint16
	}{
		"close":     {masked(gobwas.OpClose, true, []byte{3, 232}), 1000},
		"violation": {masked(gobwas.OpContinuation, true, nil), 1002},
		"not UTF-8": {masked(gobwas.OpText, true, []byte{0xff}), 1007},
	} {
		w := r.mustWire("/ws", "")
		w.Write(append(append([]byte(nil), ping...), c.after...))
		op, p, err := w.frame()
		if err != nil || op != gobwas.OpPong || string(p) != "last" {
			t.Errorf("%s: %v %q %v; want a pong first", name, op, p, err)
		}
		if _, code, _, err := w.end(); err != nil || code != c.code {
			t.Errorf("%s: %d %v", name, code, err)
		}
	}
	w := r.mustWire("/ws", "")
	var many []byte
	for i := range 100 {
		many = append(many, masked(gobwas.OpPing, true, fmt.Append(nil, i))...)
	}
	w.Write(many)
	for got := ""; got != "99"; {
		op, p, err := w.frame()
		if err != nil || op != gobwas.OpPong {
			t.Fatal(op, err)
		}
		got = string(p)
	}
}

// A session whose answer finds its backlog full while it leaves a topic is
// left once: the count of its topics stays right.
func TestLeaveWithinLeave(t *testing.T) {
	g := newGate(true)
	r := newRig(t, Options{Interest: g, Poller: poller.Options{Shards: 1, Backlog: poller.Bounds{Frames: 1, Bytes: 4 << 10}}})
	g.set(false)
	w := r.slowWire("/ws?uid=u", "belfry.v1")
	g.set(true)
	w.command(`{"type":"sub","topics":["a","b","c"]}`)
	eventually(t, "joined", func() bool { return g.count() == 3 })
	for n := 0; r.loop.Stats().Backlogged == 0 && n < 1000; n++ {
		r.deliver(message.ToUsers("u"), strings.Repeat("x", 2<<10))
	}
	w.command(`{"type":"unsub","topics":["a","b","c"]}`)
	eventually(t, "left", func() (left bool) {
		r.on(0, func(h *shard) { left = h.topics.len() == 0 && h.topics.links.Len() == 0 })
		return left
	})
	r.on(0, func(h *shard) {
		for slot, ok := h.ps.Next(0); ok; slot, ok = h.ps.Next(slot + 1) {
			if rec := h.rec(slot); rec.count != 0 || rec.topics != 0 {
				t.Errorf("%d topics counted, first %d", rec.count, rec.topics)
			}
		}
	})
}

// What clients publish takes a part of the room for messages only, and its
// answers one place for all: pushes of backends find theirs.
func TestPubsLeaveRoom(t *testing.T) {
	const places = 64
	var srv atomic.Pointer[rig]
	r := newRig(t, Options{Poller: poller.Options{Shards: 2, Mailbox: places},
		Publish: func(m *message.Message, w message.Wait) error { return srv.Load().pushWithin(m, w) }})
	srv.Store(r)
	var w *rawConn
	home := -1
	for i := 0; home != 1; i++ { // a client of shard 1
		uid := fmt.Sprint("u", i)
		if home, _ = r.homeOf(uid); home == 1 {
			w = r.v1("/ws?uid=" + uid)
		}
	}
	release := r.block(0)
	for i := range places {
		w.command(`{"type":"pub","ref":%d,"to":{"all":true},"data":"x"}`, i)
	}
	ahead := func() float64 { return r.shards[0].ps.Fill(poller.QueueBulk) }
	eventually(t, "some of it waits", func() bool { return ahead() > 1.0/clientShare })
	for i := range places / 2 {
		if err := r.push(&message.Message{Target: message.ToAll(), Payload: []byte("backend")}); err != nil {
			t.Fatalf("push %d of a backend: %v", i, err)
		}
	}
	release()
	for acks := 0; acks < places; {
		_, p, err := w.frame()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(p), `"ack"`) {
			acks++
		}
	}

	// Answers: the publisher is far ahead of its shard.
	release = r.block(1)
	for range 100 {
		if call := r.shards[1].pubs.addResult(pubResult{}); call {
			r.shards[1].ps.Post(poller.QueueSingle, poller.Mail{Kind: mailPublished})
		}
	}
	if n := r.shards[1].ps.Fill(poller.QueueSingle) * places; n > 2 {
		t.Errorf("%.0f places taken by the answers to 100 pubs", n)
	}
	release()
}
