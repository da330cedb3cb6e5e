package session

import (
	"context"
	"testing"

	"belfry/message"
)

// What a session may publish is what its own list says: not what it may subscribe to,
// not a part of the topics of a command, and not the list of another session that has
// the same patterns in other places.
func TestWhatASessionMayPublish(t *testing.T) {
	p := new(published)
	w := newWallet(map[string]Grant{
		"prefix": {Subscribe: []string{"s.*"}, Publish: []string{"p.*"}},
		"one":    {Subscribe: []string{"x"}, Publish: []string{"y"}},
		"first":  {Subscribe: []string{"x", "y"}},
		"last":   {Publish: []string{"x", "y"}},
	})
	r := walletRig(t, Options{Publish: p.publish}, w)
	clients := map[string]*client{}
	for _, name := range []string{"prefix", "one", "first", "last"} { // all open at the same time
		clients[name] = r.dial("/ws?token="+name, "belfry.v1")
		clients[name].object()
	}
	for _, tc := range []struct {
		name, command, want string
	}{
		{"prefix", `"pub","to":{"topic":"p.a"},"data":""`, "ack"},
		{"prefix", `"pub","to":{"topics":["p.a","p.b"]},"data":""`, "ack"},
		{"prefix", `"pub","to":{"topics":["p.a","s.a"]},"data":""`, "forbidden"},
		{"prefix", `"pub","to":{"topic":"s.a"},"data":""`, "forbidden"},
		{"prefix", `"pub","to":{"user":"u"},"data":""`, "forbidden"},
		{"prefix", `"pub","to":{"all":true},"data":""`, "forbidden"},
		{"prefix", `"sub","topic":"p.a"`, "forbidden"},
		{"one", `"pub","to":{"topic":"y"},"data":""`, "ack"},
		{"one", `"pub","to":{"topic":"x"},"data":""`, "forbidden"},
		{"one", `"sub","topic":"y"`, "forbidden"},
		{"first", `"sub","topics":["x","y"]`, "ack"},
		{"first", `"pub","to":{"topic":"y"},"data":""`, "forbidden"},
		{"last", `"pub","to":{"topics":["x","y"]},"data":""`, "ack"},
		{"last", `"sub","topic":"x"`, "forbidden"},
	} {
		clients[tc.name].say(`{"ref":1,"type":` + tc.command + `}`)
		m := clients[tc.name].object()
		if got := m["code"]; tc.want == "ack" && m["type"] != "ack" || tc.want != "ack" && got != tc.want {
			t.Errorf("%s: %s: %v; want %s", tc.name, tc.command, m, tc.want)
		}
	}
	if n := p.count(); n != 4 {
		t.Errorf("%d messages are published", n)
	}
}

// Equal permissions are stored once, for as long as a session has them.
func TestPermissionsAreShared(t *testing.T) {
	w := newWallet(map[string]Grant{"ann": {UID: "ann", Subscribe: []string{"a.*", "b"}}})
	r := walletRig(t, Options{Poller: onePoller()}, w)
	lists := func() (n int) {
		r.on(0, func(h *shard) { n = h.grants.lists.Len() })
		return n
	}
	first, second := r.lines("/lp?token=ann"), r.lines("/lp?token=ann")
	first.want("thello ann  []")
	second.want("thello ann  []")
	if n := lists(); n != 1 {
		t.Errorf("%d lists for two sessions with the same", n)
	}
	first.Close()
	eventually(t, "gone", func() bool { return r.Stats().Sessions == 1 })
	w.set("bob", Grant{UID: "bob", Subscribe: []string{"c"}})
	third := r.lines("/lp?token=bob") // where the list was, if it was freed too early
	third.want("thello bob  []")
	second.ask("sub 1 a.x\nsub 2 b\nsub 3 c", "tdone 1", "tdone 2", "terror 3 forbidden")
	second.Close()
	third.Close()
	r.nothingLeft()
	if n := lists(); n != 0 {
		t.Errorf("%d lists are kept for nobody", n)
	}
}

