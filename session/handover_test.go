package session

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"belfry/message"
	"belfry/poller"
)

// Sessions go to another server while messages to all, to topics and to users go on. Each
// client gets each message once and in order.
func TestHandOver(t *testing.T) {
	const users, each = 40, 5
	old := newRig(t, Options{})
	p := &handOverPushes{to: old, sent: map[string]int{}}
	var clients []*handOverClient
	for i := range users * each {
		clients = append(clients, old.handOverClient(fmt.Sprint("client ", i), fmt.Sprintf("/ws?uid=u%d&topic=t%d", i%users, i%3)))
	}
	j := newJoint(t, old, Options{})
	pick := func(int) (string, message.Target) {
		switch n := rand.IntN(10); {
		case n == 0:
			return "all", message.ToAll()
		case n < 4:
			name := fmt.Sprint("t", rand.IntN(3))
			return name, message.ToTopics(name)
		}
		name := fmt.Sprint("u", rand.IntN(users))
		return name, message.ToUsers(name)
	}
	stop, stopOther := p.start(t, pick), p.start(t, pick)
	p.further(t, 100)
	old.HandOver(j)
	eventually(t, "most have left", func() bool { j.mu.Lock(); defer j.mu.Unlock(); return j.sessions > users*each*9/10 })
	p.further(t, 100)
	p.mu.Lock()
	j.commit()
	p.to = j.new
	p.mu.Unlock()
	p.further(t, 100)
	stop()
	stopOther()
	for i, c := range clients {
		c.check(t, map[string]int{"all": p.sent["all"], fmt.Sprint("t", i%3): p.sent[fmt.Sprint("t", i%3)], fmt.Sprint("u", i%users): p.sent[fmt.Sprint("u", i%users)]})
	}
	if n := j.new.Stats().Sessions; n != users*each {
		t.Errorf("%d sessions in the new server", n)
	}
	if j.sent == 0 || j.sent > j.forwarded { // the rest was sent after the commit
		t.Errorf("of %d messages that were forwarded %d are told as sent", j.forwarded, j.sent)
	}
	t.Logf("%d sessions in %d batches, %d bytes each; %d pushes", j.sessions, j.batches, j.bytes/max(j.sessions, 1), p.sent["all"])

	// The new server serves all of it: clients that connect, and those that close.
	late := j.new.handOverClient("late", "/ws?uid=u0&topic=t0")
	late.mu.Lock()
	late.last["all"] = p.sent["all"]
	late.mu.Unlock()
	p.push(t, "all", message.ToAll())
	late.check(t, map[string]int{"all": p.sent["all"]})
	for _, c := range clients {
		c.Close()
	}
	eventually(t, "all but the late one ended", func() bool { return j.new.Stats().Sessions == 1 })
}

// Everything goes back when the successor does not take over after all, at any moment, and
// can be handed over again.
func TestHandOverAborted(t *testing.T) {
	const users = 60
	old := newRig(t, Options{})
	p := &handOverPushes{to: old, sent: map[string]int{}}
	var clients []*handOverClient
	for i := range 3 * users {
		clients = append(clients, old.handOverClient(fmt.Sprint("client ", i), fmt.Sprintf("/ws?uid=u%d&topic=t", i%users)))
	}
	stop := p.start(t, func(i int) (string, message.Target) {
		if name := fmt.Sprint("u", rand.IntN(users)); i%8 > 0 {
			return name, message.ToUsers(name)
		}
		return "all", message.ToAll()
	})
	for round := range 4 {
		j := newJoint(t, old, Options{})
		old.HandOver(j)
		eventually(t, "some have left", func() bool { j.mu.Lock(); defer j.mu.Unlock(); return j.sessions >= 40*round })
		a := old.AbortHandOver(func(shard int) []*Batch {
			if shard == 0 {
				j.passed()
				j.new.SendBack(giveBack{j})
				for range old.shards {
					<-j.returned
				}
			}
			return j.back[shard]
		}, nil)
		j.mu.Lock()
		if a.Closed != 0 || a.Resumed != j.sessions || a.Again != 0 || a.Lost != 0 {
			t.Errorf("round %d: %+v of %d", round, a, j.sessions)
		}
		j.mu.Unlock()
	}
	stop()
	for i, c := range clients {
		c.check(t, map[string]int{"all": p.sent["all"], fmt.Sprint("u", i%users): p.sent[fmt.Sprint("u", i%users)]})
	}
	late := old.handOverClient("late", "/ws?uid=u0")
	late.mu.Lock()
	late.last["all"] = p.sent["all"]
	late.mu.Unlock()
	p.push(t, "all", message.ToAll())
	late.check(t, map[string]int{"all": p.sent["all"]})
	if n := old.Stats().Sessions; n != 3*users+1 {
		t.Errorf("%d sessions", n)
	}
}

