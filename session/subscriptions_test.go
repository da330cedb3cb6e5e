package session

import (
	"context"
	"slices"
	"testing"
	"time"

	"belfry/message"
)

// deciding is a Subscriptions that the test answers.
type deciding chan question

type question struct {
	c     *Client
	topic string
	later func(Decision, string)
}

func (d deciding) MaySubscribe(c *Client, topic string, later func(Decision, string)) {
	d <- question{c, topic, later}
}

func TestSubscriptionsAreDecided(t *testing.T) {
	d := make(deciding, 64)
	w := newWallet(map[string]Grant{"ann": {UID: "ann", Subscribe: []string{"mine"}}})
	r := walletRig(t, Options{Subscriptions: d, MaxDeciding: 3, MaxTopics: 4}, w)
	c := r.lines("/lp?token=ann")
	c.want("thello ann  []")
	c.ask("sub 1 mine", "tdone 1") // nobody is asked
	c.say(prefixedText, "sub 2 a")
	q := <-d
	if q.c.UID != "ann" || q.topic != "a" || message.CheckSID(q.c.SID) != nil {
		t.Errorf("asked about %q of %+v", q.topic, q.c)
	}
	c.ask("ping 3", "tdone 3")
	r.deliver(message.ToTopics("a"), "too early")
	r.each(func(*shard) {}) // the shards have seen it
	q.later(Permitted, "")
	q.later(Denied, "")
	c.want("tdone 2")
	r.deliver(message.ToTopics("a"), "x")
	c.want("tlines: x")
	c.say(prefixedText, "sub 4 b")
	(<-d).later(Denied, "not yours")
	c.want("terror 4 forbidden")
	// It unsubscribes while the decision is awaited.
	c.say(prefixedText, "sub 5 c\nunsub 6 c\nunsub 7 mine")
	q = <-d
	c.want("tdone 6", "tdone 7")
	q.later(Permitted, "")
	c.want("tdone 5")
	r.deliver(message.ToTopics("c"), "lost")
}

// A topic that the authenticator has granted needs no permission: to subscribe to it
// again is acknowledged, as long as the session has it.
func TestGrantedTopicsAreNotAsked(t *testing.T) {
	r := walletRig(t, Options{}, newWallet(map[string]Grant{"ann": {UID: "ann", Topics: []string{"news"}}}))
	c := r.lines("/lp?token=ann")
	c.want("thello ann  [news]")
	c.ask("sub 1 news", "tdone 1")
	c.ask("sub 2 other", "terror 2 forbidden")
	r.deliver(message.ToTopics("news"), "x")
	c.want("tlines: x")
	c.ask("unsub 3 news", "tdone 3")
	c.ask("sub 4 news", "terror 4 forbidden")
}

// The decisions that are awaited have a limit, and so have the topics of a session.
func TestDecisionsAreBounded(t *testing.T) {
	d := make(deciding, 64)
	r := walletRig(t, Options{Subscriptions: d, MaxDeciding: 3, MaxTopics: 3}, newWallet(nil))
	c := r.lines("/lp")
	c.want("thello   []")
	c.say(prefixedText, "sub 8 d\nsub 9 e\nsub 10 f\nsub 11 g")
	c.want("terror 11 undecided")
	for range 3 {
		(<-d).later(Permitted, "")
	}
	var got []string
	for range 3 {
		got = append(got, c.text())
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"done 10", "done 8", "done 9"}) {
		t.Errorf("%q", got)
	}
	c.say(prefixedText, "sub 12 h")
	(<-d).later(Permitted, "")
	c.want("terror 12 too_many_topics")
	// The session ends meanwhile.
	c.say(prefixedText, "sub 13 i")
	q := <-d
	c.Close()
	r.nothingLeft()
	q.later(Permitted, "")
	r.each(func(h *shard) {
		if h.decisions.waiting != nil {
			t.Error("a decision is awaited for nobody")
		}
	})
	if n := r.deciding.Load(); n != 0 || r.Stats().Limits["session.max_deciding"] != 1 {
		t.Errorf("%d are being decided, %v", n, r.Stats().Limits)
	}
}

// Topics that a request asked for end with the permission, as those of a sub do.
func TestAskedTopicsEndWithTheirPermission(t *testing.T) {
	w := newWallet(map[string]Grant{
		"ann": {UID: "ann", Topics: []string{"a.x", "b.x", "granted"}, Asked: []string{"b.x", "a.x"}, Subscribe: []string{"a.*", "b.*"}},
		"new": {UID: "ann", Topics: []string{"granted"}},
	})
	r := walletRig(t, Options{}, w)
	c := r.lines("/lp?token=ann")
	c.want("thello ann  [a.x b.x granted]")
	if n, err := r.SetPermissions(context.Background(), "ann", []string{"a.*"}, nil); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	c.want("tleft [b.x]")
	c.ask("auth 1 new", "tdone 1 until 0 left [a.x]")
	r.deliver(message.ToTopics("a.x", "b.x"), "no")
	r.deliver(message.ToTopics("granted"), "yes")
	c.want("tlines: yes")
}

