package session

import (
	"testing"

	"belfry/message"
	"belfry/wire"
	"belfry/ws"
)

// An auth is decided when all commands before it have been answered: their answers
// would not find the session under its new id.
func TestAuthWaitsForAnswers(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	publish := func(*message.Message, message.Wait) error {
		close(begun)
		<-end
		return nil
	}
	e := &recorder{}
	g := newGate(false)
	w := newWallet(map[string]Grant{"ann": {UID: "ann"}})
	r := walletRig(t, Options{Events: e, Interest: g, Subscribe: []string{"*"}, Publishable: []string{"*"}, Publish: publish}, w)
	for _, tc := range []struct {
		command string
		begun   func()
		end     func(sid string)
	}{
		{`{"type":"sub","ref":1,"topic":"t"}`,
			func() { eventually(t, "asked", func() bool { return g.count() == 1 }) },
			func(string) { g.release() }},
		{`{"type":"pub","ref":1,"to":{"topic":"t"},"data":"x"}`,
			func() { <-begun },
			func(string) { close(end) }},
		{`{"type":"rpc","ref":1,"data":"x"}`,
			func() {},
			func(sid string) {
				if err := r.Reply(sid, &wire.Reply{Ref: "1"}); err != nil {
					t.Error(err)
				}
			}},
	} {
		c := r.dial("/ws", "belfry.v1")
		sid := c.object()["session"].(string)
		asked, auths := w.count(), r.Stats().Commands["auth"]
		g.set(true)
		c.say(tc.command)
		tc.begun()
		g.set(false)
		c.say(`{"type":"auth","ref":2,"token":"ann"}`)
		eventually(t, "read", func() bool { return r.Stats().Commands["auth"] == auths+1 })
		for range 3 { // turns in which the authenticator could be asked
			r.each(func(*shard) {})
		}
		if w.count() != asked {
			t.Errorf("%s: the credentials are checked before it is answered", tc.command)
		}
		tc.end(sid)
		if m := c.object(); m["type"] != "ack" || m["ref"] != 1.0 {
			t.Errorf("%s: first comes %v", tc.command, m)
		}
		if m := c.object(); m["type"] != "hello" || m["uid"] != "ann" || m["ref"] != 2.0 {
			t.Errorf("%s: then comes %v", tc.command, m)
		}
		c.Close()
		eventually(t, "gone", func() bool { return r.Stats().Sessions == 0 })
	}
	e.check(t)
}

// An answer that comes for the second time, when another auth waits, decides nothing.
func TestAuthIsDecidedOnce(t *testing.T) {
	w := newWallet(map[string]Grant{"ann": {UID: "ann"}})
	r := walletRig(t, Options{}, w)
	c := r.lines("/lp?token=ann")
	c.want("thello ann  []")
	c.say(prefixedText, "auth 1 later")
	first := <-w.later
	first(Grant{UID: "ann"}, nil)
	c.want("tdone 1")
	c.say(prefixedText, "auth 2 later")
	second := <-w.later
	first(Grant{UID: "bob"}, nil)
	first(Grant{UID: "ann"}, nil)
	for range 3 {
		r.each(func(*shard) {})
	}
	if n := r.Stats().Waiting; n != 1 {
		t.Errorf("%d wait", n)
	}
	second(Grant{UID: "bob"}, nil)
	c.want("terror 2 forbidden")
}

// A login that is granted twice moves the session once.
func TestLoginIsDecidedOnce(t *testing.T) {
	w, g := newWallet(nil), newGate(false)
	r := walletRig(t, Options{Interest: g}, w)
	c := r.lines("/lp")
	c.want("thello   []")
	g.set(true)
	c.say(prefixedText, "auth 1 later")
	later := <-w.later
	later(Grant{UID: "bob"}, nil)
	later(Grant{UID: "bob"}, nil)
	later(Grant{}, ws.Forbidden("no"))
	eventually(t, "the bus is asked", func() bool { users, _ := g.wanted("bob", ""); return users > 0 })
	for range 3 {
		r.each(func(*shard) {})
	}
	if users, _ := g.wanted("bob", ""); users != 1 {
		t.Errorf("the user is wanted %d times", users)
	}
	g.release()
	c.want("thello bob 1 []")
	c.ask("ping 2", "tdone 2")
	c.Close()
	r.nothingLeft()
	eventually(t, "nothing wanted", func() bool { return g.total() == 0 })
}

// Backends are told the meta data of a new grant from its ack on. What they were told
// before does not change in their hands.
func TestRenewalIsTold(t *testing.T) {
	e := &recorder{}
	w := newWallet(map[string]Grant{"one": {UID: "ann", Meta: []byte(`{"n":1}`)}, "two": {UID: "ann", Meta: []byte(`{"n":2}`)}})
	r := walletRig(t, Options{Events: e, Poller: onePoller()}, w)
	c := r.dial("/ws?token=one", "belfry.v1")
	c.object()
	send := func(text string) *Client {
		before := len(e.told())
		c.say(`{"type":"send","ref":1,"data":"` + text + `"}`)
		eventually(t, "received", func() bool { return len(e.told()) > before })
		if err := r.Reply(e.client().SID, &wire.Reply{Ref: "1"}); err != nil {
			t.Fatal(err)
		}
		c.object()
		return e.client()
	}
	first := send("a")
	c.say(`{"type":"auth","ref":2,"token":"two"}`)
	if m := c.object(); m["type"] != "ack" {
		t.Fatal(m)
	}
	second := send("b")
	if string(first.Meta) != `{"n":1}` || string(second.Meta) != `{"n":2}` {
		t.Errorf("%s, then %s", first.Meta, second.Meta)
	}
}