// The successor hangs while it has sessions, and dies. Its sessions go on here, and get what
// it was given and had not sent: nothing is missed and nothing comes late. What it was
// sending at that moment may come twice.
func TestHandOverSuccessorDies(t *testing.T) {
	const users = 40
	old := newRig(t, Options{Poller: poller.Options{Shards: 2}})
	p := &handOverPushes{to: old, sent: map[string]int{}}
	var clients []*handOverClient
	for i := range 3 * users {
		c := old.handOverClient(fmt.Sprint("client ", i), fmt.Sprintf("/ws?uid=u%d&topic=t%d", i%users, i%2))
		c.may = 64
		clients = append(clients, c)
	}
	stop := p.start(t, func(i int) (string, message.Target) {
		switch {
		case i%8 == 0:
			return "all", message.ToAll()
		case i%8 < 3:
			name := fmt.Sprint("t", i%2)
			return name, message.ToTopics(name)
		}
		name := fmt.Sprint("u", rand.IntN(users))
		return name, message.ToUsers(name)
	})
	j := newJoint(t, old, Options{Poller: poller.Options{Shards: 2}})
	old.HandOver(j)
	eventually(t, "all have left", func() bool { j.mu.Lock(); defer j.mu.Unlock(); return j.sessions == 3*users })
	p.further(t, 100)
	dead := make(chan struct{})
	for _, q := range j.queues { // it reads nothing more
		q.put(func() { <-dead })
	}
	t.Cleanup(func() { close(dead) })
	p.further(t, 200)
	a := old.AbortHandOver(func(int) []*Batch { return nil }, func(int, uint32) bool { return false })
	if a.Resumed != 3*users || a.Closed != 0 || a.Again < 100 || a.Lost != 0 {
		t.Errorf("%+v", a)
	}
	p.further(t, 100)
	stop()
	twice := 0
	for i, c := range clients {
		c.check(t, map[string]int{"all": p.sent["all"], fmt.Sprint("t", i%2): p.sent[fmt.Sprint("t", i%2)], fmt.Sprint("u", i%users): p.sent[fmt.Sprint("u", i%users)]})
		c.mu.Lock()
		twice += c.twice
		c.mu.Unlock()
	}
	t.Logf("%d messages were sent again, of which clients got %d twice", a.Again, twice)
}

// What a connection is in the middle of goes along: a message in fragments, a frame of
// which half has come, a request without its end, a backlog, and limits.
func TestHandOverInTheMiddle(t *testing.T) {
	old := newRig(t, Options{Echo: true})
	fragments := old.mustWire("/echo", "")
	if _, err := fragments.Write(masked(gobwas.OpText, false, []byte("first, "))); err != nil {
		t.Fatal(err)
	}
	whole := masked(gobwas.OpText, true, []byte("in two halves"))
	halves := old.mustWire("/echo", "")
	halves.Write(whole[:9])
	head, err := old.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { head.Close() })
	req := request("/ws?uid=h", "")
	head.Write(req[:40])
	slow := old.mustWire("/ws?uid=slow", "")
	slow.SetReadBuffer(32 << 10)
	big := make([]byte, 64<<10)
	for i := range big {
		big[i] = 'a' + byte(i%26)
	}
	pushed := 0
	push := func() {
		payload := append(fmt.Appendf(nil, "%04d", pushed), big...)
		if err := old.push(&message.Message{Target: message.ToUsers("slow"), Kind: message.Binary, Payload: payload}); err != nil {
			t.Fatal(err)
		}
		pushed++
	}
	arrived := func() (n, waits int) {
		for i := range old.shards {
			old.on(i, func(h *shard) {
				for slot, ok := h.ps.Next(0); ok; slot, ok = h.ps.Next(slot + 1) {
					n++
					if h.ps.Backlogged(slot) {
						waits++
					}
				}
			})
		}
		return n, waits
	}
	eventually(t, "all have arrived", func() bool { n, _ := arrived(); return n == 4 })
	for waits := 0; waits == 0; _, waits = arrived() {
		push()
	}
	for range 5 {
		push()
	}
	j := newJoint(t, old, Options{Echo: true})
	old.HandOver(j)
	j.commit()

	fragments.Write(masked(gobwas.OpContinuation, true, []byte("then the rest")))
	if _, p, err := fragments.frame(); err != nil || string(p) != "first, then the rest" {
		t.Errorf("fragments: %q, %v", p, err)
	}
	halves.Write(whole[9:])
	if _, p, err := halves.frame(); err != nil || string(p) != "in two halves" {
		t.Errorf("halves: %q, %v", p, err)
	}
	head.Write(req[40:])
	if status, err := head.answer(); err != nil || status != 101 {
		t.Errorf("head: %d, %v", status, err)
	}
	for i := range pushed {
		_, p, err := slow.frame()
		if err != nil || len(p) != 4+len(big) || string(p[:4]) != fmt.Sprintf("%04d", i) {
			t.Fatalf("the slow client got %d bytes %.8q as number %d: %v", len(p), p, i, err)
		}
	}
	if n := j.new.Stats().Sessions; n != 4 {
		t.Errorf("%d sessions", n)
	}
}