func TestChangesOfPermissions(t *testing.T) {
	d := make(deciding, 8)
	w := newWallet(map[string]Grant{"ann": {UID: "ann", Topics: []string{"granted"}, Subscribe: []string{"a.*", "b.*"}}, "bob": {UID: "bob"}})
	p := new(published)
	r := walletRig(t, Options{Subscriptions: d, Subscribe: []string{"public"}, Publish: p.publish}, w)
	ctx := context.Background()
	c, bob := r.lines("/lp?token=ann"), r.lines("/lp?token=bob")
	c.want("thello ann  [granted]")
	bob.want("thello bob  []")
	c.ask("sub 1 a.x\nsub 2 b.x\nsub 3 public", "tdone 1", "tdone 2", "tdone 3")
	c.say(prefixedText, "sub 4 decided")
	(<-d).later(Permitted, "")
	c.want("tdone 4")
	if n, err := r.SetPermissions(ctx, "ann", []string{"a.*"}, []string{"all"}); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	c.want("tleft [decided b.x]")
	c.ask("pub 5 x", "tdone 5")
	bob.ask("pub 5 x", "terror 5 forbidden")
	for _, topic := range []string{"a.x", "public", "granted"} {
		r.deliver(message.ToTopics(topic), topic)
		c.want("tlines: " + topic)
	}
	if n, err := r.SetPermissions(ctx, "ann", nil, nil); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	c.want("tleft [a.x]")
	sid := ""
	r.each(func(h *shard) {
		for slot, ok := h.ps.Next(0); ok; slot, ok = h.ps.Next(slot + 1) {
			if string(h.users.uid(h.rec(slot))) == "bob" {
				sid = h.session(slot)
			}
			if rec := h.rec(slot); rec.grant != 0 {
				t.Errorf("a grant is kept that says nothing: %+v", *h.grants.of(rec))
			}
		}
	})
	if ok, err := r.SetSessionPermissions(ctx, sid, []string{"{uid}"}, nil); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	bob.ask("sub 6 bob", "tdone 6")
	if _, err := r.SetPermissions(ctx, "ann", []string{">"}, nil); err == nil {
		t.Error("permissions that are no patterns")
	}
	if n, err := r.SetPermissions(ctx, "nobody", nil, nil); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if ok, err := r.SetSessionPermissions(ctx, "AAAA", nil, nil); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestExpireByOthers(t *testing.T) {
	early, late := time.Unix(1000, 0), time.Unix(2000, 0)
	w := newWallet(map[string]Grant{
		"early": {UID: "ann", Issued: early}, "late": {UID: "ann", Issued: late}, "unknown": {UID: "ann"},
		"bob": {UID: "bob", Issued: early}, "token of nobody": {Issued: early},
	})
	r := walletRig(t, Options{}, w)
	ctx := context.Background()
	open := func(name string) *lpConn {
		c := r.lines("/lp?token=" + name)
		c.text()
		return c
	}
	bye := []string{"tbye expired", "x4010 the credentials have expired true 0s"}
	a, b, c, bob, nobody, guest := open("early"), open("late"), open("unknown"), open("bob"), open("token%20of%20nobody"), open("")
	if n, err := r.ExpireUser(ctx, "ann", time.Unix(1001, 0)); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	a.want(bye...)
	c.want(bye...)
	if n, err := r.ExpireIssuedBefore(ctx, early); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := r.ExpireIssuedBefore(ctx, early.Add(time.Nanosecond)); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	bob.want(bye...)
	nobody.want(bye...)
	if n, err := r.ExpireUser(ctx, "ann", time.Time{}); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	b.want(bye...)
	guest.ask("ping 1", "tdone 1")
	// Credentials that were checked before the call, and whose upgrade ends after it.
	upgrade, _ := r.connect()
	upgrade.Write(request("/ws?token=later", ""))
	later := <-w.later
	if n, err := r.ExpireUser(ctx, "ann", late); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	later(Grant{UID: "ann", Issued: early}, nil)
	if status, err := upgrade.answer(); status != 401 || err != nil {
		t.Errorf("%d, %v", status, err)
	}
	for _, name := range []string{"late", "unknown"} {
		open(name)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	release := r.block(0)
	if _, err := r.ExpireIssuedBefore(done, late); err == nil {
		t.Error("no error although a shard did not answer")
	}
	release()
}
