package session

import (
	"fmt"
	"testing"
	"time"

	"belfry/message"
	"belfry/poller"
)

// leaving is a session of nobody that logs in and whose cut was made, while its old
// shard stands still.
type leaving struct {
	*lpConn
	t    *testing.T
	r    *rig
	sid  string // before the login
	uid  string
	move func() // lets the old shard go on
}

// leave opens a session, has early called when its login waits for the bus, and makes
// the cut.
func leave(t *testing.T, o Options, early func(l *leaving), commands ...string) *leaving {
	w, g := newWallet(map[string]Grant{}), newGate(false)
	o.Interest, o.Poller.Shards = g, 2
	r := walletRig(t, o, w)
	l := &leaving{lpConn: r.lines("/lp"), t: t, r: r}
	l.want("thello   []")
	for _, c := range commands {
		l.say(prefixedText, c)
		l.text()
	}
	from := r.at()
	l.uid = r.uids()[1-from]
	w.set(l.uid, Grant{UID: l.uid, Subscribe: []string{"kept"}})
	g.set(true)
	l.say(prefixedText, "auth L "+l.uid)
	eventually(t, "the bus is asked", func() bool { users, _ := g.wanted(l.uid, ""); return users == 1 })
	l.sid = w.told(-1).SID
	if early != nil {
		early(l)
	}
	for range 3 { // both shards have seen it
		r.each(func(*shard) {})
	}
	l.move = r.block(from)
	g.release()
	eventually(t, "the mark has come", func() (begun bool) {
		r.on(1-from, func(h *shard) { begun = len(h.arrivals.expected) == 1 && h.arrivals.expected[0].arrival.begun })
		return begun
	})
	return l
}

// Before the cut the old shard sends, behind it the new one, each message once. What
// excludes the session, or is for a topic that it has lost by the login, does not come.
func TestMessagesAroundTheCut(t *testing.T) {
	l := leave(t, Options{Subscribe: []string{"open"}, Subscriptions: yes{}}, func(l *leaving) {
		l.r.deliver(message.ToAll(), "early")
		l.want("tlines: early")
		l.r.deliver(message.ToTopics("open"), "early too")
		l.want("tlines: early too")
	}, "sub 1 open", "sub 2 kept", "sub 3 decided")
	r := l.r
	for _, tc := range []struct {
		text string
		to   message.Target
	}{
		{"all", message.ToAll()},
		{"excluded", message.Target{Scope: message.ScopeAll, Exclude: l.sid}},
		{"excluded by topic", message.Target{Scope: message.ScopeAll, ExcludeTopics: []string{"open"}}},
		{"open", message.ToTopics("open")},
		{"kept", message.ToTopics("kept", "other")},
		{"other", message.ToTopics("other")},
		{"decided", message.ToTopics("decided")},
		{"last", message.ToAll()},
	} {
		r.deliver(tc.to, tc.text)
	}
	r.seenBy(l.uid)
	l.move()
	l.want("thello " + l.uid + " L [open kept decided]")
	for _, text := range []string{"all", "open", "kept", "decided", "last"} {
		l.want("tlines: " + text)
	}
	r.deliver(message.ToAll(), "after")
	l.want("tlines: after")
}

// yes permits every subscription.
type yes struct{}

func (yes) MaySubscribe(_ *Client, _ string, later func(Decision, string)) { go later(Permitted, "") }

// seenBy waits until the shard of a user has sent what was delivered to it before.
func (r *rig) seenBy(uid string) {
	home, _ := r.homeOf(uid)
	eventually(r.t, "fan-out runs over", func() bool {
		over := make(chan bool, 1)
		look := func(h *shard) {
			h.ps.Release(poller.QueueBulk, 1)
			over <- !h.fanout.active && h.fanout.waiting == nil
		}
		return r.shards[home].ps.Post(poller.QueueBulk, poller.Mail{Kind: mailCall, Ptr: look}) && <-over
	})
}

// A session for which too many messages come while it moves is closed as too slow, and
// what was recorded for it is given back.
func TestTooManyMessagesBehindTheCut(t *testing.T) {
	l := leave(t, Options{Poller: poller.Options{Mailbox: 4 * maxRecorded, Backlog: poller.Bounds{Frames: 65535, Bytes: 64 << 20}}}, nil)
	r := l.r
	for n := range maxRecorded + 10 {
		r.deliver(message.ToAll(), fmt.Sprint(n))
	}
	r.seenBy(l.uid)
	l.move()
	l.want("thello " + l.uid + " L []")
	for n := range maxRecorded {
		l.want(fmt.Sprint("tlines: ", n))
	}
	l.want("tbye slow_consumer", "x4004 too slow to read true 0s")
	if n := r.Stats().Limits["backlog.frames"]; n != 1 {
		t.Errorf("the limit was hit %d times", n)
	}
	l.Close()
	r.nothingLeft()
	eventually(t, "nothing is held", func() bool { return r.mailBytes.Load() == 0 })
}

// To log in does not fill the token buckets.
func TestLoginKeepsTokens(t *testing.T) {
	w := newWallet(map[string]Grant{"ann": {UID: "ann"}})
	r := walletRig(t, Options{Rates: Rates{Messages: 1, MessageBurst: 8, Grace: time.Hour}}, w)
	c := r.lines("/lp")
	c.want("thello   []")
	for i := range 4 {
		c.ask(fmt.Sprint("ping ", i), fmt.Sprint("tdone ", i))
	}
	c.say(prefixedText, "auth L ann")
	c.want("thello ann L []")
	for i := range 3 {
		c.ask(fmt.Sprint("ping ", i), fmt.Sprint("tdone ", i))
	}
	c.say(prefixedText, "ping 9")
	c.want("terror  rate_limited")
	r.tick(1)
	c.want("tdone 9")
}