// The state of a session survives encoding, also with fields of a later version, and cut
// anywhere it is an error or a state.
func FuzzHanded(f *testing.F) {
	h := handed{uid: []byte("ann"), topics: []joinedTopic{{"news", permitGranted}, {"chat", permitPattern}}, openedAt: 7, pinged: 3, variant: 2,
		limits: &sessionLimits{1, 2, 3, 4, 5, 6}, route: "orders", agent: "x", lasted: 9, tokens: []int64{-5, 7, 9, 0, 3}, class: "phone"}
	h.conn = poller.Handed{ID: 1<<32 | 5, Ticks: 100, LastRead: 90, LastWrite: 95, Timer: 120, Timed: true, Unread: []byte("ab"), Unsent: []byte("cd")}
	f.Add(h.append(nil))
	f.Add(append(h.append(nil), 0xff, 0x01, 0x02, 'x', 'y'))
	f.Fuzz(func(t *testing.T, p []byte) {
		for cut := range min(len(p), 200) {
			var it handed
			_ = it.parse(p[:cut], 100)
		}
		var it, again handed
		if it.parse(p, 100) != nil {
			return
		}
		once := it.append(nil)
		if err := again.parse(once, 100); err != nil {
			t.Fatalf("%x became %x: %v", p, once, err)
		}
		if twice := again.append(nil); string(twice) != string(once) {
			t.Fatalf("%x became %x, then %x", p, once, twice)
		}
	})
}

// When users were seen last is handed over, and since when sessions are open.
func TestHandOverTimes(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	o := Options{LastSeen: time.Hour, clock: func() time.Time { return now }}
	old := newRig(t, o)
	gone, sid := old.hello("/ws?uid=gone")
	gone.Close()
	eventually(t, "gone", func() bool { _, ok := old.Lookup(sid); return !ok })
	old.hello("/ws?uid=here")
	var mu sync.Mutex
	opened := map[string]uint32{}
	o.Changed = func(c Changes) {
		mu.Lock()
		defer mu.Unlock()
		c.Each(func(open bool, uid []byte, _ message.SessionKey, _ []byte, _ Route, since uint32) {
			if open {
				opened[string(uid)] = since
			}
		})
	}
	j := newJoint(t, old, o)
	old.HandOver(j)
	eventually(t, "it has left", func() bool { j.mu.Lock(); defer j.mu.Unlock(); return j.sessions == 1 })
	j.commit()
	p, err := j.new.UsersPresence(read(t), []string{"gone", "here"})
	if err != nil || !p[0].LastSeen.Equal(now) || p[1].Sessions != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	eventually(t, "it is told of", func() bool { mu.Lock(); defer mu.Unlock(); return opened["here"] != 0 })
	if d := time.Since(time.Unix(int64(opened["here"]), 0)); d < 0 || d > time.Minute {
		t.Errorf("open since %v", opened["here"])
	}
}

// A batch comes while messages wait that its sessions have got. The fan-out run that is
// next ends before the messages that they have not got, and begins with one.
func TestHandOverBorder(t *testing.T) {
	h := &shard{}
	h.taking.h = h
	h.fanout.added, h.fanout.begun = 3, 1 // two messages wait
	h.taking.border(7)
	if n, ok := h.taking.next(); n != 3 || !ok || !h.taking.has(7) || h.taking.has(8) {
		t.Fatalf("border %d, %v", n, ok)
	}
	h.fanout.added, h.fanout.begun = 4, 3 // a run with both is over, another message waits
	if n, ok := h.taking.next(); ok {
		t.Fatalf("the next run ends at %d, where it begins", n)
	}
	h.fanout.begun = 4
	if h.taking.has(7) {
		t.Error("the session does not get the message behind the border")
	}
}

// The limit on connections of an address holds in the successor, too, for those that came
// and for new ones, also when the ones that came have ended.
func TestHandOverAddresses(t *testing.T) {
	o := Options{MaxPerAddress: 4, Poller: poller.Options{Shards: 2}}
	old := newRig(t, o)
	var all []*rawConn
	for i := range 3 {
		w, status := old.dialFrom("127.0.3.1", fmt.Sprint("/ws?uid=u", i))
		if status != 101 {
			t.Fatalf("connection %d: %d", i, status)
		}
		all = append(all, w)
	}
	j := newJoint(t, old, o)
	old.HandOver(j)
	eventually(t, "all have left", func() bool { j.mu.Lock(); defer j.mu.Unlock(); return j.sessions == 3 })
	j.commit()
	address := netip.MustParseAddr("127.0.3.1")
	if n := j.new.addresses.conns(address); n != 3 {
		t.Errorf("%d connections are counted; want 3", n)
	}
	if _, status := j.new.dialFrom("127.0.3.1", "/ws?uid=fourth"); status != 101 {
		t.Errorf("the fourth: %d", status)
	}
	w, _ := j.new.connectFrom("127.0.3.1")
	defer w.Close()
	w.Write(request("/ws", ""))
	if status, _ := w.refused(t); status != 429 {
		t.Errorf("the fifth: %d", status)
	}
	for _, c := range all {
		c.SetLinger(0)
		c.Close()
	}
	eventually(t, "those that came have ended", func() bool { return j.new.addresses.conns(address) == 1 })
}
