package session

import (
	"context"
	"testing"
	"time"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/ws"
)

func TestExpiry(t *testing.T) {
	clock := newClock()
	w := newWallet(map[string]Grant{
		"ann": {UID: "ann", Expires: clock.Now().Add(30 * time.Second)},
		"old": {UID: "ann", Expires: clock.Now()},
	})
	r := walletRig(t, Options{clock: clock.Now}, w)
	if status := r.refusal("/ws?token=old", nil); status != 401 || r.Stats().Upgrades[[2]string{"401", "expired"}] != 1 {
		t.Errorf("expired credentials: %d, %v", status, r.Stats().Upgrades)
	}
	v1, c := r.v1("/ws?token=ann"), r.lines("/lp?token=ann")
	c.want("thello ann  []")
	move := func(seconds int) {
		clock.add(time.Duration(seconds) * time.Second)
		r.ticks(seconds)
	}
	move(29)
	c.ask("ping 1", "tdone 1")
	w.set("ann", Grant{UID: "ann", Expires: clock.Now().Add(100 * time.Second)})
	c.ask("auth 2 ann", "tdone 2 until 1000129 left []")
	move(1)
	v1.expect(t, `"reason":"expired","reconnect":true`)
	if _, p, err := v1.frame(); err != nil || string(p[:2]) != "\x0f\xaa" {
		t.Errorf("%q, %v; want 4010", p, err)
	}
	move(98)
	c.ask("ping 3", "tdone 3")
	move(1)
	c.want("tbye expired", "x4010 the credentials have expired true 0s")
	w.set("forever", Grant{UID: "ann"})
	w.set("ann", Grant{UID: "ann", Expires: clock.Now().Add(100 * time.Second)})
	c = r.lines("/lp?token=ann")
	c.want("thello ann  []")
	c.ask("auth 1 forever", "tdone 1")
	move(200)
	c.ask("ping 2", "tdone 2")
}

// A session gets other permissions, topics and meta data; topics of commands that
// are not permitted any more are left.
func TestRenew(t *testing.T) {
	clock := newClock()
	hour := clock.Now().Add(time.Hour)
	w := newWallet(map[string]Grant{
		"one":   {UID: "ann", Topics: []string{"granted"}, Subscribe: []string{"a.*", "b.*"}},
		"two":   {UID: "ann", Topics: []string{"new"}, Subscribe: []string{"b.*"}, Meta: []byte(`{"n":2}`), Expires: hour},
		"three": {UID: "ann", Topics: []string{"1", "2", "3", "4", "5", "6"}},
		"bob":   {UID: "bob"},
		"none":  {},
		"bad":   {UID: "ann", Topics: []string{"*"}},
	})
	w.refuses["busy"] = ws.Unavailable("ask again", time.Second)
	r := walletRig(t, Options{clock: clock.Now, MaxTopics: 6, Log: zap.NewNop()}, w)
	c := r.lines("/lp?token=one")
	c.want("thello ann  [granted]")
	c.ask("sub 1 a.x\nsub 2 b.x", "tdone 1", "tdone 2")
	for name, code := range map[string]string{"bob": "forbidden", "none": "forbidden", "bad": "unavailable", "busy": "unavailable", "unknown": "forbidden", "three": "too_many_topics"} {
		c.ask("auth e "+name, "terror e "+code)
	}
	c.ask("sub 3 a.y", "tdone 3") // nothing has changed
	c.ask("auth 4 two", "tdone 4 until 1003600 left [a.y a.x]")
	r.deliver(message.ToTopics("a.x", "a.y"), "lost")
	for _, topic := range []string{"granted", "b.x", "new"} {
		r.deliver(message.ToTopics(topic), topic)
		c.want("tlines: " + topic)
	}
	c.ask("sub 5 a.x\nsub 6 b.y", "terror 5 forbidden", "tdone 6")
	c.ask("auth 7 two\nping 8", "terror 7 bad_request", "tdone 8")
	if got := w.told(-1); got.UID != "ann" {
		t.Errorf("%+v", got)
	}
	c.ask("auth 9 one", "tdone 9")
	if got := w.told(-1); string(got.Meta) != `{"n":2}` {
		t.Errorf("%+v", got)
	}
}

// While credentials are checked the session gets messages, and is not read.
func TestRenewLater(t *testing.T) {
	w := newWallet(map[string]Grant{"ann": {UID: "ann", Topics: []string{"t"}}})
	r := walletRig(t, Options{UpgradeTime: 5 * time.Second, PingInterval: time.Second, PongTimeout: time.Second}, w)
	c := r.lines("/lp?token=ann")
	c.want("thello ann  [t]")
	c.say(prefixedText, "auth 1 later")
	later := <-w.later
	c.say(prefixedText, "ping 2")
	r.deliver(message.ToTopics("t"), "x")
	c.want("tlines: x")
	if st := r.Stats(); st.Waiting != 1 {
		t.Errorf("%d waiting", st.Waiting)
	}
	r.ticks(3) // it is neither pinged nor closed for its silence
	later(Grant{UID: "ann"}, nil)
	later(Grant{UID: "bob"}, nil) // does nothing
	c.want("tdone 1", "tdone 2")
	c.say(prefixedText, "auth 3 later")
	later = <-w.later
	r.ticks(5)
	c.want("terror 3 unavailable")
	later(Grant{UID: "ann"}, nil) // too late
	c.ask("auth 4 ann\n", "tdone 4")
	if st := r.Stats(); st.Waiting != 0 || st.Limits["upgrade.timeout"] != 1 {
		t.Errorf("%d waiting, %v", st.Waiting, st.Limits)
	}
	// Sessions end meanwhile.
	c.say(prefixedText, "auth 5 later")
	<-w.later
	c.Close()
	ended := r.lines("/lp?token=ann")
	ended.want("thello ann  [t]")
	ended.say(prefixedText, "auth 6 later")
	<-w.later
	if ok, err := r.Expire(context.Background(), w.told(-1).SID); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	ended.want("tbye expired", "x4010 the credentials have expired true 0s")
	ended.say(prefixedClose, "")
	ended.ends()
	r.nothingLeft()
	r.each(func(h *shard) {
		if len(h.renewals.waiting)+len(h.renewals.queue) > 0 {
			t.Errorf("%d renewals are left", len(h.renewals.waiting))
		}
	})
}

func TestRenewalsAreBounded(t *testing.T) {
	w := newWallet(map[string]Grant{})
	r := walletRig(t, Options{MaxWaiting: 1}, w)
	a, b := r.lines("/lp"), r.lines("/lp")
	a.want("thello   []")
	b.want("thello   []")
	a.say(prefixedText, "auth 1 later")
	later := <-w.later
	b.ask("auth 1 later", "terror 1 unavailable")
	if n := r.Stats().Limits["upgrade.max_waiting"]; n != 1 {
		t.Errorf("the limit was hit %d times", n)
	}
	later(Grant{}, nil)
	a.want("tdone 1")
	b.say(prefixedText, "auth 2 later")
	(<-w.later)(Grant{}, ws.Forbidden("no"))
	b.want("terror 2 forbidden")
	plain := newRig(t, Options{Endpoints: thirdTransport()}) // its authenticator takes no credentials in commands
	c := plain.lines("/lp")
	c.want("thello   []")
	c.ask("auth 1 x", "terror 1 forbidden")
}