// A subscription stays for as long as what permits it: a pattern, a decision, or the
// grant and what backends do.
func TestWhatKeepsASubscription(t *testing.T) {
	d := make(deciding, 8)
	w := newWallet(map[string]Grant{
		"before": {UID: "ann", Subscribe: []string{"a", "b"}},
		"with":   {UID: "ann", Topics: []string{"a", "n"}, Subscribe: []string{"b"}},
		"less":   {UID: "ann"},
	})
	e := &recorder{}
	r := walletRig(t, Options{Subscriptions: d, Events: e}, w)
	c := r.lines("/lp?token=before")
	c.want("thello ann  []")
	c.ask("sub 1 a\nsub 2 b", "tdone 1", "tdone 2")
	c.say(prefixedText, "sub 3 d")
	(<-d).later(Permitted, "")
	c.want("tdone 3")
	sid := e.client().SID
	if err := r.Subscribe(sid, []string{"o"}); err != nil {
		t.Fatal(err)
	}
	r.ordersDone()
	c.ask("auth 4 with", "tdone 4")
	c.ask("auth 5 less", "tdone 5 until 0 left [b]")
	if n, err := r.SetPermissions(context.Background(), "ann", nil, nil); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	c.want("tleft [d]")
	for _, topic := range []string{"a", "n", "o"} {
		r.deliver(message.ToTopics(topic), topic)
		c.want("tlines: " + topic)
	}
	// Backends are told what the client did, and what it has lost by that.
	e.awaits(t, "opened", "subscribed a", "subscribed b", "subscribed d", "unsubscribed b", "unsubscribed d")
	// A topic that only others have is not lost.
	other := r.lines("/lp")
	other.want("thello   []")
	other.ask("unsub 6 a", "tdone 6")
	other.Close()
	eventually(t, "closed", func() bool { return len(e.told()) == 8 })
	if got := e.told()[6:]; got[0] != "opened" || got[1] != "closed gone" {
		t.Errorf("told %q", got)
	}
}

// One topic of a command that is denied denies the command, whichever is decided last.
func TestDecisionsOfOneCommand(t *testing.T) {
	d := make(deciding, 8)
	r := walletRig(t, Options{Subscriptions: d, Subscribe: []string{"open"}}, newWallet(nil))
	c := r.dial("/ws", "belfry.v1")
	c.object()
	for _, denied := range []int{0, 1} {
		c.say(`{"type":"sub","ref":1,"topics":["a","open","b","a"]}`)
		asked := []question{<-d, <-d}
		for i, q := range asked {
			is := Permitted
			if i == denied {
				is = Denied
			}
			q.later(is, "no")
			q.later(Permitted, "") // once too often
		}
		if m := c.object(); m["code"] != "forbidden" || m["message"] != "no" {
			t.Errorf("%d is denied: %v", denied, m)
		}
	}
	r.deliver(message.ToTopics("a", "b", "open"), "lost")
	c.say(`{"type":"sub","ref":2,"topics":["a","b"]}`)
	for _, q := range []question{<-d, <-d} {
		q.later(Permitted, "")
	}
	if m := c.object(); m["type"] != "ack" || m["ref"] != 2.0 {
		t.Errorf("%v", m)
	}
	if n := r.deciding.Load(); n != 0 || len(d) != 0 {
		t.Errorf("%d are being decided, %d more are asked", n, len(d))
	}
}

// Changes reach a session whose upgrade waits for the bus.
func TestChangesWhileTheBusIsAwaited(t *testing.T) {
	w := newWallet(map[string]Grant{"ann": {UID: "ann", Subscribe: []string{"a"}}})
	g := newGate(true)
	r := walletRig(t, Options{Interest: g}, w)
	open := func() *rawConn {
		c, err := r.connect()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.Write(request("/ws?token=ann", "belfry.v1"))
		eventually(t, "waits", func() bool { return g.count() == 1 })
		return c
	}
	c := open()
	if n, err := r.SetPermissions(context.Background(), "ann", []string{"b"}, nil); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	g.releaseOne()
	if status, err := c.answer(); status != 101 || err != nil {
		t.Fatal(status, err)
	}
	c.expect(t, `"hello"`)
	c.command(`{"type":"sub","ref":1,"topic":"a"}`)
	c.expect(t, `"forbidden"`)
	c.Close()
	eventually(t, "gone", func() bool { return r.Stats().Sessions == 0 })
	c = open()
	if n, err := r.ExpireUser(context.Background(), "ann", w.grants["ann"].Issued); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if status, err := c.answer(); status != 101 || err != nil { // its close code says why
		t.Fatal(status, err)
	}
	if _, code, _, err := c.end(); code != 4401 || err != nil {
		t.Errorf("close code %d, %v", code, err)
	}
}

// After a login a topic is permitted by what permitted it before, and left with it.
func TestTopicsAfterALogin(t *testing.T) {
	w := newWallet(map[string]Grant{"ann": {UID: "ann", Subscribe: []string{"a"}}, "guest": {Subscribe: []string{"a"}}})
	r := walletRig(t, Options{}, w)
	c := r.lines("/lp?token=guest")
	c.want("thello   []")
	c.ask("sub 1 a", "tdone 1")
	c.ask("auth 2 ann", "thello ann 2 [a]")
	if n, err := r.SetPermissions(context.Background(), "ann", nil, nil); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	c.want("tleft [a]")
}
